"""Options of the safety layer. They are apart from the limits, so that `acer-deploy --help` imports no numpy."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Options:
    """The limits that a user may set; nothing writes to them after the command line was read."""

    ramp_rate: float = 0.5
    """Share of a joint's range per second: the ramp of joints without a slew limit."""
    ramp_in: float = 1.0
    """Length of the ramp-in in seconds."""
    hold: float = 0.5
    """Seconds for which the last command is held before the robot is closed."""
    start_limit: float = 2.0
    """Seconds to wait for the first usable observation."""
    age_limit: float | None = None
    """Largest age of the newest observation, and largest gap between two ticks, in seconds; null: 5 control periods."""
    late_factor: float = 1.2
    """A tick is late if more than this number of control periods has passed since the tick before."""
    late_ticks: int = 10
    """Late ticks in a row that stop; 0: never."""
    nan_ticks: int = 5
    """Unusable rows in a row that stop; 0: never."""
    frozen_ticks: int = 0
    """Equal observations in a row that stop; 0: never."""
    far_limit: float | None = None
    """Standard deviations from which an observation is far; null: the normaliser's limit."""
    far_ticks: int = 0
    """Far observations in a row that stop; 0: never, they are counted."""
