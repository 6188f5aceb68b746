#pragma once

#include <memory>
#include <string>
#include <vector>

#include "task_description.hpp"

// An exported policy. torch's headers take half a minute to compile, so policy.cpp alone includes them.
class Policy {
 public:
  // Throws InputError if the file is missing, corrupt, not an exported policy, or not what policy.json beside it says.
  explicit Policy(const std::string& path);
  ~Policy();

  const TaskDescription& task() const { return task_; }

  // Starts an episode: a policy with slew-rate limits or a low-pass remembers the last commands.
  void reset();

  // Writes one command per joint, within the bounds whatever is observed. Returns false if the observation held an
  // infinity or NaN; the command is then the fallback that the file records. Throws std::invalid_argument if
  // `observation` or `command` has not the width of the task's.
  bool act(const std::vector<float>& observation, std::vector<float>& command);

 private:
  struct Network;
  std::unique_ptr<Network> network_;
  TaskDescription task_;
};
