#pragma once

#include <string>
#include <vector>

// What the policy file says about the task it was trained for (its policy.json).
struct TaskDescription {
  std::string id;                        // "gymnasium/HalfCheetah-v5"
  std::vector<std::string> observation;  // what each entry of the observation is: "position:bthigh"
  std::vector<std::string> joints;       // one per command
  std::vector<double> low, high;         // limits of the commands, in actuator units
  double control_dt = 0.0;               // seconds between two commands
  int frame_skip = 1;                    // physics steps in an environment step
  int action_repeat = 1;                 // environment steps for which a command is held
  int time_limit = 0;                    // environment steps in an episode; 0: no limit
  bool command_is_actuator = true;       // false: the environment computes the actuators' values from a command

  double environment_dt() const { return control_dt / action_repeat; }

  // The last command of an episode counts, even if the time limit ends it before action_repeat environment steps.
  int commands_in_episode() const { return time_limit / action_repeat + (time_limit % action_repeat != 0); }
};

// Throws InputError if `metadata`, the contents of policy.json in the file `path`, is not what this program reads.
TaskDescription read_task(const std::string& metadata, const std::string& path);
