#pragma once

#include <memory>
#include <string>
#include <vector>

#include "acer_controller.hpp"
#include "network.hpp"

namespace acer {

// All that an exported module computes with. The names are those of ExportedPolicy (policies/exported/module.py).
struct ModuleContents {
  std::vector<float> mean, lowest, highest;
  std::vector<Layer> layers;
  bool has_mean_bound = false;
  float mean_bound = 1.0F;
  bool clips = false;
  std::vector<float> half_range, offset, fallback, low, high;
  bool observes_last_command = false;
  bool is_filtered = false;
  float smoothing = 1.0F;
  std::vector<float> rest, steps;
  std::vector<float> lowest_move, highest_move, fallback_move, middle_move, per_half_range;  // if is_filtered
};

// A policy.pt, read with libtorch. policy_file.cpp alone includes its headers, which take long to compile.
class PolicyFile {
 public:
  // Throws InputError if the file is missing, corrupt, not an exported policy, or has another sha256 than policy.json.
  explicit PolicyFile(const std::string& path);
  ~PolicyFile();
  PolicyFile(PolicyFile&&) noexcept;

  const std::string& path() const { return path_; }
  const std::string& metadata() const { return metadata_; }

  // Throws InputError unless the weights have the sha256 that the metadata records, and the module holds the same
  // metadata. It compares what load_exported of policies/exported/file.py compares.
  void check_unchanged() const;

  // Throws InputError if the module is not one that this program knows.
  ModuleContents contents() const;

  // The module's own functions. They may throw, and they allocate memory.
  void reset();
  void forward(const std::vector<float>& observation, std::vector<float>& command);

 private:
  struct Module;
  std::string path_;
  std::string metadata_;
  std::unique_ptr<Module> module_;
};

}  // namespace acer
