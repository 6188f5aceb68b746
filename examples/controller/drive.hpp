#pragma once

#include "options.hpp"

// Drives the robot once behind the safety layer of docs/driving.md. Returns the exit status of the program.
int drive(const Options& options);
