// Calls Policy::act with vectors of any width; tests/test_controller.py builds and runs it.
// usage: policy_width_test POLICY.pt OBSERVATION_WIDTH COMMAND_WIDTH

#include <cstdio>
#include <exception>
#include <string>

#include "policy.hpp"

int main(int argc, char** argv) {
  if (argc != 4) return 2;
  try {
    Policy policy(argv[1]);
    const std::vector<float> observation(std::stoul(argv[2]), 0.5F);
    std::vector<float> command(std::stoul(argv[3]));
    policy.act(observation, command);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
  return 0;
}
