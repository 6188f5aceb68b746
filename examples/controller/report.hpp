#pragma once

#include <vector>

// Prints p50, p99 and maximum of times in one line.
void print_times(const char* what, std::vector<double> microseconds);

// Prints the time of a decision in one line, and then a histogram.
void print_latency(std::vector<double> microseconds, bool histogram);
