"""An exported policy as a controller runs it: made, fuzzed, and timed."""
