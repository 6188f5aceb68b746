"""Pictures of one world, drawn by MuJoCo from a model and its state."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from acer_robot.tasks.model.cameras import find_camera
from acer_robot.tasks.model.floor import EndlessFloor
from acer_robot.tasks.model.moving_body import moving_body
from acer_robot.tasks.model.simulator import load_simulator, prepare_pictures

if TYPE_CHECKING:
    from mujoco import MjData, MjModel


class Pictures:
    """Draws one model at one size with one camera. The first picture opens OpenGL."""

    def __init__(self, model: MjModel, size: tuple[int, int], camera: str, task_id: str) -> None:
        """Choose the camera.

        Raises:
            InputError: if the model has no such camera.
        """
        load_simulator("mujoco", rendering=True)
        self._size = size
        self._camera = _camera(model, find_camera(model, camera, task_id))
        self._renderer: Any = None
        self._floor: EndlessFloor | None = None

    def draw(self, model: MjModel, data: MjData) -> npt.NDArray[np.uint8]:
        """Return a picture [H, W, 3]. Each call must get the same model object."""
        import mujoco

        is_first = self._floor is None
        if self._floor is None:
            prepare_pictures(model, self._size)
            self._floor = EndlessFloor(model)
        with self._floor.drawn():
            if self._renderer is None:
                width, height = self._size
                self._renderer = mujoco.Renderer(model, height, width)
            for _ in range(2 if is_first else 1):  # an endless floor is centred where the camera was before
                self._renderer.update_scene(data, self._camera)
                picture: npt.NDArray[np.uint8] = self._renderer.render()
        return picture

    def close(self) -> None:
        """Close OpenGL."""
        if self._renderer is not None:
            self._renderer.close()
            self._renderer = None


def _camera(model: MjModel, number: int | None) -> Any:  # noqa: ANN401 (a number or an MjvCamera)
    """Return what mujoco.Renderer takes: the model's camera of that number, the free one, or one that follows."""
    import mujoco

    track = mujoco.mj_name2id(model, mujoco.mjtObj.mjOBJ_CAMERA, "track")
    if number is None and track >= 0:
        return int(track)
    if number is not None and number >= 0:
        return number
    camera, body = mujoco.MjvCamera(), moving_body(model)
    mujoco.mjv_defaultFreeCamera(model, camera)
    if number is None and body is not None:
        camera.type = mujoco.mjtCamera.mjCAMERA_TRACKING
        camera.trackbodyid = body
    return camera
