"""The export of a run to one verified policy file, and the loop that runs the file."""
