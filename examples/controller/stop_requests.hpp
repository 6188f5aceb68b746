#pragma once

// Requests to stop, counted, so that a loop can answer them between two steps: signals and keys (docs/driving.md, The
// loop).
namespace stop_requests {

// Counts SIGINT, SIGTERM, SIGHUP, SIGTSTP (Ctrl-Z) and SIGQUIT from now on, where they would have ended or frozen the
// program. A signal that is ignored stays ignored, as under nohup. From now on an output that is closed or full and a
// terminal that the program may not use are errors, and no signals. If stdin is a terminal, keys arrive without Enter
// until the program ends.
void listen();

// Takes the keys that were pressed: `q` asks for a stop, `e` for an emergency stop. It never waits.
void read_keys();

int take_stops();  // SIGINT, SIGTERM, SIGHUP, SIGTSTP and `q` since the last call
bool emergency();  // whether SIGQUIT or `e` arrived
int signal();      // the first signal of them; 0: none arrived

}  // namespace stop_requests
