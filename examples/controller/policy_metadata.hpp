#pragma once

#include <string>

#include "acer_controller.hpp"
#include "safety.hpp"

namespace acer {

struct Metadata {
  TaskDescription task;
  Limits limits;  // of the safety layer, with its default options
};

// Throws InputError if `metadata`, the contents of policy.json in the file `path`, is not what this library reads.
Metadata read_metadata(const std::string& metadata, const std::string& path);

}  // namespace acer
