#pragma once

#include <stdexcept>

// Something the user gave cannot be used. The program prints the message in one line and exits with status 2.
struct InputError : std::runtime_error {
  using std::runtime_error::runtime_error;
};
