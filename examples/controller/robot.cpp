#include "robot.hpp"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <limits>
#include <map>
#include <sstream>

#include "input_error.hpp"

namespace {

constexpr double clipped_velocity = 10.0;  // Gymnasium's limit in the observations of Hopper-v5 and Walker2d-v5

using Model = std::unique_ptr<mjModel, decltype(&mj_deleteModel)>;

template <typename... Parts>
std::string text(const Parts&... parts) {
  std::ostringstream out;
  (out << ... << parts);
  return out.str();
}

std::string joined(const std::vector<std::string>& names) {
  std::string result;
  for (const auto& name : names) result += (result.empty() ? "" : ", ") + name;
  return result;
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

}  // namespace

Robot::Robot(const std::string& model_path, const TaskDescription& task)
    : path_(model_path),
      model_(load(model_path)),
      data_(mj_makeData(model_.get()), &mj_deleteData),
      physics_steps_(task.frame_skip * task.action_repeat) {
  check_actuators(task);
  check_time_step(task);
  find_entries(task);
}

void Robot::check_actuators(const TaskDescription& task) const {
  if (!task.command_is_actuator) {
    throw InputError("the policy's commands are the environment's, not an actuator's: this program cannot drive " +
                     path_ + " with them");
  }
  const auto names = actuator_names(*model_);
  if (names != task.joints) {
    throw InputError(text("the policy commands the joints ", joined(task.joints), ", but the actuators of ", path_,
                          " are ", joined(names)));
  }
  for (int i = 0; i < model_->nu; ++i) {
    const double* range = model_->actuator_ctrlrange + 2 * i;
    const bool covered = range[0] <= task.low[i] && task.high[i] <= range[1];
    if (model_->actuator_ctrllimited[i] && !covered) {
      throw InputError(text("the policy commands ", names[i], " within [", task.low[i], ", ", task.high[i], "], but ",
                            path_, " limits it to [", range[0], ", ", range[1], "]"));
    }
  }
}

void Robot::check_time_step(const TaskDescription& task) const {
  const double period = model_->opt.timestep * physics_steps_;
  if (std::abs(period - task.control_dt) > 1e-9) {
    throw InputError(text("the policy decides every ", task.control_dt, " s, but ", physics_steps_, " steps of ", path_,
                          " take ", period, " s (timestep ", model_->opt.timestep, ")"));
  }
}

void Robot::find_entries(const TaskDescription& task) {
  const auto state = state_by_name(*model_, *data_);
  const std::string clipped = "clipped_";
  for (const auto& name : task.observation) {
    const bool is_clipped = name.compare(0, clipped.size(), clipped) == 0;
    const auto found = state.find(is_clipped ? name.substr(clipped.size()) : name);
    if (found == state.end()) {
      throw InputError("the policy observes '" + name + "', which is no position or velocity of a joint of " + path_);
    }
    entries_.push_back({found->second, is_clipped ? clipped_velocity : std::numeric_limits<double>::infinity()});
  }
}

void Robot::reset(const std::vector<double>& qpos, const std::vector<double>& qvel) {
  mj_resetData(model_.get(), data_.get());
  std::copy(qpos.begin(), qpos.end(), data_->qpos);
  std::copy(qvel.begin(), qvel.end(), data_->qvel);
  mj_forward(model_.get(), data_.get());
}

void Robot::observe(std::vector<float>& observation) const {
  for (std::size_t i = 0; i < entries_.size(); ++i) {
    const double value = *entries_[i].value;  // clamp keeps NaN, so the policy gets it
    observation[i] = static_cast<float>(std::clamp(value, -entries_[i].limit, entries_[i].limit));
  }
}

void Robot::apply(const std::vector<float>& command) {
  std::copy(command.begin(), command.end(), data_->ctrl);
  for (int step = 0; step < physics_steps_; ++step) mj_step(model_.get(), data_.get());
}
