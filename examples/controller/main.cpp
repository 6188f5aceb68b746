// Runs an exported policy on a robot that MuJoCo simulates, without Python.

#include <chrono>
#include <cstdio>
#include <exception>
#include <fstream>
#include <random>
#include <thread>

#include "acer_controller.hpp"
#include "half_cheetah.hpp"
#include "options.hpp"
#include "report.hpp"
#include "robot.hpp"

using acer::InputError;
using acer::Policy;
using acer::TaskDescription;

namespace {

using Clock = std::chrono::steady_clock;

double microseconds(Clock::duration time) { return std::chrono::duration<double, std::micro>(time).count(); }

struct State {
  std::vector<double> qpos, qvel;
};

void read_state(const std::string& path, State& state) {
  std::ifstream file(path);
  if (!file) throw InputError("--initial-state=" + path + " cannot be read");
  bool complete = true;
  for (auto* part : {&state.qpos, &state.qvel}) {
    for (double& value : *part) complete = complete && (file >> value);
  }
  double surplus;
  if (!complete || file >> surplus || !file.eof()) {
    throw InputError("--initial-state=" + path + " must hold " + std::to_string(state.qpos.size()) +
                     " positions (qpos) and then " + std::to_string(state.qvel.size()) + " velocities (qvel)");
  }
}

struct Statistics {
  std::vector<double> latencies;  // time of every decision in microseconds
  int late = 0;                   // control periods that ended after their deadline
  int unusable = 0;               // observations that got the fallback command
};

// Runs one episode. Returns the return with the reward of HalfCheetah-v5, which is meaningful only for that task.
double run_episode(Policy& policy, Robot& robot, const Options& options, int episode, Log& log,
                   Statistics& statistics) {
  const TaskDescription& task = policy.task();
  std::vector<float> observation(task.observation.size()), command(task.joints.size());
  const auto period = std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(task.control_dt));
  double total = 0.0;
  auto deadline = Clock::now();
  for (int step = 0; step < options.steps; ++step) {
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
  return total;
}

void run(Options options) {
  Policy policy(options.policy, options.libtorch ? acer::Engine::libtorch : acer::Engine::packed);
  const TaskDescription& task = policy.task();
  Robot robot(options.model, task);
  if (options.steps == 0) options.steps = task.time_limit > 0 ? task.commands_in_episode() : 1000;

  State start{std::vector<double>(robot.model().nq), std::vector<double>(robot.model().nv)};
  if (!options.initial_state.empty()) read_state(options.initial_state, start);
  std::mt19937_64 random(options.seed);
  Log log(options.log, task);
  Statistics statistics;
  statistics.latencies.reserve(static_cast<std::size_t>(options.episodes) * options.steps);

  const auto begin = Clock::now();
  for (int episode = 0; episode < options.episodes; ++episode) {
    if (options.initial_state.empty()) draw_start(robot.model(), random, start.qpos, start.qvel);
    policy.reset();
    robot.reset(start.qpos, start.qvel);
    const double total = run_episode(policy, robot, options, episode, log, statistics);
    if (task.id == half_cheetah) {
      std::printf("episode %d: return %.9g in %d steps\n", episode, total, options.steps);
    } else {
      std::printf("episode %d: %d steps (the reward of %s is not known here)\n", episode, options.steps,
                  task.id.c_str());
    }
  }
  const double seconds = microseconds(Clock::now() - begin) / 1e6;
  std::printf("%.3f s of the robot's time took %.3f s\n", options.episodes * options.steps * task.control_dt, seconds);
  print_latency(statistics.latencies, /*histogram=*/true);
  if (options.realtime) std::printf("late control periods: %d\n", statistics.late);
  std::printf("unusable observations: %d\n", statistics.unusable);
  log.flush();
}

// Measures the time of decisions, one after the other, without a robot.
void bench(const Options& options) {
  constexpr int decisions = 20000;
  Policy policy(options.policy, options.libtorch ? acer::Engine::libtorch : acer::Engine::packed);
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
}

}  // namespace

int main(int argc, char** argv) {
  try {
    const Options options = parse(argc, argv);
    options.bench ? bench(options) : run(options);
    return 0;
  } catch (const InputError& error) {
    std::fprintf(stderr, "controller: %s\n", error.what());
    return 2;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "controller: %s\n", error.what());
    return 1;
  }
}
