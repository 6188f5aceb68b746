#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <vector>

// Real time on Linux: what the program asks of the operating system, and sleep until an absolute deadline.
struct RealTimeOptions {
  int priority = 0;          // of SCHED_FIFO, from 1 to 99; 0: the usual scheduler
  bool lock_memory = false;  // memory stays in RAM
  std::optional<int> core;   // on which the program stays; none: any
};

// Asks for what the options say. Returns one line for each thing that was not permitted.
std::vector<std::string> request(const RealTimeOptions& options);

// Sleeps until the steady clock has reached a deadline. Signals do not end the sleep.
void sleep_until(std::chrono::steady_clock::time_point deadline);
