"""Policies: Gaussian actor, stochastic dueling critic, observation normaliser, exported module."""
