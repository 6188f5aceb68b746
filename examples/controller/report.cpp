#include "report.hpp"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <fstream>
#include <limits>

#include "input_error.hpp"

void print_latency(std::vector<double> microseconds, bool histogram) {
  std::sort(microseconds.begin(), microseconds.end());
  const std::size_t count = microseconds.size();
  const auto quantile = [&](double q) { return microseconds[static_cast<std::size_t>(q * (count - 1))]; };
  std::printf("latency of a decision: p50 %.2f us, p99 %.2f us, max %.2f us over %zu\n", quantile(0.5), quantile(0.99),
              microseconds.back(), count);
  if (!histogram) return;
  // Each bar is a quarter of a power of two wide: fine where most decisions are, and the last still fits in.
  const auto bucket = [](double value) { return static_cast<int>(std::floor(4.0 * std::log2(value))); };
  const auto edge = [](int index) { return std::exp2(index / 4.0); };
  for (std::size_t first = 0; first < count;) {
    const int index = bucket(microseconds[first]);
    std::size_t last = first;
    while (last < count && bucket(microseconds[last]) == index) ++last;
    const auto bar = static_cast<std::size_t>(std::ceil(50.0 * (last - first) / count));
    std::printf("%9.1f to %9.1f us %8zu %s\n", edge(index), edge(index + 1), last - first,
                std::string(bar, '#').c_str());
    first = last;
  }
}

Log::Log(std::string path, int episodes, int steps, const TaskDescription& task)
    : path_(std::move(path)), header_("episode,step"), width_(task.observation.size() + task.joints.size()) {
  if (path_.empty()) return;
  for (const auto& name : task.observation) header_ += "," + name;
  for (const auto& name : task.joints) header_ += ",command:" + name;
  const std::size_t rows = static_cast<std::size_t>(episodes) * steps;
  rows_.reserve(rows * width_);
  indices_.reserve(rows * 2);
}

void Log::add(int episode, int step, const std::vector<float>& observation, const std::vector<float>& command) {
  if (path_.empty()) return;
  rows_.insert(rows_.end(), observation.begin(), observation.end());
  rows_.insert(rows_.end(), command.begin(), command.end());
  indices_.push_back(episode);
  indices_.push_back(step);
}

void Log::write() const {
  if (path_.empty()) return;
  std::ofstream file(path_);
  file.precision(std::numeric_limits<float>::max_digits10);
  file << header_ << '\n';
  for (std::size_t row = 0; row < indices_.size() / 2; ++row) {
    file << indices_[2 * row] << ',' << indices_[2 * row + 1];
    for (std::size_t i = 0; i < width_; ++i) file << ',' << rows_[row * width_ + i];
    file << '\n';
  }
  if (!file.flush()) throw InputError("--log=" + path_ + " cannot be written");
}
