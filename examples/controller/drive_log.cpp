#include "drive_log.hpp"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "log_file.hpp"

namespace {

constexpr std::size_t first_line_width = 120;
constexpr double flush_every = 0.5;  // a row waits for this time and for the next row: below 1 s in total

// For std::exit: MuJoCo's errors call it, and it runs no destructors of local objects.
std::vector<DriveLog*> open_logs;

void finish_at_exit() {
  while (!open_logs.empty()) open_logs.back()->finish("error: the program ended with an error");
}

// ASCII of one length, so that it can be overwritten in place.
std::string first_line(const std::string& reason) {
  std::string line = "# stopped by: " + reason;
  for (char& letter : line) {
    if (letter == '\n') letter = ' ';
    if (static_cast<unsigned char>(letter) > 126) letter = '?';
  }
  line.resize(first_line_width, ' ');
  return line + '\n';
}

std::string cell(const std::string& name) { return name.find(',') == std::string::npos ? name : '"' + name + '"'; }

// Creates a file, or opens what is there and no file. A log of another drive is not overwritten.
int open_new(const std::string& path) {
  const int create = O_WRONLY | O_CREAT | O_CLOEXEC;
  return open(path.c_str(), DriveLog::is_special(path) ? create : create | O_EXCL, 0666);
}

void append_seconds(std::string& text, double value) {
  char digits[400];
  text.append(digits, static_cast<std::size_t>(std::snprintf(digits, sizeof digits, "%.6f", value)));
}

void append_all(std::string& text, const std::vector<float>& values, std::size_t width) {
  for (std::size_t i = 0; i < width; ++i) {
    text += ',';
    if (!values.empty()) append(text, values[i]);
  }
}

}  // namespace

bool DriveLog::is_special(const std::string& path) {
  struct stat found;
  return stat(path.c_str(), &found) == 0 && !S_ISREG(found.st_mode);
}

void DriveLog::check_new(const std::string& path) {
  struct stat found;
  if (!path.empty() && lstat(path.c_str(), &found) == 0 && !is_special(path)) {
    throw acer::InputError("--log=" + path + " exists; give another file, or remove it");
  }
}

DriveLog::DriveLog(const std::string& path, const acer::TaskDescription& task)
    : width_(task.observation.size()), joints_(task.joints.size()) {
  if (path.empty()) return;
  rows_ = first_line("(still running)") + "time,step,state,cause,late,age";
  for (const auto& name : task.observation) rows_ += "," + cell(name);
  for (const char* kind : {"policy:", "command:"}) {
    for (const auto& joint : task.joints) rows_ += "," + cell(kind + joint);
  }
  rows_ += '\n';
  file_ = open_new(path);
  if (file_ < 0 && errno == EEXIST) check_new(path);
  if (file_ < 0 || !flush()) {
    const std::string reason = std::strerror(errno);
    if (file_ >= 0) {
      close(file_);
      if (!is_special(path)) unlink(path.c_str());  // it is ours, and the next attempt needs the name
    }
    throw acer::InputError("--log=" + path + " cannot be written: " + reason);
  }
  rows_.reserve(1 << 20);
  open_logs.push_back(this);
  static const int registered = std::atexit(finish_at_exit);
  (void)registered;
}

DriveLog::~DriveLog() { finish("error: the program ended with an error"); }

bool DriveLog::add(double time, int step, const acer::Tick& tick, const std::vector<float>& observation,
                   const std::vector<float>& wanted, const std::vector<float>& command) {
  if (file_ < 0) return true;
  append_seconds(rows_, time);
  rows_ += ',';
  append(rows_, step);
  rows_ += ',';
  rows_ += acer::word(tick.mode);
  rows_ += ',';
  rows_ += acer::word(tick.cause);
  rows_ += tick.late ? ",1," : ",0,";
  if (!std::isnan(tick.age)) append_seconds(rows_, tick.age);
  append_all(rows_, observation, width_);
  append_all(rows_, wanted, joints_);
  append_all(rows_, command, joints_);
  rows_ += '\n';
  const bool at_once = tick.mode != mode_;
  mode_ = tick.mode;
  if (!at_once && time < due_) return true;
  due_ = time + flush_every;
  return flush();
}

bool DriveLog::flush() {
  const bool was_cut = is_cut_;
  is_cut_ = true;
  is_cut_ = !write_all(file_, was_cut ? "\n" + rows_ : rows_);
  rows_.clear();  // also after an error, so that the memory does not grow
  return !is_cut_;
}

void DriveLog::finish(const std::string& reason) {
  if (file_ < 0) return;
  const std::string line = first_line(reason);
  // On a full disk the first line can still be overwritten. Rows that cannot be written are lost.
  [[maybe_unused]] const auto wrote = pwrite(file_, line.data(), line.size(), 0);
  if (!rows_.empty()) flush();
  close(file_);
  file_ = -1;
  open_logs.erase(std::remove(open_logs.begin(), open_logs.end(), this), open_logs.end());
}
