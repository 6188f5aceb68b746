#pragma once

#include <chrono>
#include <string>
#include <vector>

#include "task_description.hpp"

// p50, p99 and max in one line, then a histogram, of what each decision took in microseconds.
void print_latency(std::vector<double> microseconds, bool histogram);

// One row per control period: the observation and the command that followed. The file gets the rows at least once a
// second and at exit, so a program that is killed leaves all but those of the last second.
class Log {
 public:
  // Writes the header. Throws InputError if `path` cannot be written. An empty path: no log.
  Log(std::string path, const TaskDescription& task);
  ~Log();
  Log(const Log&) = delete;
  Log& operator=(const Log&) = delete;

  // Formats a row; takes a few microseconds.
  void add(int episode, int step, const std::vector<float>& observation, const std::vector<float>& command);

  // Writes the rows that the file lacks. Throws std::runtime_error if the disk is full or the like.
  void flush();
  void flush_if_due();

 private:
  using Clock = std::chrono::steady_clock;

  bool write_buffer();

  std::string path_;
  int file_ = -1;
  std::string buffer_;  // whole rows that the file lacks
  Clock::duration flush_interval_{};
  Clock::time_point next_flush_;
};
