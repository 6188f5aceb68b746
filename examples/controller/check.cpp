// The checks of a robot's description against the task's, before anything moves.

#include <algorithm>
#include <cmath>
#include <sstream>

#include "acer_controller.hpp"

namespace acer {

namespace {

template <typename... Parts>
std::string text(const Parts&... parts) {
  std::ostringstream out;
  (out << ... << parts);
  return out.str();
}

std::string joined(const std::vector<std::string>& names) {
  std::string result;
  for (const auto& name : names) result += (result.empty() ? "" : ", ") + name;
  return result;
}

void check_joints(const TaskDescription& task, const RobotDescription& robot) {
  if (!robot.joints.empty() && robot.joints != task.joints) {
    throw InputError(text("the policy commands the joints ", joined(task.joints), ", but the actuators of ",
                          robot.name, " are ", joined(robot.joints)));
  }
  const std::size_t limits = robot.low.size();
  if (robot.high.size() != limits || (limits != 0 && limits != task.joints.size())) {
    throw InputError(text(robot.name, " has ", limits, " lower and ", robot.high.size(), " upper limits for ",
                          task.joints.size(), " joints"));
  }
  for (std::size_t i = 0; i < limits; ++i) {
    if (!(robot.low[i] <= task.low[i] && task.high[i] <= robot.high[i])) {
      throw InputError(text("the policy commands ", task.joints[i], " within [", task.low[i], ", ", task.high[i],
                            "], but ", robot.name, " limits it to [", robot.low[i], ", ", robot.high[i], "]"));
    }
  }
}

// Numbers may differ by 1e-9 of their size.
bool same(double ours, double theirs) {
  return ours == theirs || std::abs(ours - theirs) <= 1e-9 * std::max(std::abs(ours), std::abs(theirs));
}

bool same(const std::string& ours, const std::string& theirs) { return ours == theirs; }

template <std::size_t size>
bool same(const std::array<double, size>& ours, const std::array<double, size>& theirs) {
  return std::equal(ours.begin(), ours.end(), theirs.begin(), [](double a, double b) { return same(a, b); });
}

std::string shown(double value) { return text(value); }
std::string shown(const std::string& value) { return "'" + value + "'"; }

template <std::size_t size>
std::string shown(const std::array<double, size>& values) {
  std::string result;
  for (const double value : values) result += (result.empty() ? "[" : ", ") + text(value);
  return result + "]";
}

template <typename Value>
void compare(const Actuator& policy, const char* entry, const std::optional<Value>& trained,
             const std::optional<Value>& given, const std::string& robot) {
  if (trained && given && !same(*trained, *given)) {
    throw InputError(text("the policy was made for an actuator of ", policy.joint, " with ", entry, " ",
                          shown(*trained), ", but that of ", robot, " has ", shown(*given)));
  }
}

void check_actuators(const TaskDescription& task, const RobotDescription& robot) {
  if (task.actuators.empty() || robot.actuators.empty()) return;
  if (robot.actuators.size() != task.actuators.size()) {
    throw InputError(text("the policy was made for ", task.actuators.size(), " actuators, but ", robot.name, " has ",
                          robot.actuators.size()));
  }
  for (std::size_t i = 0; i < task.actuators.size(); ++i) {
    const Actuator &trained = task.actuators[i], &given = robot.actuators[i];
    compare(trained, "kind", trained.kind, given.kind, robot.name);
    compare(trained, "gear", trained.gear, given.gear, robot.name);
    compare(trained, "gain", trained.gain, given.gain, robot.name);
    compare(trained, "bias", trained.bias, given.bias, robot.name);
    compare(trained, "force_limit", trained.force_limit, given.force_limit, robot.name);
    compare(trained, "unit", trained.unit, given.unit, robot.name);
  }
}

void check_observation(const TaskDescription& task, const RobotDescription& robot) {
  if (robot.observation.empty()) return;
  for (const auto& entry : task.observation) {
    if (std::find(robot.observation.begin(), robot.observation.end(), entry) == robot.observation.end()) {
      throw InputError("the policy observes '" + entry + "', which is no position or velocity of a joint of " +
                       robot.name);
    }
  }
}

}  // namespace

void check(const TaskDescription& task, const RobotDescription& robot) {
  if (!task.command_is_actuator) {
    throw InputError("the policy's commands are the environment's, not an actuator's: this program cannot drive " +
                     robot.name + " with them");
  }
  check_joints(task, robot);
  check_actuators(task, robot);
  if (robot.control_dt != 0.0 && !(std::abs(robot.control_dt - task.control_dt) <= 1e-9)) {
    throw InputError(text("the policy decides every ", task.control_dt, " s, but control periods of ", robot.name,
                          " take ", robot.control_dt, " s"));
  }
  check_observation(task, robot);
  if (!task.model_sha256.empty() && !robot.model_sha256.empty() && task.model_sha256 != robot.model_sha256) {
    throw InputError("the policy was made for a model file with the sha256 " + task.model_sha256 + ", but that of " +
                     robot.name + " has " + robot.model_sha256);
  }
}

}  // namespace acer
