// Checks of the library that tests/test_controller.py runs: controller_test CHECK ARGUMENTS.

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <fstream>
#include <nlohmann/json.hpp>
#include <random>
#include <string>

#include "acer_controller.hpp"
#include "safety.hpp"

namespace {

long allocations = 0;  // calls of malloc and its kin since the start of the program

}  // namespace

// The linker finds these before the ones of the C library. They count, and ask the C library.
extern "C" {
void* __libc_malloc(std::size_t size);
void* __libc_calloc(std::size_t count, std::size_t size);
void* __libc_realloc(void* memory, std::size_t size);
void* __libc_memalign(std::size_t alignment, std::size_t size);

#if !defined(__SANITIZE_ADDRESS__)
void* malloc(std::size_t size) { return ++allocations, __libc_malloc(size); }
void* calloc(std::size_t count, std::size_t size) { return ++allocations, __libc_calloc(count, size); }
void* realloc(void* memory, std::size_t size) { return ++allocations, __libc_realloc(memory, size); }
void* aligned_alloc(std::size_t alignment, std::size_t size) { return ++allocations, __libc_memalign(alignment, size); }
#endif
}

namespace {

struct Buffers {
  explicit Buffers(const acer::TaskDescription& task) : observation(task.observation.size()), command(task.joints.size()) {}

  void draw(std::mt19937& random, int step) {
    std::normal_distribution<float> normal;
    for (float& value : observation) value = normal(random);
    if (step % 10 == 9) observation[0] = static_cast<float>(NAN);
  }

