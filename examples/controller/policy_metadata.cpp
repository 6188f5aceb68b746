// policy.json is nested, so it is read with nlohmann's header-only JSON library, which Debian, vcpkg and ROS have.
#include "policy_metadata.hpp"

#include <algorithm>
#include <limits>
#include <nlohmann/json.hpp>
#include <sstream>

namespace acer {

namespace {

constexpr double smallest_std = 1e-6;
constexpr int oldest_schema = 1, newest_schema = 2;

// Returns one name for each entry. A field with several entries (such as "com_inertia") repeats its name.
std::vector<std::string> entries(const nlohmann::json& fields) {
  std::vector<std::string> names;
  for (const auto& field : fields) {
    names.resize(field.at("stop").get<std::size_t>(), field.at("name").get<std::string>());
  }
  return names;
}

template <typename Value>
void read(const nlohmann::json& object, const char* name, std::optional<Value>& value) {
  if (object.contains(name) && !object.at(name).is_null()) value = object.at(name).get<Value>();
}

std::vector<Actuator> read_actuators(const nlohmann::json& metadata) {
  std::vector<Actuator> actuators;
  if (!metadata.contains("robot") || metadata.at("robot").is_null()) return actuators;
  for (const auto& entry : metadata.at("robot").at("actuators")) {
    Actuator actuator;
    entry.at("joint").get_to(actuator.joint);
    read(entry, "kind", actuator.kind);
    read(entry, "gear", actuator.gear);
    read(entry, "gain", actuator.gain);
    read(entry, "bias", actuator.bias);
    read(entry, "force_limit", actuator.force_limit);
    if (entry.contains("force_limit") && !actuator.force_limit) {
      constexpr double infinity = std::numeric_limits<double>::infinity();
      actuator.force_limit = {-infinity, infinity};  // known, and there is none
    }
    read(entry, "unit", actuator.unit);
    actuators.push_back(actuator);
  }
  return actuators;
}

TaskDescription read_task(const nlohmann::json& metadata) {
  const auto& task = metadata.at("task");
  TaskDescription result;
  task.at("id").get_to(result.id);
  result.observation = entries(task.at("observation"));
  task.at("bounds").at("names").get_to(result.joints);
  task.at("bounds").at("low").get_to(result.low);
  task.at("bounds").at("high").get_to(result.high);
  result.actuators = read_actuators(metadata);
  if (const auto robot = metadata.find("robot"); robot != metadata.end() && robot->is_object()) {
    if (robot->contains("model_sha256") && !robot->at("model_sha256").is_null()) {
      robot->at("model_sha256").get_to(result.model_sha256);
    }
  }
  task.at("control_dt").get_to(result.control_dt);
  task.at("frame_skip").get_to(result.frame_skip);
  task.at("action_repeat").get_to(result.action_repeat);
  task.at("time_limit").get_to(result.time_limit);
  result.command_is_actuator = task.value("command_is_actuator", true);
  return result;
}

bool agrees(const TaskDescription& task) {
  const std::size_t joints = task.joints.size();
  return joints > 0 && task.low.size() == joints && task.high.size() == joints && task.control_dt > 0.0 &&
         task.frame_skip >= 1 && task.action_repeat >= 1 &&
         (task.actuators.empty() || task.actuators.size() == joints);
}

// Throws InputError for a rest or slew rate that cannot be used. Moves a rest that lies between an exact bound and the
// nearest float32 number within it.
void check_joints(const TaskDescription& task, Limits& limits) {
  for (std::size_t j = 0; j < task.joints.size(); ++j) {
    std::ostringstream says;
    if (!(task.low[j] <= limits.rest[j] && limits.rest[j] <= task.high[j])) {
      says << "rest of joint '" << task.joints[j] << "' is " << limits.rest[j] << ", outside its bounds [" << task.low[j]
           << ", " << task.high[j] << "]";
    } else if (!(limits.slew_rate[j] > 0.0)) {
      says << "the slew limit of joint '" << task.joints[j] << "' is " << limits.slew_rate[j]
           << "; expected a number above 0, or none at all";
    }
    if (!says.str().empty()) throw InputError(says.str() + "; export the run again");
    limits.rest[j] = std::min(std::max(limits.rest[j], limits.low[j]), limits.high[j]);
  }
}

Limits read_limits(const nlohmann::json& metadata, const TaskDescription& task) {
  Limits limits;
  limits.low = task.low;
  limits.high = task.high;
  round_inwards(limits.low, limits.high);
  const auto& rest = metadata.at("rest");
  const auto is_number = [](const nlohmann::json& value) { return value.is_number(); };
  if (!rest.is_array() || rest.size() != task.joints.size() || !std::all_of(rest.begin(), rest.end(), is_number)) {
    throw InputError("rest in policy.json is " + rest.dump() + "; expected one number for each of " +
                     std::to_string(task.joints.size()) + " joints; export the run again");
  }
  rest.get_to(limits.rest);
  limits.dt = task.control_dt;
  limits.age_limit = 5.0 * limits.dt;
  limits.slew_rate.assign(task.joints.size(), std::numeric_limits<double>::infinity());
  const auto rates = metadata.at("task").value("slew_rate", nlohmann::json::array());
  for (std::size_t j = 0; j < rates.size() && j < limits.slew_rate.size(); ++j) {
    if (!rates.at(j).is_null()) rates.at(j).get_to(limits.slew_rate[j]);
  }
  check_joints(task, limits);
  const auto& normalizer = metadata.at("normalizer");
  normalizer.at("limit").get_to(limits.far_limit);
  if (normalizer.at("enabled").get<bool>()) {
    // The policy may observe its last command too, after the observation.
    normalizer.at("mean").get_to(limits.mean);
    normalizer.at("std").get_to(limits.std);
    limits.mean.resize(task.observation.size());
    limits.std.resize(task.observation.size());
    for (double& value : limits.std) value = std::max(value, smallest_std);
  }
  return limits;
}

}  // namespace

Metadata read_metadata(const std::string& metadata, const std::string& path) {
  if (metadata.empty()) throw InputError(path + " holds no policy.json; it was not written by acer-export");
  try {
    const auto json = nlohmann::json::parse(metadata);
    const auto& version = json.at("schema_version");
    if (!version.is_number_integer() || version < oldest_schema || version > newest_schema) {
      throw InputError(path + " has metadata of schema " + version.dump() + "; this program reads " +
                       std::to_string(oldest_schema) + " and " + std::to_string(newest_schema));
    }
    Metadata result{read_task(json), {}};
    if (!agrees(result.task)) throw InputError(path + " has metadata that contradicts itself; export it again");
    result.limits = read_limits(json, result.task);
    return result;
  } catch (const nlohmann::json::exception& error) {
    throw InputError(path + " has metadata that cannot be read: " + error.what());
  }
}

}  // namespace acer
