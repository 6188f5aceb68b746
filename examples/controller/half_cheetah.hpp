#pragma once

// Reward and starting states of Gymnasium's HalfCheetah-v5. They belong to the task, so a real robot needs neither.

#include <random>
#include <string>
#include <vector>

#include "robot.hpp"

inline const std::string half_cheetah = "gymnasium/HalfCheetah-v5";

// Reward of one control period: forward velocity minus 0.1 |command|^2, for each environment step.
inline double half_cheetah_reward(double x_before, double x_after, const std::vector<float>& command,
                                  const acer::TaskDescription& task) {
  double squares = 0.0;
  for (const double value : command) squares += value * value;
  return (x_after - x_before) / task.environment_dt() - 0.1 * task.action_repeat * squares;
}

// A starting state: the model's own with noise of 0.1, uniform in the positions and normal in the velocities.
inline void draw_start(const mjModel& model, std::mt19937_64& random, std::vector<double>& qpos,
                       std::vector<double>& qvel) {
  std::uniform_real_distribution<double> uniform(-0.1, 0.1);
  std::normal_distribution<double> normal(0.0, 0.1);
  for (int i = 0; i < model.nq; ++i) qpos[i] = model.qpos0[i] + uniform(random);
  for (int i = 0; i < model.nv; ++i) qvel[i] = normal(random);
}
