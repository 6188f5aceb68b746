#include "start_state.hpp"

#include <algorithm>
#include <fstream>

#include "acer_controller.hpp"
#include "half_cheetah.hpp"

namespace {

void read_state(const std::string& path, StartState& state) {
  std::ifstream file(path);
  if (!file) throw acer::InputError("--initial-state=" + path + " cannot be read");
  bool complete = true;
  for (auto* part : {&state.qpos, &state.qvel}) {
    for (double& value : *part) complete = complete && (file >> value);
  }
  double surplus;
  if (!complete || file >> surplus || !file.eof()) {
    throw acer::InputError("--initial-state=" + path + " must hold " + std::to_string(state.qpos.size()) +
                           " positions (qpos) and then " + std::to_string(state.qvel.size()) + " velocities (qvel)");
  }
}

}  // namespace

StartStates::StartStates(const Options& options, const mjModel& model)
    : model_(model),
      is_drawn_(options.initial_state.empty()),
      random_(options.seed),
      state_{std::vector<double>(model.nq), std::vector<double>(model.nv)} {
  if (!is_drawn_) read_state(options.initial_state, state_);
}

const StartState& StartStates::next() {
  const int home = mj_name2id(&model_, mjOBJ_KEY, "home");
  if (is_drawn_ && home >= 0) {
    std::copy_n(model_.key_qpos + home * model_.nq, model_.nq, state_.qpos.begin());
  } else if (is_drawn_) {
    draw_start(model_, random_, state_.qpos, state_.qvel);
  }
  return state_;
}
