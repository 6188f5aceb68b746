// Runs the plugin against the stub of ROS. usage: stub_test POLICY.pt UPDATE_RATE [TICKS [FROZEN_TICKS [FROZEN_FROM]]]
// It deactivates the controller after TICKS. From the tick FROZEN_FROM on the states stay the same.
// Prints the interfaces that it claims, then one line a tick: the commands; then what the deactivation leaves of them.

#include <algorithm>
#include <cmath>
#include <cstdlib>

#include "policy_controller.hpp"

namespace {

void print(const char* name, const std::vector<double>& commands) {
  std::printf("%s", name);
  for (const double value : commands) std::printf(" %.9g", value);
  std::printf("\n");
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3 || argc > 6) return 2;
  const int ticks = argc > 3 ? std::atoi(argv[3]) : 1000, frozen_from = argc > 5 ? std::atoi(argv[5]) : 1000;
  using controller_interface::CallbackReturn;
  acer::PolicyController controller;
  controller.on_init();
  controller.get_node()->parameters["policy"] = std::string(argv[1]);
  if (argc > 4) controller.get_node()->parameters["frozen_ticks"] = std::int64_t{std::atoll(argv[4])};
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
  for (int tick = 1; tick <= ticks; ++tick) {
    state[0] = tick == 30 ? NAN : 0.1 + 1e-4 * std::min(tick, frozen_from);  // sensors are never quite still
    if (tick == 40 && argc == 3) controller.get_node()->stop();
    const auto result = controller.update(rclcpp::Time{100.0 + tick * period}, rclcpp::Duration{});
    print("tick", command);
    if (result == controller_interface::return_type::ERROR) break;
  }
  controller.on_deactivate({});
  print("left", command);
  return 0;
}
