#pragma once

#include <memory>
#include <string>
#include <vector>

#include "task_description.hpp"

// An exported policy. torch's headers take half a minute to compile, so policy.cpp alone includes them.
class Policy {
 public:
  // Throws InputError if the file is missing, corrupt, not an exported policy, or has another sha256 than policy.json.
  explicit Policy(const std::string& path);
  ~Policy();

  const TaskDescription& task() const { return task_; }

  // Starts an episode. Call it, because a policy with slew rates or a low-pass remembers the last command.
  void reset();

  // Writes one command per joint, within its bounds for every observation. Returns false if the observation has an
  // infinity or NaN: the file then moves to its fallback command, at once if it has no slew rate and no low-pass.
  // Throws std::invalid_argument if `observation` or `command` has another width than the task's.
  bool act(const std::vector<float>& observation, std::vector<float>& command);

 private:
  struct Network;
  std::unique_ptr<Network> network_;
  TaskDescription task_;
};
