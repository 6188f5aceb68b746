#pragma once

#include <string>

#include "acer_controller.hpp"

namespace acer {

// Throws InputError if `metadata`, the contents of policy.json in the file `path`, is not what this library reads.
TaskDescription read_task(const std::string& metadata, const std::string& path);

}  // namespace acer
