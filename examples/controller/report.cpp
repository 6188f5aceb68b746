#include "report.hpp"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <string>

namespace {

// The value below which a share of sorted numbers lies.
double quantile(const std::vector<double>& sorted, double share) {
  return sorted[static_cast<std::size_t>(share * (sorted.size() - 1))];
}

void print_sorted(const char* what, const std::vector<double>& sorted) {
  std::printf("%s: p50 %.2f us, p99 %.2f us, max %.2f us over %zu\n", what, quantile(sorted, 0.5),
              quantile(sorted, 0.99), sorted.back(), sorted.size());
}

}  // namespace

void print_times(const char* what, std::vector<double> microseconds) {
  if (microseconds.empty()) return;
  std::sort(microseconds.begin(), microseconds.end());
  print_sorted(what, microseconds);
}

void print_latency(std::vector<double> microseconds, bool histogram) {
  std::sort(microseconds.begin(), microseconds.end());
  const std::size_t count = microseconds.size();
  if (count == 0) return;
  print_sorted("latency of a decision", microseconds);
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
