// The policy and the safety layer as one: Controller of the public header.

#include <algorithm>
#include <atomic>
#include <cmath>

#include "acer_controller.hpp"
#include "safety.hpp"

namespace acer {

namespace {

Limits chosen(Limits limits, const SafetyOptions& options) {
  limits.ramp_rate = options.ramp_rate;
  limits.ramp_in = options.ramp_in;
  limits.hold = options.hold;
  limits.start_limit = options.start_limit;
  limits.age_limit = options.age_limit.value_or(5.0 * limits.dt);
  limits.late_factor = options.late_factor;
  limits.late_ticks = options.late_ticks;
  limits.nan_ticks = options.nan_ticks;
  limits.frozen_ticks = options.frozen_ticks;
  limits.far_ticks = options.far_ticks;
  limits.far_limit = options.far_limit.value_or(limits.far_limit);
  return limits;
}

// Requests that are counted until a drive has answered them. A signal handler may ask; the rest belongs to the steps.
class Requests {
 public:
  void ask() noexcept { ++asked_; }
  int take() noexcept { return taken_ = asked_ - answered_; }
  void answer() noexcept { answered_ += taken_, taken_ = 0; }

 private:
  std::atomic<int> asked_{0};
  int taken_ = 0, answered_ = 0;
};

bool is_answer(Cause cause) noexcept {
  return cause == Cause::stop || cause == Cause::second_stop || cause == Cause::emergency;
}

}  // namespace

struct Controller::State {
  State(const std::string& path, const SafetyOptions& options, Engine engine)
      : policy(path, engine), safety(chosen(policy.limits(), options), policy.task().observation.size()) {
    asked.reserve(policy.task().joints.size());
  }

  Policy policy;
  Safety safety;
  std::vector<float> asked;  // empty: the policy was not asked in this tick
  Requests stops, emergencies;
  Cause cause = Cause::none;  // of the last step
  std::atomic<bool> ended{false}, failed{false};
};

Controller::Controller(const std::string& policy, const SafetyOptions& options, Engine engine)
    : state_(std::make_unique<State>(policy, options, engine)) {
  static_assert(std::atomic<int>::is_always_lock_free && std::atomic<bool>::is_always_lock_free,
                "a signal handler may call stop()");
}

Controller::~Controller() = default;

const TaskDescription& Controller::task() const noexcept { return state_->policy.task(); }

void Controller::start() noexcept {
  state_->policy.reset();
  state_->safety.start();
  state_->asked.clear();
  if (is_answer(state_->cause)) {
    state_->stops.answer();
    state_->emergencies.answer();
  }
  state_->cause = Cause::none;
  state_->ended = state_->failed = false;
}

const std::vector<float>& Controller::wanted() const noexcept { return state_->asked; }

Tick Controller::step(double now, const std::vector<float>& observation, double stamp,
                      const std::vector<double>& measured, std::vector<float>& command) noexcept {
  State& state = *state_;
  const std::size_t width = task().observation.size(), joints = task().joints.size();
  const bool given = observation.size() == width;
  if ((!observation.empty() && !given) || (!measured.empty() && measured.size() != joints) ||
      command.size() != joints) {
    state.failed = true;
  }
  Inputs in;
  in.now = now;
  in.observation = given ? observation.data() : nullptr;
  if (given) in.stamp = stamp;
  in.measured = measured.size() == joints ? measured.data() : nullptr;
  in.stops = state.stops.take();
  in.end = state.ended;
  in.error = state.failed;
  in.emergency = state.emergencies.take() > 0;
  state.asked.clear();
  const auto finite = [](float value) { return std::isfinite(value); };
  if (state.safety.is_new(in) && std::all_of(observation.begin(), observation.end(), finite)) {
    state.asked.resize(joints);  // within the memory that it has
    state.policy.act(observation, state.asked);
    in.policy = state.asked.data();
  }
  Tick tick = state.safety.tick(in);
  state.cause = tick.cause;
  tick.has_command = tick.has_command && command.size() == joints;
  if (tick.has_command) {
    const auto to_float = [](double value) { return static_cast<float>(value); };  // the bounds are float32
    std::transform(state.safety.command().begin(), state.safety.command().end(), command.begin(), to_float);
  }
  return tick;
}

void Controller::stop() noexcept { state_->stops.ask(); }
void Controller::end() noexcept { state_->ended = true; }
void Controller::fail() noexcept { state_->failed = true; }
void Controller::emergency_stop() noexcept { state_->emergencies.ask(); }

}  // namespace acer
