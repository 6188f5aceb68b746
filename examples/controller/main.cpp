// Runs an exported policy on a robot that MuJoCo simulates, without Python.

#include <chrono>
#include <cstdio>
#include <exception>
#include <random>

#include "acer_controller.hpp"
#include "drive.hpp"
#include "options.hpp"
#include "report.hpp"

namespace {

// Measures the time of decisions, one after the other, without a robot.
int bench(const Options& options) {
  using Clock = std::chrono::steady_clock;
  constexpr int decisions = 20000;
  acer::Policy policy(options.policy, options.engine());
  std::vector<float> observation(policy.task().observation.size()), command(policy.task().joints.size());
  std::mt19937_64 random(options.seed);
  std::normal_distribution<float> normal;
  for (float& value : observation) value = normal(random);
  std::vector<double> latencies(decisions);
  for (double& latency : latencies) {
    const auto start = Clock::now();
    policy.act(observation, command);
    latency = std::chrono::duration<double, std::micro>(Clock::now() - start).count();
  }
  print_latency(latencies, /*histogram=*/false);
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    const Options options = parse(argc, argv);
    return options.bench ? bench(options) : drive(options);
  } catch (const acer::InputError& error) {
    std::fprintf(stderr, "controller: %s\n", error.what());
    return 2;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "controller: %s\n", error.what());
    return 1;
  }
}
