"""From a run to one verified policy file, and the loop that runs it."""
