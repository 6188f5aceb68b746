"""The loop that drives a plant with an exported policy behind the safety layer (docs/driving.md, The loop)."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch

from acer_robot.deployment.drive_log import DriveLog
from acer_robot.deployment.drive_reasons import watchdog_reason
from acer_robot.deployment.limits import Limits
from acer_robot.deployment.pacing import Pacer
from acer_robot.deployment.plant import Plant, Vector, checked_reading, measured
from acer_robot.deployment.safety import IDLE, Inputs, Output, State, is_new, tick
from acer_robot.deployment.stop_requests import BrokenOff, StopRequests
from acer_robot.errors import InputError, named
from acer_robot.policies.exported.file import LoadedPolicy


@dataclass
class Drive:
    """What a drive did."""

    cause: str = "none"
    """Why it stopped: one of the causes in docs/driving.md."""
    reason: str = ""
    """The message of the error that stopped it; "" without one."""
    commands: int = 0
    """Commands that were written."""
    far: int = 0
    """Observations beyond the range that training saw."""
    latencies: list[float] = field(default_factory=list)
    """Seconds that the policy took for each command."""


@dataclass(frozen=True)
class Timing:
    """The clock of a drive."""

    pacer: Pacer
    """Waits for the next tick."""
    now: Callable[[], float] = time.monotonic
    """The clock of the plant's stamps."""


