"""Frames of an environment as pictures that a video can show: RGB, 8 bits a channel."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import numpy.typing as npt

from acer_robot.errors import InputError
from acer_robot.tasks.model.floor import EndlessFloor

Picture = npt.NDArray[np.uint8]


class RgbFrames(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Turn what `render` returns into RGB. Actions, observations and rewards pass unchanged."""

    def __init__(self, env: gymnasium.Env[Any, Any], task_id: str, floor: EndlessFloor | None = None) -> None:
        super().__init__(env)
        self._task_id, self._floor = task_id, floor
        self._is_first = True
        self._brightest = 1.0

    def reset(self, **kwargs: Any) -> tuple[Any, dict[str, Any]]:  # noqa: ANN401 - the environment's own types
        """Start an episode."""
        self._is_first = True
        return self.env.reset(**kwargs)

    def render(self) -> Picture:
        """Return a picture [H, W, 3].

        Raises:
            InputError: if the frame is not a picture. The message has its shape.
        """
        frame = self._frame()
        picture = np.asarray(frame) if isinstance(frame, np.ndarray) else np.zeros(0)
        channels = picture.shape[2] if picture.ndim == 3 else 1
        if picture.ndim not in (2, 3) or channels not in (1, 3, 4) or min(picture.shape[:2]) < 2:
            given = f"frames have shape {picture.shape}" if isinstance(frame, np.ndarray) else _kind(frame)
            raise InputError(
                f"task.id={self._task_id!r} cannot be drawn: {given}; expected [H, W, 3], or RGBA [H, W, 4], or "
                f"grey [H, W], of 2 x 2 pixels or more"
            )
        scaled = self._eight_bits(picture).reshape(*picture.shape[:2], channels)
        return np.repeat(scaled, 3, axis=2) if channels == 1 else np.ascontiguousarray(scaled[..., :3])

    def _frame(self) -> Any:  # noqa: ANN401 - whatever an environment returns
        if self._floor is None:
            return self.env.render()
        with self._floor.drawn():
            if self._is_first:
                self.env.render()  # MuJoCo centres an endless floor where the camera was in the picture before
            self._is_first = False
            return self.env.render()

    def _eight_bits(self, picture: npt.NDArray[Any]) -> Picture:
        """Return whole numbers from 0 to 255. Floats are taken as [0, 1] until a frame has one above 1."""
        if picture.dtype == np.uint8:
            return picture
        low, high = (
            (float(picture.min()), float(picture.max())) if picture.dtype.kind in "fiu" else (0.0, -1.0)
        )
        if not 0.0 <= low <= high <= 255.0:
            raise InputError(
                f"task.id={self._task_id!r} cannot be drawn: frames of type {picture.dtype} reach from {low:g} to "
                f"{high:g}; expected whole numbers from 0 to 255, or real numbers from 0 to 1"
            )
        self._brightest = max(self._brightest, high)
        unit = picture.dtype.kind == "f" and self._brightest <= 1.0
        return np.rint(picture * 255.0 if unit else picture).astype(np.uint8)


def _kind(frame: Any) -> str:  # noqa: ANN401 - whatever an environment returns
    if isinstance(frame, list | tuple):
        return f"render() returns a {type(frame).__name__} of {len(frame)} frames"
    return f"render() returns {'None' if frame is None else f'a {type(frame).__name__}'}"