  std::vector<float> observation, command;
};

// POLICY OBSERVATION_WIDTH COMMAND_WIDTH: prints what Policy::act says to vectors of any width.
int widths(const char* path, const char* observation_width, const char* command_width) {
  acer::Policy policy(path);
  const std::vector<float> observation(std::stoul(observation_width), 0.5F);
  std::vector<float> command(std::stoul(command_width), 7.0F);
  const auto result = policy.act(observation, command);
  std::printf("%s %g\n", result == acer::Policy::Result::wrong_width ? "wrong width" : "usable", command.at(0));
  return 0;
}

// POLICY: prints the number of allocations in a thousand steps after the first, without and with the safety layer.
int count_allocations(const char* path) {
  acer::Policy policy(path);
  acer::Controller controller(path);
  Buffers buffers(policy.task());
  const std::vector<double> measured(buffers.command.size());
  std::mt19937 random(0);
  policy.act(buffers.observation, buffers.command);
  controller.start();
  controller.step(0.0, buffers.observation, 0.0, measured, buffers.command);
  const long before = allocations;
  for (int step = 1; step <= 1000; ++step) {
    buffers.draw(random, step);
    policy.act(buffers.observation, buffers.command);
    if (step % 100 == 0) policy.reset();
    if (step == 900) controller.stop();
    const double now = step * policy.task().control_dt;
    controller.step(now, buffers.observation, now, measured, buffers.command);
  }
  std::printf("%ld allocations, %ld at loading\n", allocations - before, before);
  return 0;
}

// Returns a number with random bits: often huge, tiny, infinite or NaN.
float any_float(std::mt19937& random) {
  const std::uint32_t bits = random();
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

// POLICY STEPS: drives with observations of random bits, random gaps and random stops. Prints commands outside of their
// bounds, and steps beyond the slew limit.
int fuzz(const char* path, long steps, unsigned seed) {
  acer::Controller controller(path);
  const acer::Policy policy(path);
  const acer::Limits& limits = policy.limits();
  Buffers buffers(controller.task());
  const std::vector<double> measured(buffers.command.size(), 0.0);
  std::vector<float> last;
  std::mt19937 random(seed);
  long outside = 0, jumps = 0, commands = 0;
  double now = 0.0;
  controller.start();
  for (long step = 0; step < steps; ++step) {
    buffers.draw(random, 0);
    if (random() % 8 == 0) buffers.observation[random() % buffers.observation.size()] = any_float(random);
    if (random() % 16 == 0) for (float& value : buffers.observation) value = any_float(random);
    now += limits.dt * (random() % 64 == 0 ? 3.0 : 1.0);
    if (random() % 512 == 0) controller.stop();
    const double stamp = random() % 16 == 0 ? static_cast<double>(any_float(random)) : now;
    const acer::Tick tick = controller.step(now, buffers.observation, stamp, measured, buffers.command);
    if (tick.has_command) {
      ++commands;
      for (std::size_t j = 0; j < buffers.command.size(); ++j) {
        const double command = buffers.command[j], step_limit = limits.slew_rate[j] * limits.dt;
        if (!(limits.low[j] <= command && command <= limits.high[j])) ++outside;
        if (!last.empty() && std::abs(command - last[j]) > step_limit + 1e-6) ++jumps;
      }
      last = buffers.command;
    }
    if (tick.done) {
      controller.start();
      last.clear();
    }
  }
  std::printf("%ld outside, %ld jumps, %ld commands\n", outside, jumps, commands);
  return outside == 0 && jumps == 0 ? 0 : 1;
}

using Json = nlohmann::json;

// JSON has no NaN and no infinities, so the file has them as text.
double number(const Json& value) { return value.is_string() ? std::stod(value.get<std::string>()) : value.get<double>(); }

template <typename Number = double>
std::vector<Number> numbers(const Json& values) {
  std::vector<Number> result;
  if (values.is_null()) return result;
  for (const auto& value : values) result.push_back(static_cast<Number>(number(value)));
  return result;
}

acer::Limits read_limits(const Json& json) {
  acer::Limits limits;
  limits.low = numbers(json.at("low"));
  limits.high = numbers(json.at("high"));
  limits.rest = numbers(json.at("rest"));
  limits.slew_rate = numbers(json.at("slew_rate"));
  limits.dt = number(json.at("dt"));
  limits.ramp_rate = number(json.at("ramp_rate"));
  limits.ramp_in = number(json.at("ramp_in"));
  limits.hold = number(json.at("hold"));
  limits.start_limit = number(json.at("start_limit"));
  limits.age_limit = number(json.at("age_limit"));
  limits.late_factor = number(json.at("late_factor"));
  limits.late_ticks = json.at("late_ticks");
  limits.nan_ticks = json.at("nan_ticks");
  limits.frozen_ticks = json.at("frozen_ticks");
  limits.far_ticks = json.at("far_ticks");
  limits.far_limit = number(json.at("far_limit"));
  limits.mean = numbers(json.at("mean"));
  limits.std = numbers(json.at("std"));
  return limits;
}

// The width of the observations: a situation may have none.
std::size_t width_of(const Json& situation) {
  for (const auto& tick : situation.at("ticks")) {
    if (!tick.at("observation").is_null()) return tick.at("observation").size();
  }
  return situation.at("limits").at("mean").size();
}

// Returns what differs from the expected tick, or "".
std::string difference(const Json& expected, const acer::Tick& got, const std::vector<double>& command,
                       double tolerance) {
  if (expected.at("mode") != acer::word(got.mode)) return std::string("mode ") + acer::word(got.mode);
  if (expected.at("cause") != acer::word(got.cause)) return std::string("cause ") + acer::word(got.cause);
  if (expected.at("done") != got.done) return "done";
  if (expected.at("far_total") != got.far_total) return "far_total " + std::to_string(got.far_total);
  if (expected.at("command").is_null() == got.has_command) return "a command, or none";
  const auto wanted = numbers(expected.at("command"));
  for (std::size_t j = 0; j < wanted.size(); ++j) {
    if (!(std::abs(command.at(j) - wanted[j]) <= tolerance * std::max(1.0, std::abs(wanted[j])))) {
      return "command " + Json(command[j]).dump();
    }
  }
  return "";
}

std::string run_situation(const Json& situation, double tolerance, int& ticks) {
  acer::Safety safety(read_limits(situation.at("limits")), width_of(situation));
  safety.start();
  for (const auto& tick : situation.at("ticks")) {
    const auto observation = numbers<float>(tick.at("observation")), policy = numbers<float>(tick.at("policy"));
    const auto measured = numbers(tick.at("measured"));
    acer::Inputs in;
    in.now = number(tick.at("now"));
    in.observation = tick.at("observation").is_null() ? nullptr : observation.data();
    if (!tick.at("stamp").is_null()) in.stamp = number(tick.at("stamp"));
    in.policy = tick.at("policy").is_null() ? nullptr : policy.data();
    in.measured = tick.at("measured").is_null() ? nullptr : measured.data();
    in.stops = tick.at("stops");
    in.end = tick.at("end");
    in.error = tick.at("error");
    in.emergency = tick.at("emergency");
    const auto differs = difference(tick.at("expect"), safety.tick(in), safety.command(), tolerance);
    if (!differs.empty()) return differs + " at " + tick.dump();
    ++ticks;
  }
  return "";
}

// FILE: runs the shared situations of docs/driving.md through the safety layer; prints how many agree.
int situations(const char* path) {
  std::ifstream file(path);
  const Json json = Json::parse(file);
  int agreed = 0, ticks = 0;
  for (const auto& situation : json.at("situations")) {
    const auto differs = run_situation(situation, json.at("tolerance"), ticks);
    if (differs.empty()) ++agreed;
    else std::printf("%s: %s\n", situation.at("name").get<std::string>().c_str(), differs.c_str());
  }
  std::printf("%d of %zu situations agree, %d ticks\n", agreed, json.at("situations").size(), ticks);
  return agreed == static_cast<int>(json.at("situations").size()) ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    const std::string check = argc > 1 ? argv[1] : "";
    if (check == "widths" && argc == 5) return widths(argv[2], argv[3], argv[4]);
    if (check == "allocations" && argc == 3) return count_allocations(argv[2]);
    if (check == "fuzz" && argc == 5) return fuzz(argv[2], std::stol(argv[3]), std::stoul(argv[4]));
    if (check == "situations" && argc == 3) return situations(argv[2]);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
  std::fprintf(stderr, "usage: controller_test widths|allocations|fuzz|situations ...\n");
  return 2;
}
