// The exported policy: what ExportedPolicy (policies/exported/module.py) computes, for one observation at a time.

#include <algorithm>
#include <cmath>
#include <random>

#include "acer_controller.hpp"
#include "policy_file.hpp"
#include "policy_metadata.hpp"

namespace acer {

namespace {

constexpr int compared_observations = 200;
constexpr float tolerance = 1e-4F;  // of half a joint's range; sums of other orders differ by some 1e-6 of it

float limited(float value, float low, float high) noexcept {
  // The order of torch's clamp: the upper limit wins. NaN stays NaN.
  return value < low ? std::min(low, high) : (value > high ? high : value);
}

bool all_finite(const std::vector<float>& values) noexcept {
  // 0 * x is NaN for an infinity or NaN. The sum needs no branch for each value.
  float zero = 0.0F;
  for (const float value : values) zero += 0.0F * value;
  return zero == 0.0F;
}

std::string last_line(std::string text) {
  while (!text.empty() && text.back() == '\n') text.pop_back();
  return text.substr(text.find_last_of('\n') + 1);  // npos + 1 is 0
}

// The module with its weights packed once.
class PackedModule {
 public:
  PackedModule(ModuleContents contents, std::size_t observation, std::size_t joints)
      : contents_(std::move(contents)), network_(contents_.layers), observation_(observation) {
    const std::size_t inputs = observation + (contents_.observes_last_command ? joints : 0);
    bool fits = network_.inputs() == inputs && network_.outputs() == joints &&
                (contents_.is_filtered || !contents_.observes_last_command);
    for (const auto* part : {&contents_.mean, &contents_.lowest, &contents_.highest}) {
      fits = fits && part->size() == inputs;
    }
    for (const auto* part : {&contents_.half_range, &contents_.offset, &contents_.fallback, &contents_.low,
                             &contents_.high, &contents_.rest}) {
      fits = fits && part->size() == joints;
    }
    for (const auto* part : {&contents_.steps, &contents_.lowest_move, &contents_.highest_move,
                             &contents_.fallback_move, &contents_.middle_move, &contents_.per_half_range}) {
      fits = fits && part->size() == (contents_.is_filtered ? joints : 0);
    }
    if (!fits) throw InputError("its network does not have the widths that its metadata records");
    last_move_.assign(joints, 0.0F);
  }

  const ModuleContents& contents() const noexcept { return contents_; }

  void reset() noexcept { std::fill(last_move_.begin(), last_move_.end(), 0.0F); }

  // Returns whether the observation was usable.
  bool act(const std::vector<float>& observation, std::vector<float>& command) noexcept {
    const bool usable = all_finite(observation);
    const float* action = nullptr;
    if (usable) {
      observe(observation);
      action = network_.run();
    }
    for (std::size_t i = 0; i < command.size(); ++i) {
      float offset = usable ? contents_.offset[i] + squashed(action[i]) * contents_.half_range[i] : 0.0F;
      if (std::isnan(offset)) offset = 0.0F;
      const float wanted = contents_.is_filtered ? contents_.rest[i] + move(i, offset) : contents_.fallback[i] + offset;
      command[i] = limited(wanted, contents_.low[i], contents_.high[i]);
    }
    return usable;
  }

 private:
  // Writes the network's input: distances from the mean, and the last command as a canonical action.
  void observe(const std::vector<float>& observation) noexcept {
    float* input = network_.input();
    const auto centred = [this](float value, std::size_t i) {
      return limited(value - contents_.mean[i], contents_.lowest[i], contents_.highest[i]);
    };
    for (std::size_t i = 0; i < observation_; ++i) input[i] = centred(observation[i], i);
    if (!contents_.observes_last_command) return;
    for (std::size_t i = 0; i < last_move_.size(); ++i) {
      const float canonical = (last_move_[i] - contents_.middle_move[i]) * contents_.per_half_range[i];
      input[observation_ + i] = centred(limited(canonical, -1.0F, 1.0F), observation_ + i);
    }
  }

  float squashed(float action) const noexcept {
    if (contents_.has_mean_bound) action = std::tanh(action) * contents_.mean_bound;
    return contents_.clips ? limited(action, -1.0F, 1.0F) : std::tanh(action);
  }

