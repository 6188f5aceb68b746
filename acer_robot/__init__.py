"""Continuous ACER (Wang et al. 2017) for robots in MuJoCo, from training to one verified policy file."""

__version__ = "0.2.0"
