#include "policy_controller.hpp"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <pluginlib/class_list_macros.hpp>

namespace acer {

using controller_interface::CallbackReturn;
using controller_interface::InterfaceConfiguration;
using controller_interface::interface_configuration_type;

namespace {

constexpr std::int64_t frozen_ticks = 10;  // by default, twice the default limit of the age
constexpr std::int64_t most_ticks = 1'000'000;

// Throws InputError for a count that cannot be used.
SafetyOptions safety_options(std::int64_t frozen) {
  if (frozen < 0 || frozen > most_ticks) {
    throw InputError("frozen_ticks is " + std::to_string(frozen) + "; expected a whole number from 0 to " +
                     std::to_string(most_ticks) + ", 0 for no limit");
  }
  SafetyOptions options;
  options.frozen_ticks = static_cast<int>(frozen);
  return options;
}

}  // namespace

CallbackReturn PolicyController::on_init() {
  auto_declare<std::string>("policy", "");
  auto_declare<std::int64_t>("frozen_ticks", frozen_ticks);
  return CallbackReturn::SUCCESS;
}

CallbackReturn PolicyController::on_configure(const rclcpp_lifecycle::State&) {
  try {
    const SafetyOptions options = safety_options(get_node()->get_parameter("frozen_ticks").as_int());
    controller_ = std::make_unique<Controller>(get_node()->get_parameter("policy").as_string(), options);
    const TaskDescription& task = controller_->task();
    RobotDescription robot;  // the interfaces' names carry joints and kinds; the rate is what is left to compare
    robot.name = "the controller manager";
    robot.control_dt = get_update_rate() > 0 ? 1.0 / get_update_rate() : 0.0;
    controller_->check(robot);
    entries_ = state_entries(task);
    commands_ = command_interfaces(task);
    gear_.clear();
    is_motor_.clear();
    position_of_.clear();
    for (const Actuator& actuator : task.actuators) {
      gear_.push_back(actuator.gear.value_or(1.0));
      is_motor_.push_back(actuator.kind == "motor");
      const std::string name = "position:" + actuator.joint;
      const auto found = std::find(task.observation.begin(), task.observation.end(), name);
      const bool known = actuator.kind == "position" && found != task.observation.end();
      position_of_.push_back(known ? static_cast<int>(found - task.observation.begin()) : -1);
    }
    observation_.resize(task.observation.size());
    command_.resize(task.joints.size());
    measured_.resize(task.joints.size());
  } catch (const InputError& error) {
    RCLCPP_ERROR(get_node()->get_logger(), "%s", error.what());
    return CallbackReturn::ERROR;
  }
  stop_ = get_node()->create_subscription<std_msgs::msg::Empty>(
      "~/stop", rclcpp::SystemDefaultsQoS(), [this](const std_msgs::msg::Empty::SharedPtr) { controller_->stop(); });
  return CallbackReturn::SUCCESS;
}

InterfaceConfiguration PolicyController::command_interface_configuration() const {
  return {interface_configuration_type::INDIVIDUAL, commands_};
}

InterfaceConfiguration PolicyController::state_interface_configuration() const {
  InterfaceConfiguration configuration{interface_configuration_type::INDIVIDUAL, {}};
  for (const StateEntry& entry : entries_) configuration.names.push_back(entry.interface);
  return configuration;
}

CallbackReturn PolicyController::on_activate(const rclcpp_lifecycle::State&) {
  if (state_interfaces_.size() != entries_.size() || command_interfaces_.size() != commands_.size()) {
    RCLCPP_ERROR(get_node()->get_logger(), "%s", "the robot does not have all interfaces that the policy needs");
    return CallbackReturn::ERROR;
  }
  controller_->start();
  return CallbackReturn::SUCCESS;
}

CallbackReturn PolicyController::on_deactivate(const rclcpp_lifecycle::State&) {
  // The interfaces keep what was written last. An effort or a velocity would move the joint further; a position holds.
  for (std::size_t j = 0; j < command_interfaces_.size(); ++j) {
    if (controller_->task().actuators[j].kind != "position") (void)command_interfaces_[j].set_value(0.0);
  }
  return CallbackReturn::SUCCESS;
}

void PolicyController::read_states() {
  for (std::size_t i = 0; i < entries_.size(); ++i) {
    const double value = state_interfaces_[i].get_value();  // clamp keeps NaN, so the layer sees it
    observation_[i] = static_cast<float>(std::clamp(value, -entries_[i].limit, entries_[i].limit));
  }
  for (std::size_t j = 0; j < measured_.size(); ++j) {
    const int entry = position_of_[j];
    measured_[j] = entry < 0 ? std::numeric_limits<double>::quiet_NaN()
                             : gear_[j] * observation_[static_cast<std::size_t>(entry)];
  }
}

controller_interface::return_type PolicyController::update(const rclcpp::Time& time, const rclcpp::Duration&) {
  read_states();
  const double now = time.seconds();
  // ros2_control gives no time of measurement, so the limit of the age cannot act here. frozen_ticks can.
  const Tick tick = controller_->step(now, observation_, now, measured_, command_);
  if (tick.has_command && tick.cause != Cause::emergency) {
    for (std::size_t j = 0; j < command_.size(); ++j) {
      const double command = command_[j];
      (void)command_interfaces_[j].set_value(is_motor_[j] ? command * gear_[j] : command / gear_[j]);
    }
  }
  return tick.done ? controller_interface::return_type::ERROR : controller_interface::return_type::OK;
}

}  // namespace acer

PLUGINLIB_EXPORT_CLASS(acer::PolicyController, controller_interface::ControllerInterface)
