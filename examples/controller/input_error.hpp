#pragma once

#include <stdexcept>

// The user gave an input that the program cannot use. It prints the message in one line and exits with status 2.
struct InputError : std::runtime_error {
  using std::runtime_error::runtime_error;
};
