#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>

#include "acer_controller.hpp"
#include "realtime.hpp"

struct Options {
  std::string policy;
  std::string model;          // empty with --bench
  int episodes = 1;
  int steps = 0;              // commands in an episode; 0: the task's time limit
  bool realtime = false;      // one command per control period, in real time
  RealTimeOptions real_time;  // what that asks of the operating system
  bool same_model = false;    // refuse a model file that is not the one of the training
  bool bench = false;
  bool libtorch = false;      // decide with the TorchScript module itself
  std::uint64_t seed = 0;     // of the starting states
  std::string initial_state;  // file with qpos and qvel; empty: drawn with the seed
  bool ramp = false;          // drive behind the safety layer
  acer::SafetyOptions safety;
  std::string incident;       // file with what goes wrong; empty: nothing
  std::optional<std::array<double, 3>> velocity;  // that a robot must follow; empty: zero
  std::string log;            // file for what every tick did; empty: none

  acer::Engine engine() const { return libtorch ? acer::Engine::libtorch : acer::Engine::packed; }
};

// Throws InputError for arguments that cannot be used. Prints the usage and ends the program for --help.
Options parse(int argc, char** argv);
