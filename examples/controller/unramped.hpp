#pragma once

#include <algorithm>
#include <string>
#include <vector>

#include "acer_controller.hpp"
#include "safety.hpp"

// The policy as a simulator gets it without --ramp: its own commands from the first step to the last, as in training.
// There is no watchdog. A stop or an error ramps to rest, as behind the safety layer. It has the functions of Controller.
class Unramped {
 public:
  Unramped(const std::string& policy, acer::Engine engine)
      : policy_(policy, engine), safety_(policy_.limits(), policy_.task().observation.size()) {
    asked_.reserve(policy_.task().joints.size());
  }

  const acer::TaskDescription& task() const noexcept { return policy_.task(); }
  const std::vector<float>& wanted() const noexcept { return asked_; }

  void start() noexcept {
    policy_.reset();
    asked_.clear();
    in_ = {};
    is_first_ = true;
    is_stopping_ = false;
  }

  acer::Tick step(double now, const std::vector<float>& observation, double, const std::vector<double>&,
                  std::vector<float>& command) noexcept {
    acer::Tick tick;
    asked_.clear();
    in_.now = now;
    const bool must_stop = in_.stops > 0 || in_.error || in_.emergency;
    if ((must_stop && is_first_) || (in_.end && !is_stopping_)) {
      tick.mode = acer::Mode::stopped;
      tick.cause = in_.emergency  ? acer::Cause::emergency
                   : in_.stops > 0 ? acer::Cause::stop
                   : in_.error     ? acer::Cause::error
                                   : acer::Cause::end;
      tick.done = true;
      return tick;
    }
    if (must_stop && !is_stopping_) safety_.start_from(command, now);
    is_stopping_ = is_stopping_ || must_stop;
    is_first_ = false;
    if (is_stopping_) {
      tick = safety_.tick(in_);
      const auto to_float = [](double value) { return static_cast<float>(value); };
      std::transform(safety_.command().begin(), safety_.command().end(), command.begin(), to_float);
      return tick;
    }
    policy_.act(observation, command);
    asked_ = command;
    tick.mode = acer::Mode::running;
    tick.has_command = true;
    return tick;
  }

  void stop() noexcept { ++in_.stops; }
  void end() noexcept { in_.end = true; }
  void fail() noexcept { in_.error = true; }
  void emergency_stop() noexcept { in_.emergency = true; }

 private:
  acer::Policy policy_;
  acer::Safety safety_;
  acer::Inputs in_;
  std::vector<float> asked_;
  bool is_first_ = true, is_stopping_ = false;
};
