"""How far a run is: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping
from typing import Any

from tqdm import tqdm


class Progress:
    """A progress bar on a terminal. Elsewhere (a file, CI) it prints about fifty plain lines a run at most."""

    LINES, MIN_SECONDS = 50, 30.0

    def __init__(self, total_steps: int, step: int = 0) -> None:
        self._total = total_steps
        # A pseudo-terminal without a size has no room for a bar.
        self._terminal = sys.stderr.isatty() and os.get_terminal_size(sys.stderr.fileno()).columns > 0
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
        self._last_time = time.monotonic()
        self._last_step = step
        self._pending = ""

    def update(self, step: int, shown: Mapping[str, str]) -> None:
        """Move to environment step `step` and show `shown` beside it."""
        text = ", ".join(f"{name} {value}" for name, value in shown.items())
        if self._terminal:
            self._bar.set_postfix_str(text, refresh=False)
            self._bar.update(step - self._bar.n)
            return
        now = time.monotonic()
        speed = (step - self._last_step) / max(now - self._last_time, 1e-9)
        left = tqdm.format_interval((self._total - step) / speed) if speed > 0 else "?"
        self._pending = f"step {step:,} of {self._total:,}, {speed:,.0f} steps/s, {left} left, {text}"
        due = (
            now - self._last_time >= self.MIN_SECONDS and (step - self._last_step) * self.LINES >= self._total
        )
        if due or self._last_step < self._total <= step:
            self.say(self._pending)
            self._pending, self._last_time, self._last_step = "", now, step

    def say(self, line: str) -> None:
        """Print `line` on stdout without tearing the bar."""
        tqdm.write(line, file=sys.stdout)
        sys.stdout.flush()

    def close(self) -> None:
        """End the bar, or print the last line that was held back; later calls do nothing."""
        self._bar.close()
        if self._pending:
            self.say(self._pending)
            self._pending = ""
