// A library that runs an exported policy on a robot: load, check, step, stop. docs/driving.md specifies how it stops.
#pragma once

#include <array>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

namespace acer {

// The user gave an input that cannot be used; the message is one line. Only constructors and `check` throw it.
struct InputError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// An actuator, in MuJoCo's terms. A robot leaves out what it does not know, and that is not compared.
struct Actuator {
  std::string joint;
  std::optional<std::string> kind;  // "motor", "position", "velocity" or "general"
  std::optional<double> gear;
  std::optional<std::array<double, 3>> gain, bias;
  std::optional<std::array<double, 2>> force_limit;
  std::optional<std::string> unit;  // of the command
};

// What the policy file says about the task it was trained for (its policy.json).
struct TaskDescription {
  std::string id;                        // "gymnasium/HalfCheetah-v5"
  std::vector<std::string> observation;  // what each entry of the observation is: "position:bthigh"
  std::vector<std::string> joints;       // one per command
  std::vector<double> low, high;         // limits of the commands, in actuator units
  std::vector<Actuator> actuators;       // empty in files before schema 2
  std::string model_sha256;              // of the model file; empty: not recorded, or there is no single one
  double control_dt = 0.0;               // seconds between two commands
  int frame_skip = 1;                    // physics steps in an environment step
  int action_repeat = 1;                 // environment steps for which a command is held
  int time_limit = 0;                    // environment steps in an episode; 0: no limit
  bool command_is_actuator = true;       // false: the environment computes the actuators' values from a command
  double environment_dt() const { return control_dt / action_repeat; }
  // The last command of an episode counts, even if the time limit ends it before action_repeat environment steps.
  int commands_in_episode() const { return time_limit / action_repeat + (time_limit % action_repeat != 0); }
};

// What a robot says about itself. What is empty and a period of 0 are not compared.
struct RobotDescription {
  std::string name;                      // for messages, for example the path of its model
  std::vector<std::string> joints;       // of its actuators, in their order
  std::vector<double> low, high;         // limits of its commands; infinite: none
  std::vector<Actuator> actuators;       // in the order of the joints
  std::string model_sha256;              // of the model file, in hexadecimal digits
  double control_dt = 0.0;               // seconds between two commands
  std::vector<std::string> observation;  // all entries that it can measure, in any order
};

// Throws InputError unless the robot is the one that the policy was trained for. The message names the entry.
void check(const TaskDescription& task, const RobotDescription& robot);

enum class Engine {
  packed,   // the library's own products, compared with libtorch when the file is loaded
  libtorch  // the TorchScript module itself; it allocates memory in each call
};

struct Limits;

// An exported policy without the safety layer. No function throws after the constructor.
class Policy {
 public:
  // Throws InputError if the file is missing, corrupt, edited, not an exported policy, or not that of its policy.json.
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

  const Limits& limits() const noexcept;  // of the safety layer; for the library itself

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// Options of the safety layer. A count of 0 never stops.
struct SafetyOptions {
  double ramp_rate = 0.5, ramp_in = 1.0, hold = 0.5, start_limit = 2.0;
  std::optional<double> age_limit;  // default: five control periods
  double late_factor = 1.2;
  int late_ticks = 10, nan_ticks = 5, frozen_ticks = 0, far_ticks = 0;
  std::optional<double> far_limit;  // default: the normaliser's
};

enum class Mode { idle, ramp_in, running, holding, ramp_out, stopped };
enum class Cause { none, stop, second_stop, emergency, error, clock, late, age, nan, frozen, far, outside, end };
const char* word(Mode mode) noexcept;
const char* word(Cause cause) noexcept;

// What a step decided.
struct Tick {
  Mode mode = Mode::idle;
  Cause cause = Cause::none;
  bool has_command = false;  // false: write nothing to the robot
  bool done = false;         // close the robot; after Cause::emergency write nothing more
  bool late = false;         // too long after the step before
  double age = 0.0;          // of the newest observation in seconds; NaN: there was none
  long far_total = 0;        // observations far from what training saw
};

// A policy with the safety layer. The steps belong to one thread. They allocate nothing and throw nothing.
class Controller {
 public:
  explicit Controller(const std::string& policy, const SafetyOptions& options = {}, Engine engine = Engine::packed);
  ~Controller();

  const TaskDescription& task() const noexcept;
  void check(const RobotDescription& robot) const { acer::check(task(), robot); }
  // Begins a drive, the only way out of `stopped`. It forgets end() and fail(). It keeps stop() and emergency_stop()
  // for the first step, unless a drive has ended by them: with Cause::stop, second_stop or emergency.
  void start() noexcept;

  // One tick of the monotonic clock (seconds). An empty observation: none. `measured`: what the robot does now, in the
  // command's units; empty: not known. A wrong width counts as an error of the robot.
  Tick step(double now, const std::vector<float>& observation, double stamp, const std::vector<double>& measured,
            std::vector<float>& command) noexcept;
  const std::vector<float>& wanted() const noexcept;  // the policy's command before the limits; empty: not asked

  // They take effect in the next step. A signal handler and any thread may call them.
  void stop() noexcept;            // ramps to rest; the second call holds the last command at once
  void end() noexcept;             // the time of this drive is over
  void fail() noexcept;            // reading, writing or the log failed in this drive
  void emergency_stop() noexcept;  // at once, without a ramp

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace acer
