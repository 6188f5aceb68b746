"""Collectors and evaluations on a Ray cluster. No other room imports Ray."""
