#pragma once

#include <cerrno>
#include <charconv>
#include <string>

#include <unistd.h>

// What both logs need.

template <typename Number>
void append(std::string& text, Number value) {
  char digits[32];
  const auto end = std::to_chars(digits, digits + sizeof digits, value).ptr;  // the shortest that reads back the same
  text.append(digits, end);
}

// Returns whether all of `text` was written; errno says why not.
inline bool write_all(int file, const std::string& text) {
  std::size_t done = 0;
  while (done < text.size()) {
    const ssize_t wrote = write(file, text.data() + done, text.size() - done);
    if (wrote < 0 && errno == EINTR) continue;
    if (wrote < 0) return false;
    done += static_cast<std::size_t>(wrote);
  }
  return true;
}