  // The low-pass and the slew-rate limit of one joint. A move is a command minus the command at rest.
  float move(std::size_t i, float offset) noexcept {
    const float last = last_move_[i], low = contents_.lowest_move[i], high = contents_.highest_move[i];
    float next = limited(offset + contents_.fallback_move[i], low, high);
    if (contents_.smoothing < 1.0F) next = last + contents_.smoothing * (next - last);
    next = limited(next, last - contents_.steps[i], last + contents_.steps[i]);
    return last_move_[i] = limited(next, low, high);
  }

  ModuleContents contents_;
  Network network_;
  std::size_t observation_;
  std::vector<float> last_move_;
};

// Observations around what training saw, some beyond its limits, some unusable.
void draw(std::mt19937& random, const ModuleContents& contents, int index, std::vector<float>& observation) {
  std::uniform_real_distribution<float> uniform(-1.2F, 1.2F);
  std::normal_distribution<float> normal;
  const float width = index % 4 == 0 ? 1.0F : 0.2F;
  for (std::size_t i = 0; i < observation.size(); ++i) {
    // Without a normaliser the limits are so wide that only rounding would be compared.
    const bool normalised = contents.highest[i] < 1e8F;
    observation[i] = normalised ? contents.mean[i] + width * contents.highest[i] * uniform(random) : 3.0F * normal(random);
  }
  if (index % 20 == 19) observation[index % observation.size()] = index % 40 == 19 ? NAN : INFINITY;
}

// Throws InputError if the packed module and libtorch differ by more than rounding, in a sequence of observations.
void compare(PackedModule& packed, PolicyFile& file, std::size_t width, std::size_t joints) {
  std::mt19937 random(0);
  std::vector<float> observation(width), ours(joints), theirs(joints);
  for (int index = 0; index < compared_observations; ++index) {
    draw(random, packed.contents(), index, observation);
    packed.act(observation, ours);
    file.forward(observation, theirs);
    for (std::size_t i = 0; i < joints; ++i) {
      const float distance = std::abs(ours[i] - theirs[i]);
      const float allowed = tolerance * packed.contents().half_range[i] + 1e-6F * std::abs(theirs[i]);
      if (!(distance <= allowed)) {
        throw InputError(file.path() + " does not act as its packed network: " + std::to_string(theirs[i]) + ", not " +
                         std::to_string(ours[i]) + ", for joint " + std::to_string(i) +
                         "; run it with libtorch (--libtorch)");
      }
    }
  }
  packed.reset();
  file.reset();
}

}  // namespace

struct Policy::State {
  PolicyFile file;
  Metadata metadata;
  std::unique_ptr<PackedModule> packed;  // null with Engine::libtorch
};

Policy::Policy(const std::string& path, Engine engine) {
  PolicyFile file(path);
  Metadata metadata = read_metadata(file.metadata(), path);
  file.check_unchanged();
  const std::size_t width = metadata.task.observation.size(), joints = metadata.task.joints.size();
  // The first calls compile. They also check that the widths of the network are those of its metadata.
  std::vector<float> zeros(width, 0.0F), command(joints);
  try {
    for (int call = 0; call < 20; ++call) file.forward(zeros, command);
    file.reset();
  } catch (const std::exception& error) {
    // An error inside the network is reported in many lines; the last one says what went wrong.
    throw InputError(path + " does not act as its metadata says: " + last_line(error.what()));
  }
  state_.reset(new State{std::move(file), std::move(metadata), nullptr});
  if (engine == Engine::packed) {
    state_->packed = std::make_unique<PackedModule>(state_->file.contents(), width, joints);
    compare(*state_->packed, state_->file, width, joints);
  }
}

Policy::~Policy() = default;
Policy::Policy(Policy&&) noexcept = default;

const TaskDescription& Policy::task() const noexcept { return state_->metadata.task; }

const Limits& Policy::limits() const noexcept { return state_->metadata.limits; }

void Policy::reset() noexcept {
  if (state_->packed) {
    state_->packed->reset();
  } else {
    state_->file.reset();
  }
}

Policy::Result Policy::act(const std::vector<float>& observation, std::vector<float>& command) noexcept {
  const TaskDescription& task = state_->metadata.task;
  if (observation.size() != task.observation.size() || command.size() != task.joints.size()) return Result::wrong_width;
  if (state_->packed) return state_->packed->act(observation, command) ? Result::usable : Result::unusable;
  state_->file.forward(observation, command);  // the constructor has tried it; without memory the program ends
  return all_finite(observation) ? Result::usable : Result::unusable;
}

}  // namespace acer
