// The loop around a robot that MuJoCo simulates: read, decide, log, write, once every control period.
#include "drive.hpp"

#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <memory>
#include <optional>
#include <stdexcept>

#include "acer_controller.hpp"
#include "drive_log.hpp"
#include "half_cheetah.hpp"
#include "incident.hpp"
#include "realtime.hpp"
#include "report.hpp"
#include "robot.hpp"
#include "start_state.hpp"
#include "stop_requests.hpp"
#include "unramped.hpp"

namespace {

using Clock = std::chrono::steady_clock;
using Kind = Event::Kind;

double seconds(Clock::duration time) { return std::chrono::duration<double>(time).count(); }
double microseconds(Clock::duration time) { return 1e6 * seconds(time); }

std::string digits(double value, int precision) {
  char text[40];
  return {text, static_cast<std::size_t>(std::snprintf(text, sizeof text, "%.*g", precision, value))};
}

// What all episodes did.
struct Statistics {
  std::vector<double> latencies;  // time of every decision in microseconds
  std::vector<double> jitter;     // time between each deadline and the tick after it in microseconds
  int late = 0;                   // deadlines that were missed
  int commands = 0;
  int unusable = 0;               // observations with an infinity or NaN
  long far = 0;                   // observations far from those of training
};

// What the sensors give in one tick, after the incident.
struct Reading {
  std::vector<float> observation;  // empty: none
  double stamp = 0.0;
};

// Lets the log's disk be full from now on: the system refuses to make the file longer.
void fill_disk(const DriveLog& log) {
  if (log.file() < 0) return;
  const auto size = static_cast<rlim_t>(lseek(log.file(), 0, SEEK_END));
  const rlimit limit{size, size};
  setrlimit(RLIMIT_FSIZE, &limit);
}

// Waits for the ticks: in real time until absolute deadlines, else not at all.
class Pacer {
 public:
  Pacer(double period, bool realtime, Statistics& statistics)
      : period_(std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(period))),
        realtime_(realtime),
        statistics_(statistics) {}

  // Makes the first tick of an episode due now.
  void restart() {
    due_ = Clock::now();
    is_first_ = true;
  }

  void wait() {
    tick_ = due_;
    due_ += period_;
    if (!realtime_) return;
    const bool missed = !is_first_ && Clock::now() > tick_;
    if (!missed) sleep_until(tick_);
    const auto reached = Clock::now();
    if (missed) due_ = reached + period_;  // after a missed deadline the next period has its full length
    statistics_.late += missed;
    statistics_.jitter.push_back(microseconds(reached - tick_));
    is_first_ = false;
  }

  // The time in seconds. Without real time it stands still between two ticks.
  double now() const { return seconds((realtime_ ? Clock::now() : tick_).time_since_epoch()); }

 private:
  Clock::duration period_;
  bool realtime_;
  Statistics& statistics_;
  Clock::time_point due_{}, tick_{};
  bool is_first_ = true;
};

// One episode. Decider: acer::Controller, or Unramped.
template <class Decider>
class Episode {
 public:
  Episode(const Options& options, Decider& decider, Robot& robot, Pacer& pacer, DriveLog& log, Statistics& statistics)
      : options_(options), decider_(decider), robot_(robot), pacer_(pacer), log_(log), statistics_(statistics) {
    if (!options.incident.empty()) incident_ = read_incident(options.incident);
    const auto& task = decider.task();
    sensed_.resize(task.observation.size());
    reading_.observation.reserve(sensed_.size());
    before_ = reading_;
    command_.resize(task.joints.size());
    measured_ = robot.measured();
  }

  // Runs until the decider is done. Returns why it stopped.
  acer::Cause run() {
    decider_.start();
    pacer_.restart();
    double late = 0.0, begin = 0.0;
    for (int number = 1;; ++number) {
      pacer_.wait();
      // A late tick of an incident moves all that follow; a broken clock is wrong in its ticks alone.
      if (const Event* event = incident_.in(number, Kind::late)) late += event->number;
      const Event* clock = incident_.in(number, Kind::clock);
      wrong_by_ = late - (clock != nullptr ? clock->number : 0.0);
      ask_to_stop(number);
      read(number);
      now_ = pacer_.now() + wrong_by_;  // after the observation, whose stamp would lie ahead otherwise
      if (number == 1) begin = now_;
      const acer::Tick tick = decide(now_);
      note(now_ - begin, number, tick);
      if (tick.cause == acer::Cause::emergency) return tick.cause;  // nothing is written after it
      if (tick.has_command) apply(number);
      if (tick.done) return tick.cause;
    }
  }