class Driver:
    """Drives one plant, once. Another drive is another Driver.

    Args:
        policy: the exported file.
        plant: the robot. `drive` connects and closes it.
        limits: the limits of the safety layer.
        log: the log. `drive` finishes it.
        requests: requests to stop. Each tick asks them.
        timing: pacer and clock.
    """

    def __init__(
        self,
        policy: LoadedPolicy,
        plant: Plant,
        limits: Limits,
        log: DriveLog,
        requests: StopRequests,
        timing: Timing,
    ) -> None:
        self._policy, self._plant, self._limits = policy, plant, limits
        self._log, self._requests, self._timing = log, requests, timing
        self._state, self._drive = State(), Drive()
        self._error = self._why = ""
        self._stamp: float | None = None
        policy.warm_up()

    def drive(self, max_ticks: float = math.inf, ended: Callable[[], bool] = lambda: False) -> Drive:
        """Drive until the layer is done, and close the plant.

        Args:
            max_ticks: ticks after which the layer ramps to rest.
            ended: whether to ramp to rest for another reason.

        Raises:
            InputError: if the plant cannot connect or gives nothing usable before the first command.
        """
        self._requests.is_closing = False
        try:
            self._connect()
            self._timing.pacer.restart()
            number, done = 0, False
            while not done:
                number += 1
                done = self._tick(number, end=number > max_ticks or ended())
            self._check_started()
        except InputError as error:  # nothing was commanded
            self._drive.reason = str(error)
            self._log.discard()
            raise
        except BrokenOff as error:
            self._drive.cause, self._drive.reason = "emergency", f"{error} broke off a call of the plant"
            raise
        except BaseException as error:
            self._drive.cause, self._drive.reason = "error", named(error)
            raise
        finally:
            self._close()
        return self._drive

    def _connect(self) -> None:
        try:
            self._plant.connect()
        except BrokenOff:
            raise
        except BaseException as error:  # a user's plant may raise anything, as sys.exit() does
            raise InputError(f"the plant cannot connect: {named(error)}") from error
        self._requests.take_signals()

    def _tick(self, number: int, end: bool) -> bool:
        """Do one tick; return whether the loop is done."""
        self._timing.pacer.wait()
        self._requests.read_key()
        observation, stamp = self._read()
        inputs = Inputs(self._timing.now(), observation, stamp)
        inputs = dataclasses.replace(
            inputs,
            policy=self._ask_policy(inputs),
            measured=self._measured(),
            stops=self._requests.stops,
            emergency=self._requests.emergency,
            end=end,
            error=bool(self._error),
        )
        before, output = self._state, tick(self._limits, self._state, inputs)
        self._state = output.state
        self._note(number, inputs, output, at_once=output.state.mode != before.mode)
        self._drive.far = output.state.far_total
        if output.state.cause != self._drive.cause:
            self._drive.cause = output.state.cause
            self._why = watchdog_reason(self._limits, self._state, inputs, self._policy.spec.bounds.names)
        if output.state.cause == "emergency":
            return True
        return not self._write(output) or output.done

    def _read(self) -> tuple[Vector | None, float | None]:
        """Return what the plant gives. Before the first command an error is the caller's; later it stops the drive."""
        try:
            observation, stamp = checked_reading(self._plant.read(), self._policy.spec.observation_size)
        except BrokenOff:
            raise
        except BaseException as error:
            if self._state.mode == IDLE and isinstance(error, InputError):
                raise
            if self._state.mode == IDLE:
                raise InputError(f"the plant cannot be read: {named(error)}") from error
            bad = isinstance(error, InputError)
            self._fail(str(error) if bad else f"the plant cannot be read: {named(error)}")
            return None, None
        self._stamp = stamp if stamp is not None else self._stamp
        return observation, stamp

    def _ask_policy(self, inputs: Inputs) -> Vector | None:
        """Return the policy's command for a new finite observation, else None."""
        observation = inputs.observation
        if observation is None or not is_new(self._state, inputs) or not np.isfinite(observation).all():
            return None
        start = time.perf_counter()
        try:
            command: Vector = self._policy.act(torch.from_numpy(observation)).numpy()
        except Exception as error:  # noqa: BLE001 - TorchScript raises its own kinds
            self._fail(f"the policy failed: {named(error)}")
            return None
        self._drive.latencies.append(time.perf_counter() - start)
        return command

    def _measured(self) -> Vector | None:
        if self._state.mode != IDLE:
            return None
        return measured(self._plant, self._policy.spec.action_size)

    def _note(self, number: int, inputs: Inputs, output: Output, at_once: bool) -> None:
        """Write the tick down before the plant gets its command."""
        state = output.state
        started = inputs.now if state.started is None else state.started
        seen, now = state.newest, state.previous  # a bad clock leaves the last good time
        age = None if seen is None or now is None else now - seen
        arrays = (inputs.observation, inputs.policy, output.command)
        self._log.add(inputs.now - started, number, (state.mode, state.cause), state.late > 0, age, arrays)
        try:
            self._log.flush_if_due(inputs.now, at_once)
        except OSError as error:
            self._fail(f"the log cannot be written: {error.strerror}")

    def _write(self, output: Output) -> bool:
        """Send the command; return whether that worked."""
        if output.command is None:
            return True
        try:
            self._plant.write(output.command.astype(np.float32))
        except BrokenOff:
            raise
        except BaseException as error:  # noqa: BLE001 - a user's plant may raise anything
            self._fail(f"the plant cannot be commanded: {named(error)}")
            self._drive.cause = "error"
            return False
        self._drive.commands += 1
        return True

    def _fail(self, reason: str) -> None:
        self._error = self._error or reason

    def _check_started(self) -> None:
        """Raise InputError if the plant never gave anything usable."""
        cause = self._drive.cause
        if self._drive.commands or cause not in ("age", "nan", "clock", "error", "outside", "end"):
            return
        if self._error:
            raise InputError(self._error)
        if cause == "outside":
            raise InputError(self._why)
        if cause == "nan":
            raise InputError("the plant's observations have NaN or infinite entries; look at its sensors")
        ended = cause == "end"
        within = "before its time was over" if ended else f"within {self._limits.options.start_limit:g} s"
        if self._stamp is None:
            raise InputError(f"the plant gave no observation {within}; is it switched on?")
        age = self._timing.now() - self._stamp
        found = f"the newest is {age:.3g} s old" if age >= 0.0 else f"the newest is from {-age:.3g} s ahead"
        raise InputError(
            f"the plant gave no fresh observation {within}: {found}; "
            f"read() must return time.monotonic() of its measurement"
        )

    def _close(self) -> None:
        """Close the plant, and then the log, which says why the drive ended."""
        self._requests.is_closing = True
        try:
            self._plant.close()
        except BaseException as error:  # noqa: BLE001 - a user's plant may raise anything
            self._fail(f"the plant cannot be closed: {named(error)}")
            self._drive.cause = "error" if self._drive.cause in ("none", "end") else self._drive.cause
        finally:
            self._drive.reason = self._drive.reason or self._error or self._why
            cause = self._drive.cause if self._drive.cause != "none" else "error"
            self._log.finish(f"{cause}: {self._drive.reason}" if self._drive.reason else cause)
