// A library that runs an exported policy on a robot: load, check against the robot, step, stop.
#pragma once

#include <cstdint>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

namespace acer {

// The user gave an input that cannot be used. The message is one line. Only `Controller` before its first step throws it.
struct InputError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

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

// What a robot says about itself. An empty list is not compared.
struct RobotDescription {
  std::string name;                      // for messages, for example the path of its model
  std::vector<std::string> joints;       // of its actuators, in their order
  std::vector<double> low, high;         // limits of its commands; infinite: none
  double control_dt = 0.0;               // seconds between two commands
  std::vector<std::string> observation;  // all entries that it can measure, in any order
};

enum class Engine {
  packed,   // the library's own products, compared with libtorch when the file is loaded
  libtorch  // the TorchScript module itself; it allocates memory in each call
};

// An exported policy without a safety layer. No function throws after the constructor.
class Policy {
 public:
  // Throws InputError if the file is missing, corrupt, not an exported policy, or has another sha256 than policy.json.
  // Also if the packed network differs from the file's module by more than rounding.
  explicit Policy(const std::string& path, Engine engine = Engine::packed);
  ~Policy();
  Policy(Policy&&) noexcept;

  const TaskDescription& task() const noexcept;

  // Starts an episode. Call it, because a policy with slew rates or a low-pass remembers the last command.
  void reset() noexcept;

  enum class Result {
    usable,
    unusable,    // an infinity or NaN: the command moves to the fallback command, at once if there is no rate limit
    wrong_width  // of observation or command: nothing is written
  };

  // Writes one command per joint, within its bounds for every observation.
  Result act(const std::vector<float>& observation, std::vector<float>& command) noexcept;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// Throws InputError unless the robot is the one that the policy was trained for. The message names the entry.
void check(const TaskDescription& task, const RobotDescription& robot);

}  // namespace acer