  // What was wrong with a robot that gave nothing usable until the drive ended, as in Python; empty: it gave something,
  // or somebody stopped the drive.
  std::string lacked(acer::Cause cause) const {
    using acer::Cause;
    const auto causes = {Cause::age, Cause::nan, Cause::clock, Cause::error, Cause::outside, Cause::end};
    if (commands > 0 || std::find(causes.begin(), causes.end(), cause) == causes.end()) return "";
    if (!failure.empty()) return failure;
    if (cause == Cause::outside) return outside();
    if (cause == Cause::nan) return "the robot's observations have NaN or infinite entries; look at its sensors";
    const std::string within = cause == Cause::end ? "before its time was over"
                                                   : "within " + digits(options_.safety.start_limit, 6) + " s";
    if (!newest_) return "the robot gave no observation " + within + "; is it switched on?";
    const double age = now_ - *newest_;
    return "the robot gave no fresh observation " + within + ": the newest is " +
           (age >= 0.0 ? digits(age, 3) + " s old" : "from " + digits(-age, 3) + " s ahead") +
           "; observe must return the time of its measurement on the steady clock";
  }

  double total = 0.0;   // with the reward of HalfCheetah-v5, which is meaningful only for that task
  int commands = 0;     // until its time was over
  long far = 0;         // observations far from those of training
  std::string failure;  // what made `error` the cause; empty: nothing

 private:
  // Names the joint that stands farthest outside its bounds, relative to their width.
  std::string outside() const {
    const auto& task = decider_.task();
    std::size_t worst = 0;
    double farthest = 0.0;
    for (std::size_t j = 0; j < measured_.size(); ++j) {
      const double range = task.high[j] - task.low[j];
      const double beyond = std::max(task.low[j] - measured_[j], measured_[j] - task.high[j]) / range;
      if (range > 0.0 && beyond > farthest) {
        farthest = beyond;
        worst = j;
      }
    }
    return "joint '" + task.joints[worst] + "' is at " + digits(measured_[worst], 6) + ", outside its bounds [" +
           digits(task.low[worst], 6) + ", " + digits(task.high[worst], 6) +
           "], so that the first command would be a jump; move it within them first";
  }

  void ask_to_stop(int number) {
    if (const Event* event = incident_.in(number, Kind::signal)) std::raise(static_cast<int>(event->number));
    stop_requests::read_keys();
    for (int stops = stop_requests::take_stops(); stops > 0; --stops) decider_.stop();
    if (stop_requests::emergency()) decider_.emergency_stop();
    if (number > options_.steps) decider_.end();
  }

  void read(int number) {
    if (incident_.in(number, Kind::repeated) != nullptr) return;
    before_ = reading_;
    reading_.observation.clear();
    try {
      if (incident_.in(number, Kind::broken) != nullptr) throw std::runtime_error("the bus is broken");
      const std::optional<double> taken = robot_.observe(sensed_);
      if (!taken) return;
      reading_.observation = sensed_;
      reading_.stamp = *taken + wrong_by_;
    } catch (const std::exception& error) {
      return fail(std::string("the robot cannot be read: ") + error.what());
    }
    disturb(number);
    if (!reading_.observation.empty()) newest_ = reading_.stamp;
  }

  // Changes a reading as the incident says.
  void disturb(int number) {
    auto& observation = reading_.observation;
    const bool frozen = incident_.in(number, Kind::frozen) != nullptr;
    if (frozen && !before_.observation.empty()) observation = before_.observation;
    if (const Event* event = incident_.in(number, Kind::jump)) {
      for (float& value : observation) value += static_cast<float>(event->number);
    }
    if (const Event* event = incident_.in(number, Kind::old)) reading_.stamp -= event->number;
    if (incident_.in(number, Kind::nan) != nullptr) observation.front() = std::nanf("");
    if (incident_.in(number, Kind::lost) != nullptr) observation.clear();
  }

  acer::Tick decide(double now) {
    const auto finite = [](float value) { return std::isfinite(value); };
    statistics_.unusable += !std::all_of(reading_.observation.begin(), reading_.observation.end(), finite);
    const auto start = Clock::now();
    const acer::Tick tick = decider_.step(now, reading_.observation, reading_.stamp, measured_, command_);
    const auto took = Clock::now() - start;
    if (tick.has_command) statistics_.latencies.push_back(microseconds(took));
    return tick;
  }

  // Writes the tick down before the robot gets its command, so that an error there does not lose the row.
  void note(double time, int number, const acer::Tick& tick) {
    if (incident_.in(number, Kind::disk) != nullptr) fill_disk(log_);
    far = tick.far_total;
    const std::vector<float>& written = tick.has_command ? command_ : none_;
    if (log_.add(time, number, tick, reading_.observation, decider_.wanted(), written)) return;
    fail(std::string("the log cannot be written: ") + std::strerror(errno));
  }

  void fail(const std::string& why) {
    if (failure.empty()) failure = why;
    decider_.fail();
  }

  void apply(int number) {
    const double x_before = robot_.data().qpos[0];
    robot_.apply(command_);
    if (number > options_.steps) return;  // the episode is over, and the robot ramps to rest
    total += half_cheetah_reward(x_before, robot_.data().qpos[0], command_, decider_.task());
    ++commands;
  }

