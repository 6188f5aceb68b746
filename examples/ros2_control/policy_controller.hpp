#pragma once

#include <acer_controller.hpp>
#include <controller_interface/controller_interface.hpp>
#include <memory>
#include <std_msgs/msg/empty.hpp>
#include <string>
#include <vector>

#include "interfaces.hpp"

namespace acer {

// Runs a policy behind its safety layer. Parameters: `policy`, the path of policy.pt, and `frozen_ticks`, the number of
// updates with equal states that stops it (0: never). A message on ~/stop ramps to rest. A second one holds at once.
// When the layer is done, `update` returns an error, and the controller manager deactivates the controller.
// on_deactivate writes 0 to efforts and velocities.
class PolicyController : public controller_interface::ControllerInterface {
 public:
  controller_interface::CallbackReturn on_init() override;
  controller_interface::CallbackReturn on_configure(const rclcpp_lifecycle::State& previous) override;
  controller_interface::CallbackReturn on_activate(const rclcpp_lifecycle::State& previous) override;
  controller_interface::CallbackReturn on_deactivate(const rclcpp_lifecycle::State& previous) override;
  controller_interface::InterfaceConfiguration command_interface_configuration() const override;
  controller_interface::InterfaceConfiguration state_interface_configuration() const override;
  controller_interface::return_type update(const rclcpp::Time& time, const rclcpp::Duration& period) override;

 private:
  void read_states();

  std::unique_ptr<Controller> controller_;
  std::vector<StateEntry> entries_;
  std::vector<std::string> commands_;  // names of the command interfaces
  std::vector<double> gear_;           // a motor's command times its gear is the effort
  std::vector<bool> is_motor_;         // else the joint's position or velocity times the gear is the command
  std::vector<int> position_of_;       // entry of the observation that is the joint's position; -1: none
  std::vector<float> observation_, command_;
  std::vector<double> measured_;
  rclcpp::Subscription<std_msgs::msg::Empty>::SharedPtr stop_;
};

}  // namespace acer
