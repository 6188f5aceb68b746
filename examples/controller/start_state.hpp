#pragma once

#include <mujoco/mujoco.h>

#include <random>
#include <vector>

#include "options.hpp"

struct StartState {
  std::vector<double> qpos, qvel;
};

// The starting states of episodes: always the one in --initial-state, or drawn one after the other with the seed.
class StartStates {
 public:
  // Throws InputError for a file that does not hold a state of the model.
  StartStates(const Options& options, const mjModel& model);

  const StartState& next();

 private:
  const mjModel& model_;
  bool is_drawn_;
  std::mt19937_64 random_;
  StartState state_;
};
