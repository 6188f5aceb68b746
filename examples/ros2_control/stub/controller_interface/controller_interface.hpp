// What policy_controller.cpp uses of ROS 2, for machines without it. The names and signatures are those of ros2_control 4.
#pragma once

#include <cstdint>
#include <cstdio>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <type_traits>
#include <vector>

#define RCLCPP_ERROR(logger, ...) (static_cast<void>(logger), std::fprintf(stderr, __VA_ARGS__), std::fputc('\n', stderr))

namespace rclcpp {
struct Time {
  double value;
  double seconds() const { return value; }
};
struct Duration {};
struct Logger {};
struct SystemDefaultsQoS {};
struct Parameter {
  std::string text;
  std::int64_t number = 0;
  Parameter() = default;
  Parameter(const std::string& value) : text(value) {}
  Parameter(std::int64_t value) : number(value) {}
  const std::string& as_string() const { return text; }
  std::int64_t as_int() const { return number; }
};
template <typename Message>
struct Subscription {
  using SharedPtr = std::shared_ptr<Subscription>;
  std::function<void(typename Message::SharedPtr)> callback;
};
}  // namespace rclcpp

namespace rclcpp_lifecycle {
struct State {};
struct LifecycleNode {
  std::map<std::string, rclcpp::Parameter> parameters;
  std::function<void()> stop;  // calls what was subscribed last

  rclcpp::Parameter get_parameter(const std::string& name) const { return parameters.at(name); }
  rclcpp::Logger get_logger() const { return {}; }
  template <typename Message, typename Callback>
  typename rclcpp::Subscription<Message>::SharedPtr create_subscription(const std::string&, rclcpp::SystemDefaultsQoS,
                                                                        Callback callback) {
    stop = [callback] { callback(std::make_shared<Message>()); };
    return std::make_shared<rclcpp::Subscription<Message>>();
  }
};
}  // namespace rclcpp_lifecycle

namespace hardware_interface {
struct LoanedStateInterface {
  double* value;
  double get_value() const { return *value; }
};
struct LoanedCommandInterface {
  double* value;
  bool set_value(double given) { return *value = given, true; }
};
}  // namespace hardware_interface

namespace controller_interface {
enum class CallbackReturn { SUCCESS, FAILURE, ERROR };
enum class return_type { OK, ERROR };
enum class interface_configuration_type { ALL, INDIVIDUAL, NONE };
struct InterfaceConfiguration {
  interface_configuration_type type;
  std::vector<std::string> names;
};

class ControllerInterface {
 public:
  virtual ~ControllerInterface() = default;
  virtual CallbackReturn on_init() = 0;
  virtual CallbackReturn on_configure(const rclcpp_lifecycle::State&) = 0;
  virtual CallbackReturn on_activate(const rclcpp_lifecycle::State&) = 0;
  virtual CallbackReturn on_deactivate(const rclcpp_lifecycle::State&) = 0;
  virtual InterfaceConfiguration command_interface_configuration() const = 0;
  virtual InterfaceConfiguration state_interface_configuration() const = 0;
  virtual return_type update(const rclcpp::Time&, const rclcpp::Duration&) = 0;

  std::shared_ptr<rclcpp_lifecycle::LifecycleNode> get_node() const { return node_; }
  unsigned int get_update_rate() const { return update_rate; }
  template <typename Value>
  void auto_declare(const std::string& name, const Value& value) {
    node_->parameters.emplace(name, rclcpp::Parameter(value));
  }

  // For the test: ROS would set these.
  std::vector<hardware_interface::LoanedStateInterface> state_interfaces_;
  std::vector<hardware_interface::LoanedCommandInterface> command_interfaces_;
  unsigned int update_rate = 0;

 private:
  std::shared_ptr<rclcpp_lifecycle::LifecycleNode> node_ = std::make_shared<rclcpp_lifecycle::LifecycleNode>();
};
}  // namespace controller_interface
