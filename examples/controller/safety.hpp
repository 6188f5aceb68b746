#pragma once

#include <optional>
#include <string>
#include <vector>

#include "acer_controller.hpp"

// The safety layer of docs/driving.md: a pure function of one tick. It has no clock, reads nothing and writes nothing.
namespace acer {

struct Limits {
  std::vector<double> low, high, rest, slew_rate;  // [m]; slew_rate: infinite where there is none
  double dt = 0.0;
  double ramp_rate = 0.5, ramp_in = 1.0, hold = 0.5, start_limit = 2.0, age_limit = 0.0, late_factor = 1.2;
  int late_ticks = 10, nan_ticks = 5, frozen_ticks = 0, far_ticks = 0;
  double far_limit = 0.0;
  std::vector<double> mean, std;  // [n]; empty: nothing is far
};

// Inputs of a tick. A null pointer means that there is none.
struct Inputs {
  double now = 0.0;
  const float* observation = nullptr;  // [n]
  std::optional<double> stamp;
  const float* policy = nullptr;       // [m]
  const double* measured = nullptr;    // [m]
  int stops = 0;
  bool end = false, error = false, emergency = false;
};

class Safety {
 public:
  // Throws InputError for limits that cannot be used. `width` is n.
  Safety(Limits limits, std::size_t width);

  // A new start.
  void start() noexcept;

  // A start in `running` with this last command, for a loop that has driven without the layer until now.
  void start_from(const std::vector<float>& last, double now) noexcept;

  // Whether the tick will count this observation as new: only then the policy is asked.
  bool is_new(const Inputs& in) const noexcept;

  Tick tick(const Inputs& in) noexcept;

  const std::vector<double>& command() const noexcept { return last_; }  // valid where a tick says has_command
  const Limits& limits() const noexcept { return limits_; }

 private:
  bool clock_is_bad(double now) const noexcept;
  bool observe(const Inputs& in) noexcept;
  Cause watch(const Inputs& in, bool clock_bad, std::optional<double> gap) const noexcept;
  bool is_outside(const double* measured) const noexcept;
  void enter_stopped(Cause cause, const Inputs& in, bool clock_bad) noexcept;
  Tick stop(Cause cause, const Inputs& in, bool clock_bad) noexcept;
  Tick ramp_step(const Inputs& in, bool clock_bad) noexcept;
  void follow(const Inputs& in) noexcept;
  Tick result(bool done = false) const noexcept;

  Limits limits_;
  std::vector<double> range_, slew_step_, ramp_step_;
  int ramp_in_ticks_ = 1;

  Mode mode_ = Mode::idle;
  Cause cause_ = Cause::none;
  int ramp_ticks_ = 0;
  bool has_last_ = false, has_seen_ = false;
  std::vector<double> last_;
  std::vector<float> seen_;
  std::optional<double> previous_, started_, newest_, stopped_at_;
  int late_ = 0, nan_ = 0, frozen_ = 0, far_ = 0;
  long far_total_ = 0;
  bool is_late_ = false;
};

// Rounds limits inwards to float32, so that a command within them is also within the exact limits.
void round_inwards(std::vector<double>& low, std::vector<double>& high);

}  // namespace acer
