"""Policies: Gaussian actor, stochastic dueling critic, observation normaliser, deployed module."""
