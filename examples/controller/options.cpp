#include "options.hpp"

#include <getopt.h>

#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <limits>

#include "acer_controller.hpp"

namespace {

const char* const usage =
    "usage: controller POLICY.pt MODEL.xml [--episodes N] [--steps N] [--realtime] [--seed N | --initial-state FILE] "
    "[--log FILE.csv] [--libtorch], or: controller --bench POLICY.pt [--libtorch], or: controller --help";

template <typename Number>
Number number(const char* name, const std::string& text, Number lowest) {
  Number value{};
  const char* end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, value);
  if (error != std::errc{} || stop != end || value < lowest) {
    throw acer::InputError("--" + std::string(name) + "=" + text + " is not a whole number from " + std::to_string(lowest) +
                     " on");
  }
  return value;
}

}  // namespace

Options parse(int argc, char** argv) {
  const option known[] = {{"bench", no_argument, nullptr, 'b'},
                          {"episodes", required_argument, nullptr, 'e'},
                          {"help", no_argument, nullptr, 'h'},
                          {"initial-state", required_argument, nullptr, 'i'},
                          {"libtorch", no_argument, nullptr, 't'},
                          {"log", required_argument, nullptr, 'l'},
                          {"realtime", no_argument, nullptr, 'r'},
                          {"seed", required_argument, nullptr, 's'},
                          {"steps", required_argument, nullptr, 'n'},
                          {nullptr, 0, nullptr, 0}};
  Options options;
  opterr = 0;  // the error is ours to print
  for (int option; (option = getopt_long(argc, argv, ":", known, nullptr)) != -1;) {
    switch (option) {
      case 'e': options.episodes = number("episodes", optarg, 1); break;
      case 'n': options.steps = number("steps", optarg, 1); break;
      case 'h': std::puts(usage); std::exit(0);
      case 'r': options.realtime = true; break;
      case 'b': options.bench = true; break;
      case 't': options.libtorch = true; break;
      case 's': options.seed = number<std::uint64_t>("seed", optarg, 0); break;
      case 'i': options.initial_state = optarg; break;
      case 'l': options.log = optarg; break;
      default: throw acer::InputError(std::string("cannot use ") + argv[optind - 1] + "; " + usage);
    }
  }
  const int files = argc - optind;
  if (files != (options.bench ? 1 : 2)) throw acer::InputError(usage);
  options.policy = argv[optind];
  if (!options.bench) options.model = argv[optind + 1];
  return options;
}
