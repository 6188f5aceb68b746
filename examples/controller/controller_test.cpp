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

// Returns a number with random bits: often huge, tiny, infinite or NaN. `mask` keeps some bits.
float any_float(std::mt19937& random, std::uint32_t mask = 0xFFFFFFFFU) {
  const auto bits = static_cast<std::uint32_t>(random()) & mask;
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

// Replaces the observation of a stream by its next one: benchmarks/fuzz_streams.py has the same kinds.
void next_observation(std::mt19937& random, std::vector<float>& observation) {
  constexpr float extremes[] = {NAN, INFINITY, -INFINITY, 1e-45F, -1e-40F, 1e38F, -1e38F, 3.4028235e38F, -0.0F};
  const auto uniform = [&random] { return static_cast<float>(random() >> 8) / 16777216.0F; };
  const auto kind = random() % 7;
  const float size = kind == 2 ? std::pow(10.0F, -3.0F + 12.0F * uniform()) : std::pow(10.0F, -45.0F + 83.0F * uniform());
  for (float& value : observation) {
    const float ordinary = 6.0F * uniform() - 3.0F;
    switch (kind) {
      case 0: value = ordinary; break;
      case 1: break;  // frozen
      case 2: value += size * ordinary; break;
      case 3: value = random() % observation.size() == 0 ? extremes[random() % std::size(extremes)] : ordinary; break;
      case 4: value = size * ordinary; break;
      case 5: value = any_float(random); break;
      default: value = any_float(random, 0x807FFFFFU); break;  // denormal
    }
  }
}

// Counts what commands do that nobody may do.
class Judge {
 public:
  explicit Judge(const acer::Limits& limits) : limits_(limits), last_(limits.low.size()) {}

  void start() { has_last_ = false; }

  void take(const std::vector<float>& command) {
    ++commands;
    for (std::size_t j = 0; j < command.size(); ++j) {
      const double now = command[j], largest = limits_.slew_rate[j] * limits_.dt + 1e-6;
      if (!(limits_.low[j] <= now && now <= limits_.high[j])) ++outside;
      if (has_last_ && !(std::abs(now - last_[j]) <= largest)) ++jumps;
      if (now == limits_.low[j] || now == limits_.high[j]) ++at_limit;
      last_[j] = now;
    }
    has_last_ = true;
  }

  long outside = 0, jumps = 0, commands = 0, at_limit = 0;

 private:
  const acer::Limits& limits_;
  std::vector<double> last_;
  bool has_last_ = false;
};

// POLICY STREAMS LENGTH SEED: each stream goes through the policy alone, and through the policy behind the safety layer,
// with random gaps, stamps and stops; every other one without a ramp-in. Prints what commands did.
int fuzz(const char* path, long streams, int length, unsigned seed) {
  acer::SafetyOptions at_once;
  at_once.ramp_in = 0.0;
  acer::Controller ramped(path), unramped(path, at_once);
  acer::Policy policy(path);
  const acer::Limits& limits = policy.limits();
  std::vector<float> observation(policy.task().observation.size()), command(limits.low.size());
  const std::vector<double> measured(command.size(), 0.0);
  std::mt19937 random(seed);
  Judge alone(limits), behind(limits);
  long unusable = 0;
  for (long stream = 0; stream < streams; ++stream) {
    acer::Controller& controller = stream % 2 == 0 ? ramped : unramped;
    std::fill(observation.begin(), observation.end(), 0.0F);
    policy.reset();
    controller.start();
    alone.start();
    behind.start();
    double now = 0.0;
    for (int step = 0; step < length; ++step) {
      next_observation(random, observation);
      if (policy.act(observation, command) == acer::Policy::Result::unusable) ++unusable;
      alone.take(command);
      now += limits.dt * (random() % 64 == 0 ? 3.0 : 1.0);
      if (random() % 64 == 0) controller.stop();
      const double stamp = random() % 16 == 0 ? static_cast<double>(any_float(random)) : now;
      const acer::Tick tick = controller.step(now, observation, stamp, measured, command);
      if (tick.has_command) behind.take(command);
      if (tick.done) break;
    }
  }
  const long outside = alone.outside + behind.outside, jumps = alone.jumps + behind.jumps;
  std::printf("%ld outside, %ld jumps, %ld commands, %ld not finite, %ld at a limit\n", outside, jumps,
              alone.commands + behind.commands, unusable, alone.at_limit + behind.at_limit);
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

// A controller on a clock of its own, with a robot that is always at rest.
class Requested {
 public:
  explicit Requested(const char* path) : controller(path), buffers_(controller.task()) {}

  // Steps, and returns what the step decided.
  acer::Tick step() {
    now_ += controller.task().control_dt;
    return controller.step(now_, buffers_.observation, now_, {}, buffers_.command);
  }

  // Starts a drive, and prints what its first step decides.
  void start(const char* when) {
    controller.start();
    print(when, step());
  }

  // Steps until the drive is done.
  acer::Tick finish() {
    acer::Tick tick;
    do tick = step();
    while (!tick.done);
    return tick;
  }

  void print(const char* when, const acer::Tick& tick) {
    std::printf("%s: %s %s\n", when, acer::word(tick.mode), acer::word(tick.cause));
  }

  acer::Controller controller;

 private:
  Buffers buffers_;
  double now_ = 0.0;
};

// POLICY: prints what a drive does that begins after requests.
int requests(const char* path) {
  Requested robot(path);
  robot.controller.stop();
  robot.start("stop before start");
  robot.start("after that");
  robot.controller.stop();  // no step has taken it
  robot.start("stop, then start");
  robot.start("after that");
  robot.controller.end();
  robot.step();
  robot.controller.stop();
  robot.print("stop in the ramp of end", robot.finish());
  robot.start("after that");
  robot.start("after that");
  robot.controller.emergency_stop();
  robot.start("emergency before start");
  robot.start("after that");
  robot.controller.end();
  robot.controller.fail();
  robot.start("end and fail before start");
  return 0;
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
    if (check == "fuzz" && argc == 6) return fuzz(argv[2], std::stol(argv[3]), std::stoi(argv[4]), std::stoul(argv[5]));
    if (check == "requests" && argc == 3) return requests(argv[2]);
    if (check == "situations" && argc == 3) return situations(argv[2]);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
  std::fprintf(stderr, "usage: controller_test widths|allocations|fuzz|requests|situations ...\n");
  return 2;
}
