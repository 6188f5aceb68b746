// policy.json is nested, so it is read with nlohmann's header-only JSON library, which Debian, vcpkg and ROS have.
#include "policy_metadata.hpp"

#include <nlohmann/json.hpp>

namespace acer {

namespace {

constexpr int schema_version = 1;

// Returns one name for each entry. A field with several entries (such as "com_inertia") repeats its name.
std::vector<std::string> entries(const nlohmann::json& fields) {
  std::vector<std::string> names;
  for (const auto& field : fields) {
    names.resize(field.at("stop").get<std::size_t>(), field.at("name").get<std::string>());
  }
  return names;
}

}  // namespace

TaskDescription read_task(const std::string& metadata, const std::string& path) {
  if (metadata.empty()) throw InputError(path + " holds no policy.json; it was not written by acer-export");
  try {
    const auto json = nlohmann::json::parse(metadata);
    if (json.at("schema_version") != schema_version) {
      throw InputError(path + " has metadata of schema " + json.at("schema_version").dump() +
                       "; this program reads " + std::to_string(schema_version));
    }
    const auto& task = json.at("task");
    TaskDescription result;
    task.at("id").get_to(result.id);
    result.observation = entries(task.at("observation"));
    task.at("bounds").at("names").get_to(result.joints);
    task.at("bounds").at("low").get_to(result.low);
    task.at("bounds").at("high").get_to(result.high);
    task.at("control_dt").get_to(result.control_dt);
    task.at("frame_skip").get_to(result.frame_skip);
    task.at("action_repeat").get_to(result.action_repeat);
    task.at("time_limit").get_to(result.time_limit);
    result.command_is_actuator = task.value("command_is_actuator", true);
    const std::size_t joints = result.joints.size();
    if (joints == 0 || result.low.size() != joints || result.high.size() != joints || result.control_dt <= 0.0 ||
        result.frame_skip < 1 || result.action_repeat < 1) {
      throw InputError(path + " has metadata that contradicts itself; export it again");
    }
    return result;
  } catch (const nlohmann::json::exception& error) {
    throw InputError(path + " has metadata that cannot be read: " + error.what());
  }
}

}  // namespace acer
