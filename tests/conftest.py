"""Settings that all tests share."""

from hypothesis import settings

# No deadline: the machine may be busy. Derandomised: a failure on one machine is a failure on every other.
settings.register_profile("repeatable", deadline=None, derandomize=True)
settings.load_profile("repeatable")
