#include "realtime.hpp"

#include <sched.h>
#include <sys/mman.h>

#include <cerrno>
#include <cstring>
#include <ctime>

std::vector<std::string> request(const RealTimeOptions& options) {
  std::vector<std::string> refused;
  const auto note = [&refused](const std::string& what) { refused.push_back(what + ": " + std::strerror(errno)); };
  if (options.core) {
    cpu_set_t cores;
    CPU_ZERO(&cores);
    CPU_SET(*options.core, &cores);
    if (sched_setaffinity(0, sizeof cores, &cores) != 0) {
      note("core " + std::to_string(*options.core) + " is not permitted");
    }
  }
  if (options.priority != 0) {
    sched_param parameters{};
    parameters.sched_priority = options.priority;
    if (sched_setscheduler(0, SCHED_FIFO, &parameters) != 0) {
      note("SCHED_FIFO with priority " + std::to_string(options.priority) + " is not permitted");
    }
  }
  if (options.lock_memory && mlockall(MCL_CURRENT | MCL_FUTURE) != 0) note("memory cannot be locked");
  return refused;
}

void sleep_until(std::chrono::steady_clock::time_point deadline) {
  // On Linux the steady clock is CLOCK_MONOTONIC.
  const auto since = deadline.time_since_epoch();
  const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(since);
  timespec time{};
  time.tv_sec = static_cast<time_t>(seconds.count());
  time.tv_nsec = static_cast<long>(std::chrono::duration_cast<std::chrono::nanoseconds>(since - seconds).count());
  while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &time, nullptr) == EINTR) {
  }
}
