#include "options.hpp"

#include <getopt.h>

#include <charconv>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <limits>
#include <map>

#include <sched.h>

#include "acer_controller.hpp"

namespace {

const char* const usage =
    "usage: controller POLICY.pt MODEL.xml [--episodes N] [--steps N] [--seed N | --initial-state FILE] "
    "[--log FILE.csv] [--velocity VX,VY,YAW_RATE] [--same-model] [--libtorch] "
    "[--realtime [--priority N] [--core N] [--lock-memory]] [--ramp [--safety NAME=VALUE].. [--incident FILE]], "
    "or: controller --bench POLICY.pt [--libtorch], or: controller --help";

template <typename Number>
Number number(const char* name, const std::string& text, Number lowest,
              Number highest = std::numeric_limits<Number>::max()) {
  Number value{};
  const char* end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, value);
  if (error != std::errc{} || stop != end || value < lowest || value > highest) {
    const bool is_open = highest == std::numeric_limits<Number>::max();
    throw acer::InputError("--" + std::string(name) + "=" + text + " is not a whole number from " + std::to_string(lowest) +
                           (is_open ? " on" : " to " + std::to_string(highest)));
  }
  return value;
}

std::array<double, 3> three_numbers(const char* name, const std::string& text) {
  std::array<double, 3> numbers{};
  const char* at = text.c_str();
  for (std::size_t i = 0; i < numbers.size(); ++i) {
    char* end = nullptr;
    numbers[i] = std::strtod(at, &end);
    const char expected = i + 1 < numbers.size() ? ',' : '\0';
    if (end == at || *end != expected || !std::isfinite(numbers[i])) {
      throw acer::InputError("--" + std::string(name) + "=" + text + " is not three numbers: VX,VY,YAW_RATE");
    }
    at = end + 1;
  }
  return numbers;
}

// Sets one option of the safety layer: NAME=VALUE. The library checks its range.
void set_safety(acer::SafetyOptions& safety, const std::string& text) {
  const std::map<std::string, double*> numbers = {{"ramp_rate", &safety.ramp_rate},
                                                  {"ramp_in", &safety.ramp_in},
                                                  {"hold", &safety.hold},
                                                  {"start_limit", &safety.start_limit},
                                                  {"late_factor", &safety.late_factor}};
  const std::map<std::string, std::optional<double>*> limits = {{"age_limit", &safety.age_limit},
                                                                {"far_limit", &safety.far_limit}};
  const std::map<std::string, int*> counts = {{"late_ticks", &safety.late_ticks},
                                              {"nan_ticks", &safety.nan_ticks},
                                              {"frozen_ticks", &safety.frozen_ticks},
                                              {"far_ticks", &safety.far_ticks}};
  const auto equals = text.find('=');
  const std::string name = text.substr(0, equals), value = equals == std::string::npos ? "" : text.substr(equals + 1);
  if (const auto count = counts.find(name); count != counts.end()) {
    *count->second = number(("safety " + name).c_str(), value, 0);
    return;
  }
  char* end = nullptr;
  const double parsed = std::strtod(value.c_str(), &end);
  const bool is_number = !value.empty() && *end == '\0';
  if (const auto found = numbers.find(name); is_number && found != numbers.end()) {
    *found->second = parsed;
  } else if (const auto limit = limits.find(name); is_number && limit != limits.end()) {
    *limit->second = parsed;
  } else {
    throw acer::InputError("--safety " + text + " is not NAME=NUMBER with a name of docs/driving.md");
  }
}

}  // namespace

Options parse(int argc, char** argv) {
  const option known[] = {{"bench", no_argument, nullptr, 'b'},
                          {"core", required_argument, nullptr, 'o'},
                          {"episodes", required_argument, nullptr, 'e'},
                          {"help", no_argument, nullptr, 'h'},
                          {"incident", required_argument, nullptr, 'c'},
                          {"initial-state", required_argument, nullptr, 'i'},
                          {"libtorch", no_argument, nullptr, 't'},
                          {"log", required_argument, nullptr, 'l'},
                          {"lock-memory", no_argument, nullptr, 'k'},
                          {"priority", required_argument, nullptr, 'p'},
                          {"ramp", no_argument, nullptr, 'm'},
                          {"realtime", no_argument, nullptr, 'r'},
                          {"safety", required_argument, nullptr, 'y'},
                          {"same-model", no_argument, nullptr, 'a'},
                          {"seed", required_argument, nullptr, 's'},
                          {"steps", required_argument, nullptr, 'n'},
                          {"velocity", required_argument, nullptr, 'v'},
                          {nullptr, 0, nullptr, 0}};
  Options options;
  bool safety = false, asked = false;
  opterr = 0;  // the error is ours to print
  for (int option; (option = getopt_long(argc, argv, ":", known, nullptr)) != -1;) {
    switch (option) {
      case 'e': options.episodes = number("episodes", optarg, 1, 1'000'000); break;
      case 'n': options.steps = number("steps", optarg, 1, 1'000'000'000); break;
      case 'h': std::puts(usage); std::exit(0);
      case 'r': options.realtime = true; break;
      case 'p': options.real_time.priority = number("priority", optarg, 1, 99); asked = true; break;
      case 'o': options.real_time.core = number("core", optarg, 0, CPU_SETSIZE - 1); asked = true; break;
      case 'k': options.real_time.lock_memory = asked = true; break;
      case 'a': options.same_model = true; break;
      case 'b': options.bench = true; break;
      case 'm': options.ramp = true; break;
      case 'y': set_safety(options.safety, optarg); safety = true; break;
      case 'c': options.incident = optarg; safety = true; break;
      case 't': options.libtorch = true; break;
      case 's': options.seed = number<std::uint64_t>("seed", optarg, 0); break;
      case 'i': options.initial_state = optarg; break;
      case 'l': options.log = optarg; break;
      case 'v': options.velocity = three_numbers("velocity", optarg); break;
      default: throw acer::InputError(std::string("cannot use ") + argv[optind - 1] + "; " + usage);
    }
  }
  if (safety && !options.ramp) throw acer::InputError("--safety and --incident need --ramp");
  if (asked && !options.realtime) throw acer::InputError("--priority, --core and --lock-memory need --realtime");
  const int files = argc - optind;
  if (files != (options.bench ? 1 : 2)) throw acer::InputError(usage);
  options.policy = argv[optind];
  if (!options.bench) options.model = argv[optind + 1];
  return options;
}
