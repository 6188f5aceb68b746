#include "signals.hpp"

#include <atomic>
#include <csignal>
#include <initializer_list>

namespace signals {

namespace {

std::atomic<int> stop_count{0}, first_signal{0};
std::atomic<bool> is_emergency{false};
static_assert(std::atomic<int>::is_always_lock_free, "a signal handler writes these");

void count(int number) {
  int none = 0;
  first_signal.compare_exchange_strong(none, number);
  if (number == SIGQUIT) {
    is_emergency = true;
  } else {
    ++stop_count;
  }
}

}  // namespace

void install() {
  struct sigaction action = {};
  action.sa_handler = count;  // without SA_RESTART: a sleep ends at once
  sigemptyset(&action.sa_mask);
  for (const int number : {SIGINT, SIGTERM, SIGHUP, SIGQUIT}) sigaction(number, &action, nullptr);
}

int stops() { return stop_count; }
bool emergency() { return is_emergency; }
int first() { return first_signal; }

}  // namespace signals
