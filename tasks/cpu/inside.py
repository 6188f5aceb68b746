"""Which environment a process is in at the moment, for those who wait for it."""

from __future__ import annotations

from typing import Any


class Inside:
    """The environment that is being stepped or reset now; each one writes itself here when it begins."""

    def __init__(self) -> None:
        self.environment: Any = None
        self.entries = 0
        """How often an environment was entered so far."""
        self.shared: Any = None
        """A number in memory that another process reads: that of the environment, -1 outside of all."""

    def enter(self, environment: Any) -> None:  # noqa: ANN401 (of vector_task, which imports this)
        """Note that a step or a reset of an environment begins."""
        self.environment, self.entries = environment, self.entries + 1
        if self.shared is not None:
            self.shared.value = environment.index

    def leave(self) -> None:
        """Note that it is over."""
        self.environment = None
        if self.shared is not None:
            self.shared.value = -1


INSIDE = Inside()
