#include "drive.hpp"

#include <sys/resource.h>

#include <chrono>
#include <cmath>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <thread>

#include "acer_controller.hpp"
#include "drive_log.hpp"
#include "incident.hpp"
#include "report.hpp"
#include "robot.hpp"
#include "signals.hpp"
#include "start_state.hpp"

namespace {

using Clock = std::chrono::steady_clock;
using Kind = Event::Kind;

double seconds(Clock::time_point time) { return std::chrono::duration<double>(time.time_since_epoch()).count(); }

// Lets the log's disk be full from now on: the system refuses to make the file longer.
void fill_disk(const DriveLog& log) {
  if (log.file() < 0) return;
  std::signal(SIGXFSZ, SIG_IGN);
  const auto size = static_cast<rlim_t>(lseek(log.file(), 0, SEEK_END));
  const rlimit limit{size, size};
  setrlimit(RLIMIT_FSIZE, &limit);
}

// What the sensors give in one tick, after the incident.
struct Reading {
  std::vector<float> observation;  // empty: none
  double stamp = 0.0;
};

class Loop {
 public:
  Loop(const Options& options, acer::Controller& controller, Robot& robot, DriveLog& log)
      : options_(options), controller_(controller), robot_(robot), log_(log) {
    if (!options.incident.empty()) incident_ = read_incident(options.incident);
    const auto& task = controller.task();
    sensed_.resize(task.observation.size());
    reading_.observation.reserve(sensed_.size());
    before_ = reading_;
    command_.resize(task.joints.size());
    measured_ = robot.measured();
  }

  // Runs until the layer is done. Returns why it stopped.
  acer::Cause run() {
    const double dt = controller_.task().control_dt;
    const auto period = std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(dt));
    auto deadline = Clock::now();
    const double begin = seconds(deadline);
    double now = begin;
    controller_.start();
    for (int number = 1;; ++number) {
      if (options_.realtime) {
        deadline = std::max(deadline + period, Clock::now());  // after a late period the next one has its full length
        std::this_thread::sleep_until(deadline);
      }
      now = options_.realtime ? seconds(Clock::now()) : now + dt;
      const acer::Tick tick = step(number, disturbed_clock(number, now), begin + dt);
      if (tick.cause == acer::Cause::emergency) return tick.cause;  // nothing is written after it
      if (tick.has_command) {
        robot_.apply(command_);
        ++commands;
      }
      if (tick.done) return tick.cause;
    }
  }

  int commands = 0, late = 0;
  long far = 0;
  std::vector<double> latencies;  // time of every step in microseconds

 private:
  // A late tick moves all that follow; a broken clock is wrong in its ticks alone.
  double disturbed_clock(int number, double& now) {
    if (const Event* event = incident_.in(number, Kind::late)) now += event->number;
    const Event* event = incident_.in(number, Kind::clock);
    return event != nullptr ? now - event->number : now;
  }

  acer::Tick step(int number, double now, double begin) {
    if (const Event* event = incident_.in(number, Kind::signal)) std::raise(static_cast<int>(event->number));
    for (; stops_ < signals::stops(); ++stops_) controller_.stop();
    if (signals::emergency()) controller_.emergency_stop();
    if (number > options_.steps) controller_.end();
    if (incident_.in(number, Kind::disk) != nullptr) fill_disk(log_);
    read(number, now);
    const auto start = Clock::now();
    const acer::Tick tick = controller_.step(now, reading_.observation, reading_.stamp, measured_, command_);
    latencies.push_back(std::chrono::duration<double, std::micro>(Clock::now() - start).count());
    late += tick.late;
    far = tick.far_total;
    const std::vector<float>& written = tick.has_command ? command_ : none_;
    if (!log_.add(now - begin, number, tick, reading_.observation, controller_.wanted(), written)) controller_.fail();
    return tick;
  }

  void read(int number, double now) {
    if (incident_.in(number, Kind::broken) != nullptr) controller_.fail();
    if (incident_.in(number, Kind::repeated) != nullptr) return;
    before_ = reading_;
    robot_.observe(sensed_);
    reading_.observation = sensed_;
    reading_.stamp = now;
    auto& observation = reading_.observation;
    if (incident_.in(number, Kind::frozen) != nullptr && !before_.observation.empty()) observation = before_.observation;
    if (const Event* event = incident_.in(number, Kind::jump)) {
      for (float& value : observation) value += static_cast<float>(event->number);
    }
    if (const Event* event = incident_.in(number, Kind::old)) reading_.stamp -= event->number;
    if (incident_.in(number, Kind::nan) != nullptr) observation.front() = std::nanf("");
    if (incident_.in(number, Kind::lost) != nullptr) observation.clear();
  }

  const Options& options_;
  acer::Controller& controller_;
  Robot& robot_;
  DriveLog& log_;
  Incident incident_;
  Reading reading_, before_;
  std::vector<float> sensed_, command_, none_;
  std::vector<double> measured_;
  int stops_ = 0;
};

int exit_status(acer::Cause cause) {
  if (signals::first() != 0) return 128 + signals::first();
  return cause == acer::Cause::end ? 0 : 1;
}

}  // namespace

int drive(const Options& given) {
  Options options = given;
  acer::Controller controller(options.policy, options.safety,
                              options.libtorch ? acer::Engine::libtorch : acer::Engine::packed);
  const acer::TaskDescription& task = controller.task();
  Robot robot(options.model, task, options.velocity);
  if (options.steps == 0) options.steps = task.time_limit > 0 ? task.commands_in_episode() : 1000;
  StartStates states(options, robot.model());
  const StartState& start = states.next();
  robot.reset(start.qpos, start.qvel);
  DriveLog log(options.log, task);
  signals::install();

  Loop loop(options, controller, robot, log);
  loop.latencies.reserve(static_cast<std::size_t>(options.steps) + 1000);
  const acer::Cause cause = loop.run();
  std::string reason = acer::word(cause);
  if (signals::first() != 0) reason += std::string(": ") + strsignal(signals::first());
  log.finish(reason);
  std::printf("stopped by: %s\n%d commands, %ld observations far from those of training\n", reason.c_str(),
              loop.commands, loop.far);
  print_latency(loop.latencies, /*histogram=*/true);
  std::printf("late control periods: %d\n", loop.late);
  return exit_status(cause);
}
