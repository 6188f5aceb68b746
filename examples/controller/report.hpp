#pragma once

#include <string>
#include <vector>

#include "task_description.hpp"

// p50, p99 and max in one line, then a histogram, of what each decision took in microseconds.
void print_latency(std::vector<double> microseconds, bool histogram);

// One row per control period: the observation and the command that followed, in memory until `write`.
class Log {
 public:
  Log(std::string path, int episodes, int steps, const TaskDescription& task);

  void add(int episode, int step, const std::vector<float>& observation, const std::vector<float>& command);

  // Throws InputError if the file cannot be written.
  void write() const;

 private:
  std::string path_;
  std::string header_;
  std::size_t width_;
  std::vector<float> rows_;
  std::vector<int> indices_;
};
