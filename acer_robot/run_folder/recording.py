"""episodes.npz: the first episodes of an exported file, as acer-export saw them and acer-report shows them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from acer_robot.errors import DAMAGE, InputError, first_line

FILE = "episodes.npz"
EPISODES = 3
"""Episodes that are recorded, whatever the number that score the file."""
COMMANDS = 1000
"""Commands that are recorded of an episode."""
TRACES = ("joints", "feet", "terms")
"""Fields of a recording that an older file does not have."""
MAX_BYTES = 4_000_000
"""Size of the recorded numbers before compression: of a wide robot fewer commands are recorded."""

FloatArray = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Traces:
    """Numbers beside observations and commands, one column a name."""

    names: tuple[str, ...]
    values: FloatArray
    """[N, columns]; of joints: positions, then velocities [N, 2 J]."""
    units: tuple[str, ...] = ()


@dataclass(frozen=True)
class Recording:
    """The first commands of the first episodes. N counts the commands of all recorded episodes, one after the other."""

    observations: FloatArray
    """[N, n] what the file acted on, as the robot measures it."""
    commands: FloatArray
    """[N, d] what it commanded."""
    rewards: FloatArray
    """[N] what each command earned."""
    lengths: npt.NDArray[np.int64]
    """[E] commands recorded of each episode."""
    whole: npt.NDArray[np.bool_]
    """[E] whether the recording reaches the episode's end."""
    joints: Traces | None = None
    """Positions and velocities of joints after each command; None: not recorded, as before version 0.2."""
    feet: Traces | None = None
    """Whether each foot touched the ground after each command."""
    terms: Traces | None = None
    """Terms of the reward of each command."""

    def episodes(self) -> list[slice]:
        """Return where each episode lies in the arrays."""
        ends = np.cumsum(self.lengths)
        return [slice(int(end - length), int(end)) for end, length in zip(ends, self.lengths, strict=True)]


def commands_of_an_episode(observation_size: int, action_size: int) -> int:
    """Return how many commands of an episode are recorded, so that all numbers fit into MAX_BYTES."""
    row = 4 * (observation_size + action_size + 1)
    return max(1, min(COMMANDS, MAX_BYTES // (EPISODES * row)))


def save_recording(recording: Recording, path: Path) -> None:
    """Write the recording as a compressed archive of plain arrays."""
    extra: dict[str, Any] = {}
    for name in TRACES:
        traces: Traces | None = getattr(recording, name)
        if traces is not None:
            extra |= {name: traces.values, f"{name}_names": np.array(traces.names, np.str_)}
            extra |= {f"{name}_units": np.array(traces.units, np.str_)}
    np.savez_compressed(
        path,
        observations=recording.observations,
        commands=recording.commands,
        rewards=recording.rewards,
        lengths=recording.lengths,
        whole=recording.whole,
        **extra,
    )


def _traces(arrays: Mapping[str, Any], name: str) -> Traces | None:
    """Return the traces of that name, or None for a file that has none.

    Raises:
        KeyError: if a part of them is missing.
        ValueError: if they have another number of rows or columns than commands and names.
    """
    if name not in arrays:
        return None
    names, units = (tuple(map(str, arrays[f"{name}_{part}"])) for part in ("names", "units"))
    traces = Traces(names, np.asarray(arrays[name], np.float32), units)
    columns = len(names) * (2 if name == "joints" else 1)
    if traces.values.shape != (len(arrays["rewards"]), columns):
        raise ValueError(f"{name} has the shape {traces.values.shape} for {len(names)} names")
    return traces


def load_recording(path: Path, observation_size: int, action_size: int) -> Recording:
    """Read episodes.npz.

    Raises:
        InputError: if it is damaged, or of a robot with another number of observations or commands.
    """
    try:
        with np.load(path, allow_pickle=False) as arrays:
            recording = Recording(
                observations=np.asarray(arrays["observations"], np.float32),
                commands=np.asarray(arrays["commands"], np.float32),
                rewards=np.asarray(arrays["rewards"], np.float32),
                lengths=np.asarray(arrays["lengths"], np.int64),
                whole=np.asarray(arrays["whole"], np.bool_),
                **{name: _traces(arrays, name) for name in TRACES},
            )
        rows = int(recording.lengths.sum())
        shapes = (recording.observations.shape, recording.commands.shape, recording.rewards.shape)
        if shapes != ((rows, observation_size), (rows, action_size), (rows,)) or rows == 0:
            raise ValueError(f"it holds arrays of the shapes {shapes} for {rows} commands")
        if (recording.lengths < 1).any() or recording.whole.shape != recording.lengths.shape:
            raise ValueError("an episode has no command")
    except DAMAGE as error:
        reason = f"it lacks {error}" if isinstance(error, KeyError) else first_line(error)
        raise InputError(
            f"{path} is damaged: {reason}; write it again with acer-export, or remove it to go on without it"
        ) from error
    return recording
