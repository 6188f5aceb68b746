#include "stop_requests.hpp"

#include <poll.h>
#include <termios.h>
#include <unistd.h>

#include <atomic>
#include <cctype>
#include <csignal>
#include <cstdlib>
#include <initializer_list>

namespace stop_requests {

namespace {

constexpr char stop_key = 'q', emergency_key = 'e';

std::atomic<int> stop_count{0}, first_signal{0};
std::atomic<bool> is_emergency{false};
static_assert(std::atomic<int>::is_always_lock_free, "a signal handler writes these");

bool reads_keys = false;
termios terminal{};  // its settings before the program

void count(int number) {
  int none = 0;
  first_signal.compare_exchange_strong(none, number);
  if (number == SIGQUIT) {
    is_emergency = true;
  } else {
    ++stop_count;
  }
}

void restore_terminal() { tcsetattr(STDIN_FILENO, TCSADRAIN, &terminal); }

void open_keys() {
  // A program in the background must not touch the terminal: the system would stop it.
  const pid_t foreground = tcgetpgrp(STDIN_FILENO);  // -1: another session's terminal, which stops nobody here
  if (!isatty(STDIN_FILENO) || (foreground != -1 && foreground != getpgrp())) return;
  if (tcgetattr(STDIN_FILENO, &terminal) != 0) return;
  termios keys = terminal;
  keys.c_lflag &= ~static_cast<tcflag_t>(ICANON | ECHO);  // Ctrl-C still makes a signal
  keys.c_cc[VMIN] = 1;
  keys.c_cc[VTIME] = 0;
  if (tcsetattr(STDIN_FILENO, TCSADRAIN, &keys) != 0) return;
  reads_keys = true;
  std::atexit(restore_terminal);  // also where an error of MuJoCo ends the program
}

}  // namespace

void listen() {
  struct sigaction action = {};
  action.sa_handler = count;
  sigemptyset(&action.sa_mask);
  for (const int number : {SIGINT, SIGTERM, SIGHUP, SIGTSTP, SIGQUIT}) {
    struct sigaction before = {};
    sigaction(number, nullptr, &before);
    if (before.sa_handler != SIG_IGN) sigaction(number, &action, nullptr);
  }
  // Writing to a closed pipe or beyond the limit of a file's size is then an error that the loop answers with a ramp.
  // The terminal does not freeze a program in the background.
  for (const int number : {SIGPIPE, SIGXFSZ, SIGTTIN, SIGTTOU}) std::signal(number, SIG_IGN);
  open_keys();
}

void read_keys() {
  pollfd input{STDIN_FILENO, POLLIN, 0};
  while (reads_keys && poll(&input, 1, 0) == 1 && (input.revents & POLLIN) != 0) {
    char key = 0;
    if (read(STDIN_FILENO, &key, 1) != 1) return;
    const int small = std::tolower(static_cast<unsigned char>(key));  // with Caps Lock or without
    if (small == stop_key) ++stop_count;
    if (small == emergency_key) is_emergency = true;
  }
}

int take_stops() { return stop_count.exchange(0); }
bool emergency() { return is_emergency; }
int signal() { return first_signal; }

}  // namespace stop_requests
