// The steps and their order are those of docs/driving.md. CMake forbids fused operations here, so that Python's numbers
// and these are equal bit for bit.
#include "safety.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

namespace acer {

namespace {

bool all_finite(const std::vector<double>& values) {
  return std::all_of(values.begin(), values.end(), [](double value) { return std::isfinite(value); });
}

template <typename Number>
bool all_finite(const Number* values, std::size_t count) noexcept {
  return std::all_of(values, values + count, [](Number value) { return std::isfinite(value); });
}

constexpr double start_margin = 0.05;  // share of its range by which a joint may stand outside its bounds at the start

double clip(double value, double low, double high) noexcept { return std::min(std::max(value, low), high); }

void require(bool holds, const std::string& message) {
  if (!holds) throw InputError(message);
}

void check_joints(const Limits& limits) {
  const std::size_t joints = limits.low.size();
  require(joints > 0 && limits.high.size() == joints && limits.rest.size() == joints &&
              limits.slew_rate.size() == joints,
          "low, high, rest and slew_rate need one number for each joint");
  for (std::size_t j = 0; j < joints; ++j) {
    const std::string joint = " of command " + std::to_string(j);
    const double low = limits.low[j], high = limits.high[j], rest = limits.rest[j];
    require(std::isfinite(low) && std::isfinite(high) && low <= high,
            "the bounds" + joint + " are not two finite numbers, low first");
    require(low <= rest && rest <= high, "rest" + joint + " is " + std::to_string(rest) + ", outside its bounds [" +
                                             std::to_string(low) + ", " + std::to_string(high) + "]");
    require(limits.slew_rate[j] > 0.0, "the slew rate" + joint + " is " + std::to_string(limits.slew_rate[j]) +
                                           "; expected a positive number");
  }
}

void check(const Limits& limits, std::size_t width) {
  check_joints(limits);
  const std::pair<const char*, double> positive[] = {{"dt", limits.dt}, {"ramp_rate", limits.ramp_rate}};
  for (const auto& [name, value] : positive) {
    require(std::isfinite(value) && value > 0.0, std::string(name) + " must be a positive number");
  }
  const std::pair<const char*, double> times[] = {{"ramp_in", limits.ramp_in},
                                                  {"hold", limits.hold},
                                                  {"start_limit", limits.start_limit}};
  for (const auto& [name, value] : times) {
    require(std::isfinite(value) && value >= 0.0, std::string(name) + " must be a number from 0 on");
  }
  require(std::isfinite(limits.late_factor) && limits.late_factor >= 1.0, "late_factor must be a number from 1 on");
  require(std::isfinite(limits.age_limit) && limits.age_limit >= limits.dt, "age_limit must be at least dt");
  require(limits.far_limit >= 0.0, "far_limit must be a number from 0 on");  // infinite: nothing is far
  require(limits.ramp_in / limits.dt < 1e9, "ramp_in is longer than 1e9 control periods");
  for (const int ticks : {limits.late_ticks, limits.nan_ticks, limits.frozen_ticks, limits.far_ticks}) {
    require(ticks >= 0, "late_ticks, nan_ticks, frozen_ticks and far_ticks must be whole numbers from 0 on");
  }
  require(limits.mean.size() == limits.std.size() && (limits.mean.empty() || limits.mean.size() == width),
          "mean and std need one number for each entry of the observation");
  require(all_finite(limits.mean) && all_finite(limits.std) &&
              std::all_of(limits.std.begin(), limits.std.end(), [](double value) { return value >= 0.0; }),
          "mean and std must be finite, and std from 0 on");
}

}  // namespace

Safety::Safety(Limits limits, std::size_t width) : limits_(std::move(limits)) {
  check(limits_, width);
  for (std::size_t j = 0; j < limits_.low.size(); ++j) {
    range_.push_back(limits_.high[j] - limits_.low[j]);
    slew_step_.push_back(limits_.slew_rate[j] * limits_.dt);
    ramp_step_.push_back(std::isfinite(slew_step_[j]) ? slew_step_[j] : (limits_.ramp_rate * range_[j]) * limits_.dt);
  }
  ramp_in_ticks_ = std::max(1, static_cast<int>(std::ceil(limits_.ramp_in / limits_.dt - 1e-9)));
  last_.assign(limits_.low.size(), 0.0);
  seen_.assign(width, 0.0F);
}

void Safety::start() noexcept {
  mode_ = Mode::idle;
  cause_ = Cause::none;
  ramp_ticks_ = 0;
  has_last_ = has_seen_ = is_late_ = false;
  previous_ = started_ = newest_ = stopped_at_ = std::nullopt;
  late_ = nan_ = frozen_ = far_ = 0;
  far_total_ = 0;
}

void Safety::start_from(const std::vector<float>& last, double now) noexcept {
  start();
  for (std::size_t j = 0; j < last_.size(); ++j) last_[j] = clip(last[j], limits_.low[j], limits_.high[j]);
  has_last_ = true;
  mode_ = Mode::running;
  ramp_ticks_ = ramp_in_ticks_;
  started_ = newest_ = now;
}

bool Safety::clock_is_bad(double now) const noexcept {
  return !std::isfinite(now) || (previous_ && now <= *previous_);
}

bool Safety::is_new(const Inputs& in) const noexcept {
  return in.observation != nullptr && in.stamp && std::isfinite(*in.stamp) && *in.stamp <= in.now &&
         (!newest_ || *in.stamp > *newest_) && !clock_is_bad(in.now);
}

Tick Safety::tick(const Inputs& in) noexcept {
  const bool clock_bad = clock_is_bad(in.now);
  const bool usable = observe(in);
  std::optional<double> gap;
  if (!clock_bad) {
    if (previous_) gap = in.now - *previous_;
    if (!started_) started_ = in.now;
    previous_ = in.now;
  }
  is_late_ = mode_ != Mode::idle && gap && *gap > limits_.late_factor * limits_.dt;
  late_ = is_late_ ? late_ + 1 : 0;

  if (mode_ == Mode::stopped) {
    if (in.emergency) cause_ = Cause::emergency;
    return result(in.emergency || clock_bad || !stopped_at_ || in.now - *stopped_at_ >= limits_.hold);
  }
  if (in.emergency) {
    enter_stopped(Cause::emergency, in, clock_bad);
    return result(true);
  }
  if (in.stops >= 2) {
    const bool was_idle = mode_ == Mode::idle;
    enter_stopped(Cause::second_stop, in, clock_bad);
    return result(was_idle);
  }
  if (mode_ == Mode::ramp_out) return ramp_step(in, clock_bad);
  const Cause cause = watch(in, clock_bad, gap);
  if (cause != Cause::none) return stop(cause, in, clock_bad);
  if (usable && in.now - *in.stamp <= limits_.age_limit) {
    follow(in);
  } else if (mode_ != Mode::idle) {
    mode_ = Mode::holding;
  }
  return result();
}

// Counts a new observation, and returns whether it is usable.
bool Safety::observe(const Inputs& in) noexcept {
  if (!is_new(in)) return false;
  newest_ = in.stamp;
  const std::size_t width = seen_.size();
  const bool finite = all_finite(in.observation, width);
  const bool usable = finite && in.policy != nullptr && all_finite(in.policy, last_.size());
  nan_ = usable ? 0 : nan_ + 1;
  if (!finite) return usable;
  frozen_ = has_seen_ && std::equal(seen_.begin(), seen_.end(), in.observation) ? frozen_ + 1 : 0;
  std::copy_n(in.observation, width, seen_.begin());
  has_seen_ = true;
  if (limits_.mean.empty()) return usable;
  bool is_far = false;
  for (std::size_t i = 0; i < width; ++i) {
    const double distance = std::abs(static_cast<double>(in.observation[i]) - limits_.mean[i]);
    is_far = is_far || distance > limits_.far_limit * limits_.std[i];
  }
  far_ = is_far ? far_ + 1 : 0;
  far_total_ += is_far ? 1 : 0;
  return usable;
}

// Returns the first cause that holds, or none.
Cause Safety::watch(const Inputs& in, bool clock_bad, std::optional<double> gap) const noexcept {
  const bool idle = mode_ == Mode::idle;
  const auto reached = [](int count, int limit) { return limit > 0 && count >= limit; };
  if (in.stops >= 1) return Cause::stop;
  if (in.error) return Cause::error;
  if (clock_bad) return Cause::clock;
  if (!idle && ((gap && *gap > limits_.age_limit) || reached(late_, limits_.late_ticks))) return Cause::late;
  if (!idle && newest_ && in.now - *newest_ > limits_.age_limit) return Cause::age;
  if (idle && started_ && in.now - *started_ > limits_.start_limit) return Cause::age;
  if (reached(nan_, limits_.nan_ticks)) return Cause::nan;
  if (reached(frozen_, limits_.frozen_ticks)) return Cause::frozen;
  if (reached(far_, limits_.far_ticks)) return Cause::far;
  if (idle && is_outside(in.measured)) return Cause::outside;
  return in.end ? Cause::end : Cause::none;
}

// Returns whether a joint stands so far outside its bounds that the first command would be a jump.
bool Safety::is_outside(const double* measured) const noexcept {
  for (std::size_t j = 0; measured != nullptr && j < last_.size(); ++j) {
    const double beyond = std::max(limits_.low[j] - measured[j], measured[j] - limits_.high[j]);
    const double margin = std::max(ramp_step_[j], start_margin * range_[j]);
    if (std::isfinite(measured[j]) && range_[j] > 0.0 && beyond > margin) return true;
  }
  return false;
}

void Safety::enter_stopped(Cause cause, const Inputs& in, bool clock_bad) noexcept {
  mode_ = Mode::stopped;
  cause_ = cause;
  if (!clock_bad) stopped_at_ = in.now;
}

Tick Safety::stop(Cause cause, const Inputs& in, bool clock_bad) noexcept {
  if (mode_ == Mode::idle) {
    enter_stopped(cause, in, clock_bad);
    return result(true);
  }
  cause_ = cause;
  mode_ = Mode::ramp_out;
  return ramp_step(in, clock_bad);
}

Tick Safety::ramp_step(const Inputs& in, bool clock_bad) noexcept {
  bool at_rest = true;
  for (std::size_t j = 0; j < last_.size(); ++j) {
    const double y = clip(limits_.rest[j], last_[j] - ramp_step_[j], last_[j] + ramp_step_[j]);
    last_[j] = clip(y, limits_.low[j], limits_.high[j]);
    at_rest = at_rest && last_[j] == limits_.rest[j];
  }
  if (at_rest) enter_stopped(cause_, in, clock_bad);
  return result();
}

// Follows the policy within the limits.
void Safety::follow(const Inputs& in) noexcept {
  if (mode_ == Mode::idle) {
    for (std::size_t j = 0; j < last_.size(); ++j) {
      const bool known = in.measured != nullptr && std::isfinite(in.measured[j]);
      last_[j] = clip(known ? in.measured[j] : limits_.rest[j], limits_.low[j], limits_.high[j]);
    }
    has_last_ = true;
    ramp_ticks_ = 0;
  }
  const bool ramping = ramp_ticks_ < ramp_in_ticks_;
  for (std::size_t j = 0; j < last_.size(); ++j) {
    double limit = std::numeric_limits<double>::infinity();
    if (std::isfinite(slew_step_[j])) {
      limit = slew_step_[j];
    } else if (ramping) {
      limit = std::max(ramp_step_[j], (range_[j] * ramp_ticks_) / ramp_in_ticks_);
    }
    const double u = clip(static_cast<double>(in.policy[j]), limits_.low[j], limits_.high[j]);
    const double y = clip(u, last_[j] - limit, last_[j] + limit);
    last_[j] = clip(y, limits_.low[j], limits_.high[j]);
  }
  if (ramping) ++ramp_ticks_;
  mode_ = ramp_ticks_ < ramp_in_ticks_ ? Mode::ramp_in : Mode::running;
}

Tick Safety::result(bool done) const noexcept {
  Tick tick;
  tick.mode = mode_;
  tick.cause = cause_;
  tick.has_command = has_last_;
  tick.done = done;
  tick.late = is_late_;
  tick.far_total = far_total_;
  tick.age = newest_ && previous_ ? *previous_ - *newest_ : std::numeric_limits<double>::quiet_NaN();
  return tick;
}

void round_inwards(std::vector<double>& low, std::vector<double>& high) {
  constexpr float infinity = std::numeric_limits<float>::infinity();
  for (std::size_t j = 0; j < low.size(); ++j) {
    auto lower = static_cast<float>(low[j]), upper = static_cast<float>(high[j]);
    if (lower < low[j]) lower = std::nextafter(lower, infinity);
    if (upper > high[j]) upper = std::nextafter(upper, -infinity);
    if (lower > upper) lower = upper = static_cast<float>(0.5 * low[j] + 0.5 * high[j]);
    low[j] = lower;
    high[j] = upper;
  }
}

const char* word(Mode mode) noexcept {
  constexpr const char* words[] = {"idle", "ramp_in", "running", "holding", "ramp_out", "stopped"};
  return words[static_cast<int>(mode)];
}

const char* word(Cause cause) noexcept {
  constexpr const char* words[] = {"none", "stop", "second_stop", "emergency", "error", "clock",
                                   "late", "age",  "nan",         "frozen",    "far",   "outside", "end"};
  return words[static_cast<int>(cause)];
}

}  // namespace acer
