#include "robot.hpp"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <limits>
#include <map>
#include <sstream>

#include "sha256.hpp"

using acer::InputError;

namespace {

const std::string clipped = "clipped_", velocity = "velocity:";
constexpr double clipped_velocity = 10.0;  // Gymnasium's limit in the observations of Hopper-v5 and Walker2d-v5

using Model = std::unique_ptr<mjModel, decltype(&mj_deleteModel)>;

template <typename... Parts>
std::string text(const Parts&... parts) {
  std::ostringstream out;
  (out << ... << parts);
  return out.str();
}

// Without these functions MuJoCo writes a MUJOCO_LOG.TXT in the current folder.
void print_messages() {
  mju_user_warning = [](const char* message) { std::fprintf(stderr, "controller: MuJoCo warns: %s\n", message); };
  mju_user_error = [](const char* message) {
    std::fprintf(stderr, "controller: MuJoCo: %s\n", message);
    std::exit(1);
  };
}

Model load(const std::string& path) {
  print_messages();
  if (!std::filesystem::is_regular_file(path)) {
    throw InputError(path + " does not exist; give a MuJoCo model (.xml or .mjb)");
  }
  char error[1000] = "";
  const bool binary = std::filesystem::path(path).extension() == ".mjb";
  Model model(binary ? mj_loadModel(path.c_str(), nullptr) : mj_loadXML(path.c_str(), nullptr, error, sizeof error),
              &mj_deleteModel);
  if (!model) {
    std::string reason = error;
    std::replace(reason.begin(), reason.end(), '\n', ' ');
    throw InputError(path + " cannot be read as a MuJoCo model: " + reason);
  }
  return model;
}

std::string name_or(const mjModel& model, mjtObj kind, int id, const char* prefix) {
  const char* name = mj_id2name(&model, kind, id);
  return name != nullptr && *name != '\0' ? name : prefix + std::to_string(id);
}

// An actuator has the name of its joint if no other actuator drives that joint, else its own name, as in training.
std::vector<std::string> actuator_names(const mjModel& model) {
  std::vector<std::string> own, joints, names;
  for (int i = 0; i < model.nu; ++i) {
    own.push_back(name_or(model, mjOBJ_ACTUATOR, i, "actuator_"));
    const int kind = model.actuator_trntype[i];
    const bool on_joint = kind == mjTRN_JOINT || kind == mjTRN_JOINTINPARENT;
    const char* joint = on_joint ? mj_id2name(&model, mjOBJ_JOINT, model.actuator_trnid[2 * i]) : nullptr;
    joints.emplace_back(joint != nullptr ? joint : "");
  }
  for (int i = 0; i < model.nu; ++i) {
    const bool alone = !joints[i].empty() && std::count(joints.begin(), joints.end(), joints[i]) == 1;
    names.push_back(alone ? joints[i] : own[i]);
  }
  auto sorted = names;
  std::sort(sorted.begin(), sorted.end());
  const bool unique = std::adjacent_find(sorted.begin(), sorted.end()) == sorted.end();
  return unique ? names : own;
}

// Maps the name of each number of the state, as in a policy's metadata, to its address.
std::map<std::string, const double*> state_by_name(const mjModel& model, const mjData& data) {
  std::map<std::string, const double*> state;
  for (int i = 0; i < model.njnt; ++i) {
    const std::string joint = name_or(model, mjOBJ_JOINT, i, "joint_");
    const double* position = data.qpos + model.jnt_qposadr[i];
    const double* velocity = data.qvel + model.jnt_dofadr[i];
    const int kind = model.jnt_type[i];
    if (kind == mjJNT_FREE) {
      for (const char axis : {'x', 'y', 'z'}) {
        state[text("position:", joint, '.', axis)] = position++;
        state[text("velocity:", joint, '.', axis)] = velocity++;
      }
    }
    if (kind == mjJNT_FREE || kind == mjJNT_BALL) {
      for (const char part : {'w', 'x', 'y', 'z'}) state[text("orientation:", joint, '.', part)] = position++;
      for (const char axis : {'x', 'y', 'z'}) state[text("angular_velocity:", joint, '.', axis)] = velocity++;
    } else {
      state["position:" + joint] = position;
      state["velocity:" + joint] = velocity;
    }
  }
  return state;
}

// The first free joint; -1: there is none.
int free_joint(const mjModel& model) {
  for (int i = 0; i < model.njnt; ++i) {
    if (model.jnt_type[i] == mjJNT_FREE) return i;
  }
  return -1;
}

// The kind of an actuator: docs/driving.md, What the file is made for.
std::string kind_of(const mjModel& model, int i) {
  const mjtNum* gain = model.actuator_gainprm + mjNGAIN * i;
  const mjtNum* bias = model.actuator_biasprm + mjNBIAS * i;
  if (model.actuator_gaintype[i] != mjGAIN_FIXED || model.actuator_dyntype[i] != mjDYN_NONE) return "general";
  if (model.actuator_biastype[i] == mjBIAS_NONE) return "motor";
  if (model.actuator_biastype[i] != mjBIAS_AFFINE || bias[0] != 0.0) return "general";
  if (gain[0] > 0.0 && bias[1] == -gain[0]) return "position";
  return bias[1] == 0.0 && bias[2] == -gain[0] ? "velocity" : "general";
}

// The hinge or slide joint that actuator i drives; -1: it drives something else.
int driven_joint(const mjModel& model, int i) {
  const int transmission = model.actuator_trntype[i];
  if (transmission != mjTRN_JOINT && transmission != mjTRN_JOINTINPARENT) return -1;
  const int joint = model.actuator_trnid[2 * i];
  const int type = model.jnt_type[joint];
  return type == mjJNT_HINGE || type == mjJNT_SLIDE ? joint : -1;
}

std::string unit_of(const mjModel& model, int i, const std::string& kind) {
  const int joint = driven_joint(model, i);
  if (joint < 0) return "";
  const bool hinge = model.jnt_type[joint] == mjJNT_HINGE;
  if (kind == "motor") return hinge ? "N m" : "N";
  if (kind == "position") return hinge ? "rad" : "m";
  if (kind == "velocity") return hinge ? "rad/s" : "m/s";
  return "";
}

acer::Actuator actuator_of(const mjModel& model, int i, const std::string& joint) {
  const mjtNum* gain = model.actuator_gainprm + mjNGAIN * i;
  const mjtNum* bias = model.actuator_biasprm + mjNBIAS * i;
  constexpr double infinity = std::numeric_limits<double>::infinity();
  acer::Actuator actuator;
  actuator.joint = joint;
  actuator.kind = kind_of(model, i);
  actuator.gain = {gain[0], gain[1], gain[2]};
  actuator.bias = {bias[0], bias[1], bias[2]};
  const double gear = model.actuator_gear[6 * i];
  actuator.gear = gear;
  double lowest = -infinity, highest = infinity;
  if (model.actuator_forcelimited[i]) {
    lowest = model.actuator_forcerange[2 * i];
    highest = model.actuator_forcerange[2 * i + 1];
  }
  const int driven = driven_joint(model, i);
  if (driven >= 0 && model.jnt_actfrclimited[driven] && gear != 0.0) {
    const double first = model.jnt_actfrcrange[2 * driven] / gear;
    const double second = model.jnt_actfrcrange[2 * driven + 1] / gear;
    lowest = std::max(lowest, std::min(first, second));
    highest = std::min(highest, std::max(first, second));
  }
  actuator.force_limit = {lowest, highest};
  actuator.unit = unit_of(model, i, *actuator.kind);
  return actuator;
}

}  // namespace

