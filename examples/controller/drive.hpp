#pragma once

#include "options.hpp"

// Drives the robot episode by episode: behind the safety layer of docs/driving.md, or with the policy's own commands.
// Returns the exit status of the program. Throws InputError for what cannot be used, before the first command.
int drive(const Options& options);
