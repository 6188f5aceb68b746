#include "interfaces.hpp"

#include <limits>

namespace acer {

std::vector<StateEntry> state_entries(const TaskDescription& task) {
  const std::string clipped = "clipped_";
  constexpr double clipped_velocity = 10.0;  // as in training
  std::vector<StateEntry> entries;
  for (const std::string& name : task.observation) {
    const bool is_clipped = name.compare(0, clipped.size(), clipped) == 0;
    const std::string plain = is_clipped ? name.substr(clipped.size()) : name;
    const auto colon = plain.find(':');
    const std::string kind = plain.substr(0, colon);
    const bool known = kind == "position" || kind == "velocity" || kind == "orientation" || kind == "angular_velocity";
    if (colon == std::string::npos || !known) {
      throw InputError("the policy observes '" + name + "', which no state interface of ros2_control gives");
    }
    // "orientation:root.w" is part w of the orientation of root: "root/orientation.w", as an IMU sensor names it.
    const std::string whole = plain.substr(colon + 1);
    const auto dot = whole.rfind('.');
    const bool has_part = dot != std::string::npos && dot + 2 == whole.size();
    const std::string part = has_part ? whole.substr(dot) : "";
    const std::string owner = has_part ? whole.substr(0, dot) : whole;
    entries.push_back({owner + "/" + kind + part,
                       is_clipped ? clipped_velocity : std::numeric_limits<double>::infinity()});
  }
  return entries;
}

std::vector<std::string> command_interfaces(const TaskDescription& task) {
  if (task.actuators.empty()) {
    throw InputError("the policy file does not say what its actuators are; export it again");
  }
  std::vector<std::string> names;
  for (const Actuator& actuator : task.actuators) {
    const std::string kind = actuator.kind.value_or("general");
    if (kind == "general") throw InputError("joint " + actuator.joint + " has a general actuator, which ros2_control lacks");
    names.push_back(actuator.joint + "/" + (kind == "motor" ? "effort" : kind));
  }
  return names;
}

}  // namespace acer
