"""How far a run is: a bar on a terminal, one plain line a minute elsewhere."""

from __future__ import annotations

import os
import sys
import time
from typing import Any

from tqdm import tqdm


class Progress:
    """A progress bar on a terminal. Elsewhere (a file, CI, a notebook) a plain line after 2 s, then one a minute."""

    FIRST_SECONDS, SECONDS = 2.0, 60.0

    def __init__(self, total_steps: int, step: int = 0) -> None:
        self._total = total_steps
        # A pseudo-terminal without a size has no room for a bar: tqdm would draw nothing.
        self._terminal = sys.stderr.isatty() and min(os.get_terminal_size(sys.stderr.fileno())) > 0
        # We average the speed over about a minute: random first steps are fast, and evaluations take time.
        self._bar: tqdm[Any] = tqdm(
            total=total_steps,
            initial=step,
            unit="step",
            dynamic_ncols=True,
            mininterval=0.5,
            smoothing=0.01,
            disable=not self._terminal,
        )
        self._wait = self.FIRST_SECONDS
        self._last_time = time.monotonic()
        self._last_step = step
        self._pending = ""

    def update(self, step: int, text: str, learning: bool = True) -> None:
        """Move to environment step `step` and show `text` beside it.

        Before the run learns (`learning`), its speed says nothing of the time that is left.
        """
        if self._terminal:
            self._bar.set_postfix_str(text, refresh=False)
            self._bar.update(min(step, self._total) - self._bar.n)
            return
        now = time.monotonic()
        speed = (step - self._last_step) / max(now - self._last_time, 1e-9)
        left = "time left not known yet"
        if learning and speed > 0:
            left = f"{tqdm.format_interval(max(0, self._total - step) / speed)} left"
        total = max(self._total, step)  # a command of all environments may end behind the total
        self._pending = f"step {step:,} of {total:,}, {speed:,.0f} steps/s, {left}, {text}"
        if now - self._last_time >= self._wait or self._last_step < self._total <= step:
            say(self._pending)
            self._pending, self._wait, self._last_time, self._last_step = "", self.SECONDS, now, step

    def close(self) -> None:
        """End the bar, or print the last line that was held back; later calls do nothing."""
        self._bar.close()
        if self._pending:
            say(self._pending)
            self._pending = ""


def say(line: str) -> None:
    """Print `line` on stdout without tearing a bar."""
    tqdm.write(line, file=sys.stdout)
    sys.stdout.flush()
