#include "report.hpp"

#include <fcntl.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <stdexcept>

#include "log_file.hpp"

void print_latency(std::vector<double> microseconds, bool histogram) {
  std::sort(microseconds.begin(), microseconds.end());
  const std::size_t count = microseconds.size();
  if (count == 0) return;
  const auto quantile = [&](double q) { return microseconds[static_cast<std::size_t>(q * (count - 1))]; };
  std::printf("latency of a decision: p50 %.2f us, p99 %.2f us, max %.2f us over %zu\n", quantile(0.5), quantile(0.99),
              microseconds.back(), count);
  if (!histogram) return;
  // Each bar covers a factor of 2^(1/4). Bars are narrow where most decisions are, and the slowest one still fits.
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

namespace {

constexpr std::size_t flush_size = 1000000;

Log* open_log = nullptr;  // for std::exit: MuJoCo's errors call it, and it runs no destructors of local objects

void flush_at_exit() {
  try {
    if (open_log != nullptr) open_log->flush();
  } catch (const std::exception& error) {
    std::fprintf(stderr, "controller: %s\n", error.what());
  }
}

}  // namespace

Log::Log(std::string path, const acer::TaskDescription& task) : path_(std::move(path)) {
  if (path_.empty()) return;
  file_ = open(path_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  if (file_ < 0) throw acer::InputError("--log=" + path_ + " cannot be written: " + std::strerror(errno));
  buffer_ = "episode,step";
  for (const auto& name : task.observation) buffer_ += "," + name;
  for (const auto& name : task.joints) buffer_ += ",command:" + name;
  buffer_ += '\n';
  if (!write_buffer()) {
    const std::string reason = std::strerror(errno);
    close(file_);
    throw acer::InputError("--log=" + path_ + " cannot be written: " + reason);
  }
  buffer_.reserve(flush_size + (1 << 16));
  // A row waits for this time and then for the next row: at most 1 s in total.
  if (task.control_dt < 0.5) flush_interval_ = std::chrono::milliseconds(500);
  next_flush_ = Clock::now() + flush_interval_;
  open_log = this;
  static const int registered = std::atexit(flush_at_exit);
  (void)registered;
}

Log::~Log() {
  if (file_ < 0) return;
  flush_at_exit();
  open_log = nullptr;
  close(file_);
}

void Log::add(int episode, int step, const std::vector<float>& observation, const std::vector<float>& command) {
  if (file_ < 0) return;
  append(buffer_, episode);
  buffer_ += ',';
  append(buffer_, step);
  for (const auto* part : {&observation, &command}) {
    for (const float value : *part) {
      buffer_ += ',';
      append(buffer_, value);
    }
  }
  buffer_ += '\n';
}

void Log::flush_if_due() {
  if (file_ >= 0 && (buffer_.size() >= flush_size || Clock::now() >= next_flush_)) flush();
}

void Log::flush() {
  if (file_ < 0) return;
  if (!write_buffer()) throw std::runtime_error("--log=" + path_ + " cannot be written: " + std::strerror(errno));
  next_flush_ = Clock::now() + flush_interval_;
}

bool Log::write_buffer() {
  const bool complete = write_all(file_, buffer_);
  const int error = errno;
  buffer_.clear();  // also after an error, so that we do not try the same rows again at exit
  errno = error;
  return complete;
}