Robot::Robot(const std::string& model_path, const acer::TaskDescription& task, std::function<double()> clock,
             const std::optional<std::array<double, 3>>& velocity, bool same_model)
    : path_(model_path),
      clock_(std::move(clock)),
      model_(load(model_path)),
      data_(mj_makeData(model_.get()), &mj_deleteData),
      physics_steps_(task.frame_skip * task.action_repeat),
      velocity_(velocity.value_or(std::array<double, 3>{})) {
  const auto& entries = task.observation;
  if (velocity && std::find(entries.begin(), entries.end(), "command:vx") == entries.end()) {
    throw InputError("--velocity was given, but the task " + task.id + " follows no velocity");
  }
  acer::RobotDescription description = describe();
  if (same_model) description.model_sha256 = sha256(bytes_of(model_path));
  acer::check(task, description);
  find_entries(task);
}

acer::RobotDescription Robot::describe() const {
  acer::RobotDescription robot;
  robot.name = path_;
  robot.joints = actuator_names(*model_);
  for (int i = 0; i < model_->nu; ++i) {
    constexpr double infinity = std::numeric_limits<double>::infinity();
    const double* range = model_->actuator_ctrlrange + 2 * i;
    const bool is_limited = model_->actuator_ctrllimited[i] != 0;
    robot.low.push_back(is_limited ? range[0] : -infinity);
    robot.high.push_back(is_limited ? range[1] : infinity);
    robot.actuators.push_back(actuator_of(*model_, i, robot.joints[i]));
  }
  robot.control_dt = model_->opt.timestep * physics_steps_;
  for (const auto& [name, value] : named()) {
    robot.observation.push_back(name);
    if (name.compare(0, velocity.size(), velocity) == 0) robot.observation.push_back(clipped + name);
  }
  return robot;
}

