#pragma once

// Requests to stop, counted, so that a loop can answer them between two steps.
namespace signals {

// Counts SIGINT, SIGTERM, SIGHUP and SIGQUIT from now on, where they would have ended the program.
void install();

int stops();       // SIGINT, SIGTERM and SIGHUP that arrived
bool emergency();  // whether SIGQUIT arrived
int first();       // the first of them; 0: none arrived

}  // namespace signals
