#pragma once

#include <mujoco/mujoco.h>

#include <array>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "acer_controller.hpp"

// The robot, here simulated by MuJoCo. On a real one, `observe` reads sensors and `apply` writes to motor drivers.
class Robot {
 public:
  // `clock` gives the time of the loop in seconds.
  // `velocity` is what a robot that follows a velocity is commanded: forward, to the left (m/s), turning left (rad/s).
  // Throws InputError if the model cannot be loaded, or if its joints, limits, time step or the observed entries do not
  // fit `task`. Also if a velocity is given and the task follows none, or if the model must be the very file of the
  // training (`same_model`) and is not.
  Robot(const std::string& model_path, const acer::TaskDescription& task,
        std::function<double()> clock, const std::optional<std::array<double, 3>>& velocity = std::nullopt,
        bool same_model = false);

  // What the model says about the robot.
  acer::RobotDescription describe() const;

  // Puts the robot into a state; qpos and qvel have the model's sizes. The actuators get the commands of the keyframe
  // "home", if the model has one.
  void reset(const std::vector<double>& qpos, const std::vector<double>& qvel);

  // Writes the observation that the policy was trained with, entry by entry. Returns when it was taken, in seconds of
  // the loop's clock (std::chrono::steady_clock); nothing if there is no new one since the last call. It must not
  // block. If it throws a std::exception, the robot ramps to rest.
  std::optional<double> observe(std::vector<float>& observation);

  // What the robot does now in the command's units: the position of a joint with a position actuator, else NaN.
  std::vector<double> measured() const;

  // Holds a command for one control period.
  void apply(const std::vector<float>& command);

  const mjModel& model() const { return *model_; }
  const mjData& data() const { return *data_; }

 private:
  struct Entry {
    const double* value;
    double limit;  // some tasks clip velocities to +-10
  };

  void find_entries(const acer::TaskDescription& task);
  std::map<std::string, const double*> named() const;
  void sense();  // computes the entries that are no numbers of the state

  std::string path_;
  std::function<double()> clock_;
  std::unique_ptr<mjModel, decltype(&mj_deleteModel)> model_;
  std::unique_ptr<mjData, decltype(&mj_deleteData)> data_;
  std::vector<Entry> entries_;
  int physics_steps_;
  std::array<double, 3> velocity_{};  // commanded
  std::array<double, 3> gravity_{};   // direction in the frame of the free body
};
