"""Gymnasium and dm_control environments, stepped on the CPU."""
