"""Whether MuJoCo finds its simulation unstable: it then resets the state in the middle of an episode and goes on."""

from __future__ import annotations

from typing import Any

import gymnasium

from acer_robot.tasks.cpu.probe import simulation_of

SHARE, FEWEST = 0.01, 10
"""A task is unstable if more than this share of its environment steps were, and more than this number of them."""


class Stability:
    """Counts the environment steps after which MuJoCo warned of bad positions, velocities or accelerations."""

    def __init__(self, env: gymnasium.Env[Any, Any]) -> None:
        self._env = env
        self._warnings: tuple[Any, ...] | None = None
        self.steps = 0
        """Unstable environment steps so far."""
        self.reason = ""
        """What MuJoCo said of the last one."""

    def state(self) -> dict[str, Any]:
        """Return the count."""
        return {"steps": self.steps, "reason": self.reason}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from the count of `state`."""
        self.steps, self.reason, self._warnings = state["steps"], state["reason"], None

    def begin(self) -> None:
        """Look for the simulation anew: an episode may begin with another one."""
        self._warnings = None

    def check(self) -> None:
        """Count the last environment step if MuJoCo warned in it, and clear the warning."""
        if self._warnings is None:
            self._warnings = self._of_simulation()
        bad = [name for name, warning in zip(_NAMES, self._warnings, strict=False) if warning.number]
        if bad:
            self.steps, self.reason = self.steps + 1, bad[0]
            for warning in self._warnings:
                warning.number = 0

    def _of_simulation(self) -> tuple[Any, ...]:
        found = simulation_of(self._env)
        if found is None:
            return ()
        import mujoco

        kinds = mujoco.mjtWarning
        warnings = found[1].warning
        return tuple(
            warnings[int(kind)] for kind in (kinds.mjWARN_BADQPOS, kinds.mjWARN_BADQVEL, kinds.mjWARN_BADQACC)
        )


_NAMES = ("bad positions (qpos)", "bad velocities (qvel)", "bad accelerations (qacc)")
