"""Robots from MJCF files: what a file lacks is added, and tasks for any robot of a kind."""
