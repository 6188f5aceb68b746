#pragma once

#include <acer_controller.hpp>
#include <string>
#include <vector>

// Names of ros2_control's interfaces for a policy. Nothing here needs ROS.
namespace acer {

// One entry of the observation: "position:knee" is read from "knee/position".
struct StateEntry {
  std::string interface;
  double limit;  // training clipped some velocities; infinite: it did not
};

// Throws InputError for an entry that is no state of a joint or a sensor.
std::vector<StateEntry> state_entries(const TaskDescription& task);

// "knee/position", "knee/velocity" or "knee/effort", by the kind of the actuator. Throws InputError if the file does not
// say the kind, or if it is general.
std::vector<std::string> command_interfaces(const TaskDescription& task);

}  // namespace acer
