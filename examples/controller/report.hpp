#pragma once

#include <chrono>
#include <string>
#include <vector>

#include "acer_controller.hpp"

// Prints p50, p99 and maximum of the time of a decision in one line, and then a histogram.
void print_latency(std::vector<double> microseconds, bool histogram);

// A CSV file with one row per control period: the observation and the command that followed. We write rows to the file
// at least once a second and at exit. If the program is killed, only the rows of the last second are lost.
class Log {
 public:
  // Writes the header. Throws InputError if `path` cannot be written. With an empty path there is no log.
  Log(std::string path, const acer::TaskDescription& task);
  ~Log();
  Log(const Log&) = delete;
  Log& operator=(const Log&) = delete;

  // Formats a row; takes a few microseconds.
  void add(int episode, int step, const std::vector<float>& observation, const std::vector<float>& command);

  // Writes the rows that are not in the file yet. Throws std::runtime_error if that fails, as on a full disk.
  void flush();
  void flush_if_due();

 private:
  using Clock = std::chrono::steady_clock;

  bool write_buffer();

  std::string path_;
  int file_ = -1;
  std::string buffer_;  // whole rows that are not in the file yet
  Clock::duration flush_interval_{};
  Clock::time_point next_flush_;
};
