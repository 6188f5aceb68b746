#pragma once

#include <string>
#include <vector>

// A scripted incident: what goes wrong in which ticks. Ticks count from 1.
struct Event {
  enum class Kind { lost, nan, frozen, repeated, jump, old, late, clock, broken, signal, disk };
  Kind kind;
  int first, last;  // ticks, both included
  double number;    // jump: added to each entry; old, late, clock: seconds; signal: its number
};

struct Incident {
  std::vector<Event> events;

  // Returns the event of this kind in this tick, or nullptr.
  const Event* in(int tick, Event::Kind kind) const;
};

// Reads lines `KIND FIRST LAST NUMBER`. Throws InputError for a file that cannot be used.
Incident read_incident(const std::string& path);