  const Options& options_;
  Decider& decider_;
  Robot& robot_;
  Pacer& pacer_;
  DriveLog& log_;
  Statistics& statistics_;
  Incident incident_;
  Reading reading_, before_;
  double now_ = 0.0, wrong_by_ = 0.0;  // of the tick: the time, and what the incident adds to it
  std::optional<double> newest_;       // stamp of the newest observation
  std::vector<float> sensed_, command_, none_;
  std::vector<double> measured_;
};

bool is_request(acer::Cause cause) {
  return cause == acer::Cause::stop || cause == acer::Cause::second_stop || cause == acer::Cause::emergency;
}

// Why a drive stopped, in words.
std::string reason(acer::Cause cause, const std::string& failure) {
  std::string result = acer::word(cause);
  if (is_request(cause) && stop_requests::signal() != 0) {
    result += std::string(": ") + strsignal(stop_requests::signal());
  }
  return failure.empty() ? result : result + ": " + failure;
}

int exit_status(acer::Cause cause) {
  if (is_request(cause) && stop_requests::signal() != 0) return 128 + stop_requests::signal();
  const bool by_key = cause == acer::Cause::stop || cause == acer::Cause::second_stop;
  return cause == acer::Cause::end || by_key ? 0 : 1;
}

// The log of an episode: flight.csv, and then flight-1.csv, flight-2.csv; a pipe or a device gets all of them.
std::string log_of(const std::string& path, int episode) {
  if (path.empty() || episode == 0 || DriveLog::is_special(path)) return path;
  const std::filesystem::path file(path);
  return file.parent_path() / (file.stem().string() + "-" + std::to_string(episode) + file.extension().string());
}

void print_episode(const acer::TaskDescription& task, int episode, double total, int steps) {
  if (task.id == half_cheetah) {
    std::printf("episode %d: return %.9g in %d steps\n", episode, total, steps);
  } else {
    std::printf("episode %d: %d steps (the reward of %s is not known here)\n", episode, steps, task.id.c_str());
  }
}

void print(const Options& options, const Statistics& statistics, double control_dt, double took) {
  std::printf("%.3f s of the robot's time took %.3f s\n", statistics.commands * control_dt, took);
  print_latency(statistics.latencies, /*histogram=*/true);
  if (options.realtime) {
    print_times("jitter", statistics.jitter);
    std::printf("late control periods: %d\n", statistics.late);
  }
  if (options.ramp) std::printf("observations far from those of training: %ld\n", statistics.far);
  std::printf("unusable observations: %d\n", statistics.unusable);
}

// Runs the episodes; one that does not come to its end is the last. Returns the exit status of the program.
template <class Decider>
int run(const Options& options, Decider& decider) {
  const acer::TaskDescription& task = decider.task();
  Statistics statistics;
  Pacer pacer(task.control_dt, options.realtime, statistics);
  Robot robot(options.model, task, [&pacer] { return pacer.now(); }, options.velocity, options.same_model);
  StartStates states(options, robot.model());
  stop_requests::listen();  // before the logs: one that cannot be written must not end the program by a signal
  for (int episode = 0; episode < options.episodes; ++episode) DriveLog::check_new(log_of(options.log, episode));
  auto log = std::make_unique<DriveLog>(log_of(options.log, 0), task);
  for (const std::string& line : request(options.real_time)) std::fprintf(stderr, "controller: %s\n", line.c_str());

  const std::size_t ticks = std::min<std::size_t>(10'000'000, std::size_t(options.episodes) * (options.steps + 1000));
  statistics.latencies.reserve(ticks);
  statistics.jitter.reserve(ticks);
  const auto begin = Clock::now();
  acer::Cause cause = acer::Cause::end;
  std::string why;
  for (int episode = 0; episode < options.episodes && cause == acer::Cause::end; ++episode) {
    if (episode > 0) log = std::make_unique<DriveLog>(log_of(options.log, episode), task);
    const StartState& start = states.next();
    robot.reset(start.qpos, start.qvel);
    Episode<Decider> driven(options, decider, robot, pacer, *log, statistics);
    cause = driven.run();
    const std::string lacked = driven.lacked(cause);
    why = reason(cause, lacked.empty() ? driven.failure : lacked);
    log->finish(why);
    if (!lacked.empty()) throw acer::InputError(lacked);
    statistics.commands += driven.commands;
    statistics.far += driven.far;
    print_episode(task, episode, driven.total, driven.commands);
  }
  print(options, statistics, task.control_dt, seconds(Clock::now() - begin));
  if (cause != acer::Cause::end) std::printf("stopped by: %s\n", why.c_str());
  return exit_status(cause);
}

}  // namespace

int drive(const Options& given) {
  Options options = given;
  const auto with = [&options](auto&& decider) {
    const acer::TaskDescription& task = decider.task();
    if (options.steps == 0) options.steps = task.time_limit > 0 ? task.commands_in_episode() : 1000;
    return run(options, decider);
  };
  if (options.ramp) return with(acer::Controller(options.policy, options.safety, options.engine()));
  return with(Unramped(options.policy, options.engine()));
}