// What the task of a robot observes beside the state (docs/robots.md): the gyroscope and the direction of gravity of the
// free body, the last command and the velocity to follow.
std::map<std::string, const double*> Robot::named() const {
  auto names = state_by_name(*model_, *data_);
  const auto joints = actuator_names(*model_);
  for (int i = 0; i < model_->nu; ++i) names["last_command:" + joints[i]] = data_->ctrl + i;
  const char* const commands[] = {"command:vx", "command:vy", "command:yaw_rate"};
  for (int i = 0; i < 3; ++i) names[commands[i]] = &velocity_[i];
  if (const int base = free_joint(*model_); base >= 0) {
    const char* name = mj_id2name(model_.get(), mjOBJ_BODY, model_->jnt_bodyid[base]);
    const std::string body = name != nullptr && *name != '\0' ? name : "base";
    const char axes[] = {'x', 'y', 'z'};
    for (int i = 0; i < 3; ++i) {
      names[text("angular_velocity:", body, '.', axes[i])] = data_->qvel + model_->jnt_dofadr[base] + 3 + i;
      names[text("gravity:", body, '.', axes[i])] = &gravity_[i];
    }
  }
  return names;
}

void Robot::sense() {
  const int base = free_joint(*model_);
  if (base < 0) return;
  const double down[] = {0.0, 0.0, -1.0};
  double back[4];
  mju_negQuat(back, data_->qpos + model_->jnt_qposadr[base] + 3);
  mju_rotVecQuat(gravity_.data(), down, back);
}

void Robot::find_entries(const acer::TaskDescription& task) {
  const auto state = named();
  for (const auto& name : task.observation) {
    const bool is_clipped = name.compare(0, clipped.size(), clipped) == 0;
    const double limit = is_clipped ? clipped_velocity : std::numeric_limits<double>::infinity();
    entries_.push_back({state.at(is_clipped ? name.substr(clipped.size()) : name), limit});
  }
}

void Robot::reset(const std::vector<double>& qpos, const std::vector<double>& qvel) {
  mj_resetData(model_.get(), data_.get());
  std::copy(qpos.begin(), qpos.end(), data_->qpos);
  std::copy(qvel.begin(), qvel.end(), data_->qvel);
  if (const int home = mj_name2id(model_.get(), mjOBJ_KEY, "home"); home >= 0) {
    std::copy_n(model_->key_ctrl + home * model_->nu, model_->nu, data_->ctrl);
    std::copy_n(model_->key_act + home * model_->na, model_->na, data_->act);
    for (int i = 0; i < model_->nu; ++i) {
      const int samples = model_->actuator_history[2 * i];
      const std::vector<mjtNum> commands(static_cast<std::size_t>(samples), data_->ctrl[i]);
      if (samples > 0) mj_initCtrlHistory(model_.get(), data_.get(), i, nullptr, commands.data());
    }
  }
  mj_forward(model_.get(), data_.get());
  sense();
}

std::vector<double> Robot::measured() const {
  std::vector<double> result;
  for (int i = 0; i < model_->nu; ++i) {
    const bool is_position = kind_of(*model_, i) == "position";
    result.push_back(is_position ? data_->actuator_length[i] : std::numeric_limits<double>::quiet_NaN());
  }
  return result;
}

std::optional<double> Robot::observe(std::vector<float>& observation) {
  for (std::size_t i = 0; i < entries_.size(); ++i) {
    const double value = *entries_[i].value;  // clamp keeps NaN, so the policy gets it
    observation[i] = static_cast<float>(std::clamp(value, -entries_[i].limit, entries_[i].limit));
  }
  return clock_();
}

void Robot::apply(const std::vector<float>& command) {
  std::copy(command.begin(), command.end(), data_->ctrl);
  for (int step = 0; step < physics_steps_; ++step) mj_step(model_.get(), data_.get());
  sense();
}
