// Runs an exported policy on a robot that MuJoCo simulates, without Python.

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <exception>
#include <random>
#include <thread>

#include "acer_controller.hpp"
#include "drive.hpp"
#include "half_cheetah.hpp"
#include "options.hpp"
#include "report.hpp"
#include "robot.hpp"
#include "safety.hpp"
#include "signals.hpp"
#include "start_state.hpp"

using acer::InputError;
using acer::Policy;
using acer::TaskDescription;

namespace {

using Clock = std::chrono::steady_clock;

double microseconds(Clock::duration time) { return std::chrono::duration<double, std::micro>(time).count(); }

acer::Engine engine(const Options& options) {
  return options.libtorch ? acer::Engine::libtorch : acer::Engine::packed;
}

struct Statistics {
  std::vector<double> latencies;  // time of every decision in microseconds
  int late = 0;                   // control periods that ended after their deadline
  int unusable = 0;               // observations that got the fallback command
  int steps = 0;                  // commands in all episodes
};

// After a signal: moves the last command to rest within the limits of docs/driving.md. A second signal holds it.
void ramp_to_rest(const Policy& policy, Robot& robot, int episode, Log& log, std::vector<float>& command) {
  acer::Safety safety(policy.limits(), policy.task().observation.size());
  std::vector<float> observation(policy.task().observation.size());
  acer::Inputs in;
  safety.start_from(command, in.now);
  for (int step = 0;; ++step) {
    in.now += policy.task().control_dt;
    in.stops = signals::stops();
    in.emergency = signals::emergency();
    const acer::Tick tick = safety.tick(in);
    if (tick.cause == acer::Cause::emergency || tick.cause == acer::Cause::second_stop) return;
    std::copy(safety.command().begin(), safety.command().end(), command.begin());
    robot.observe(observation);
    log.add(episode, step, observation, command);
    robot.apply(command);
    if (tick.mode == acer::Mode::stopped) return;
  }
}

// Runs one episode. Returns the return with the reward of HalfCheetah-v5, which is meaningful only for that task.
double run_episode(Policy& policy, Robot& robot, const Options& options, int episode, Log& log,
                   Statistics& statistics) {
  const TaskDescription& task = policy.task();
  std::vector<float> observation(task.observation.size()), command(task.joints.size());
  const auto period = std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(task.control_dt));
  double total = 0.0;
  auto deadline = Clock::now();
  for (int step = 0; step < options.steps && signals::first() == 0; ++step) {
    ++statistics.steps;
    robot.observe(observation);
    const auto start = Clock::now();
    if (policy.act(observation, command) != Policy::Result::usable) ++statistics.unusable;
    statistics.latencies.push_back(microseconds(Clock::now() - start));

    log.add(episode, step, observation, command);  // before `apply`, so that an error there does not lose the row
    const double x_before = robot.data().qpos[0];
    robot.apply(command);
    total += half_cheetah_reward(x_before, robot.data().qpos[0], command, task);
    log.flush_if_due();

    if (options.realtime) {
      deadline += period;
      if (Clock::now() > deadline) {
        ++statistics.late;
        deadline = Clock::now();  // after a late period the next one has its full length
      }
      std::this_thread::sleep_until(deadline);
    }
  }
  if (signals::first() != 0 && !signals::emergency()) ramp_to_rest(policy, robot, episode, log, command);
  return total;
}

void print_episode(const TaskDescription& task, int episode, double total, int steps) {
  if (task.id == half_cheetah) {
    std::printf("episode %d: return %.9g in %d steps\n", episode, total, steps);
  } else {
    std::printf("episode %d: %d steps (the reward of %s is not known here)\n", episode, steps, task.id.c_str());
  }
}

// Runs the episodes. Returns the exit status of the program.
int run(Options options) {
  Policy policy(options.policy, engine(options));
  const TaskDescription& task = policy.task();
  Robot robot(options.model, task, options.velocity);
  if (options.steps == 0) options.steps = task.time_limit > 0 ? task.commands_in_episode() : 1000;

  StartStates states(options, robot.model());
  Log log(options.log, task);
  Statistics statistics;
  statistics.latencies.reserve(static_cast<std::size_t>(options.episodes) * options.steps);
  signals::install();

  const auto begin = Clock::now();
  for (int episode = 0; episode < options.episodes && signals::first() == 0; ++episode) {
    const StartState& start = states.next();
    policy.reset();
    robot.reset(start.qpos, start.qvel);
    const int before = statistics.steps;
    const double total = run_episode(policy, robot, options, episode, log, statistics);
    print_episode(task, episode, total, statistics.steps - before);
  }
  const double seconds = microseconds(Clock::now() - begin) / 1e6;
  std::printf("%.3f s of the robot's time took %.3f s\n", statistics.steps * task.control_dt, seconds);
  print_latency(statistics.latencies, /*histogram=*/true);
  if (options.realtime) std::printf("late control periods: %d\n", statistics.late);
  std::printf("unusable observations: %d\n", statistics.unusable);
  log.flush();
  if (signals::first() == 0) return 0;
  std::printf("stopped by: %s\n", strsignal(signals::first()));
  return 128 + signals::first();
}

// Measures the time of decisions, one after the other, without a robot.
int bench(const Options& options) {
  constexpr int decisions = 20000;
  Policy policy(options.policy, engine(options));
  std::vector<float> observation(policy.task().observation.size()), command(policy.task().joints.size());
  std::mt19937_64 random(options.seed);
  std::normal_distribution<float> normal;
  for (float& value : observation) value = normal(random);
  std::vector<double> latencies(decisions);
  for (double& latency : latencies) {
    const auto start = Clock::now();
    policy.act(observation, command);
    latency = microseconds(Clock::now() - start);
  }
  print_latency(latencies, /*histogram=*/false);
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    const Options options = parse(argc, argv);
    if (options.bench) return bench(options);
    return options.ramp ? drive(options) : run(options);
  } catch (const InputError& error) {
    std::fprintf(stderr, "controller: %s\n", error.what());
    return 2;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "controller: %s\n", error.what());
    return 1;
  }
}
