#pragma once

#include <string>
#include <vector>

#include "acer_controller.hpp"

// The log of docs/driving.md: it survives a killed process and a full disk, and its first line says why the drive ended.
class DriveLog {
 public:
  // Whether something is there that is no file, as a pipe or /dev/null.
  static bool is_special(const std::string& path);

  // Throws InputError if a file is at `path`: it may be the log of another drive.
  static void check_new(const std::string& path);

  // Throws InputError if `path` cannot be written, or a file is there. With an empty path there is no log.
  DriveLog(const std::string& path, const acer::TaskDescription& task);
  ~DriveLog();
  DriveLog(const DriveLog&) = delete;
  DriveLog& operator=(const DriveLog&) = delete;

  // Adds a row, and writes rows that are due: after half a second, and at each change of state. An empty vector: none.
  // Returns whether the log can still be written.
  bool add(double time, int step, const acer::Tick& tick, const std::vector<float>& observation,
           const std::vector<float>& wanted, const std::vector<float>& command);

  // Says in the first line why the drive ended, and closes the file.
  void finish(const std::string& reason);

  int file() const { return file_; }

 private:
  bool flush();

  std::size_t width_, joints_;
  int file_ = -1;
  bool is_cut_ = false;  // the last row in the file may not be whole
  double due_ = 0.0;
  acer::Mode mode_ = acer::Mode::idle;
  std::string rows_;
};
