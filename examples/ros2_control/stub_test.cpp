// Runs the plugin against the stub of ROS. usage: stub_test POLICY.pt UPDATE_RATE
// Prints the interfaces that it claims, then one line a tick: the commands, or the end.

#include <cmath>
#include <cstdlib>

#include "policy_controller.hpp"

int main(int argc, char** argv) {
  if (argc != 3) return 2;
  using controller_interface::CallbackReturn;
  acer::PolicyController controller;
  controller.on_init();
  controller.get_node()->parameters["policy"] = argv[1];
  controller.update_rate = static_cast<unsigned int>(std::atoi(argv[2]));
  if (controller.on_configure({}) != CallbackReturn::SUCCESS) return 1;
  const auto commands = controller.command_interface_configuration().names;
  const auto states = controller.state_interface_configuration().names;
  for (const auto& name : commands) std::printf("command %s\n", name.c_str());
  for (const auto& name : states) std::printf("state %s\n", name.c_str());
  if (controller.on_activate({}) == CallbackReturn::SUCCESS) return 1;  // ROS has not given the interfaces yet

  std::vector<double> state(states.size(), 0.1), command(commands.size());
  for (double& value : state) controller.state_interfaces_.push_back({&value});
  for (double& value : command) controller.command_interfaces_.push_back({&value});
  if (controller.on_activate({}) != CallbackReturn::SUCCESS) return 1;
  const double period = 1.0 / controller.update_rate;
  for (int tick = 1; tick < 1000; ++tick) {
    state[0] = tick == 30 ? NAN : 0.1;
    if (tick == 40) controller.get_node()->stop();
    const auto result = controller.update(rclcpp::Time{100.0 + tick * period}, rclcpp::Duration{});
    std::printf("tick");
    for (const double value : command) std::printf(" %.9g", value);
    std::printf("\n");
    if (result == controller_interface::return_type::ERROR) break;
  }
  controller.on_deactivate({});
  return 0;
}
