#pragma once

#include <memory>

namespace std_msgs::msg {
struct Empty {
  using SharedPtr = std::shared_ptr<Empty>;
};
}  // namespace std_msgs::msg
