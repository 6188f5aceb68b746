"""A floor without an edge in pictures, for a robot that can run off the floor that its model has."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from acer_robot.tasks.model.moving_body import moving_body

if TYPE_CHECKING:
    from mujoco import MjModel

SHORTEST = 2.0
"""Half of a floor's side in metres below which it keeps its edge: a strip to run on, a wall, a basin."""
HAZE = 0.5
"""Brightness of the horizon, which MuJoCo draws as a bright white line where a model does not say otherwise."""
UPRIGHT = 0.999
"""Vertical part of a plane's normal from which it is a floor."""


class EndlessFloor:
    """Makes the floors of a model endless while a picture is drawn.

    MuJoCo collides with planes that never end, but draws them as large as the model says. A size of 0 draws them
    endless. The size is 0 only while a picture is drawn, since tasks read it. MuJoCo prepares floors when it opens an
    OpenGL context: this must happen within `drawn`, too.
    """

    def __init__(self, model: MjModel) -> None:
        """Find the floors, and scale their textures: call this before MuJoCo has drawn `model` for the first time.

        `model` is a MuJoCo model or dm_control's view of one.
        """
        self._model = model
        self._endless = _endless_sides(model)
        _keep_texture_size(model, self._endless)
        haze = model.vis.rgba.haze
        if self._endless.any() and np.all(haze[:3] == 1.0):
            haze[:3] = HAZE

    @contextmanager
    def drawn(self) -> Iterator[None]:
        """Give the floors no edge within the block."""
        size = self._model.geom_size
        before = size.copy()
        size[:, :2][self._endless] = 0.0
        try:
            yield
        finally:
            size[:] = before


def _endless_sides(model: MjModel) -> npt.NDArray[np.bool_]:
    """Return for each geom whether its x and y side are drawn without an end [n, 2]."""
    import mujoco

    if moving_body(model) is None:
        return np.zeros((model.ngeom, 2), dtype=bool)
    quaternion = np.asarray(model.geom_quat)
    normal_z = 1.0 - 2.0 * (quaternion[:, 1] ** 2 + quaternion[:, 2] ** 2)
    is_plane = np.asarray(model.geom_type) == int(mujoco.mjtGeom.mjGEOM_PLANE)
    is_floor = is_plane & (np.asarray(model.geom_bodyid) == 0) & (normal_z > UPRIGHT)
    endless: npt.NDArray[np.bool_] = is_floor[:, None] & (np.asarray(model.geom_size)[:, :2] >= SHORTEST)
    return endless


def _keep_texture_size(model: MjModel, endless: npt.NDArray[np.bool_]) -> None:
    """Repeat textures as often a metre as on the floor with an edge.

    A material that is not uniform counts repeats in half a side, and in a metre where the side has no end.
    """
    seen: set[int] = set()
    for geom in np.flatnonzero(endless.any(axis=1)):
        material = int(model.geom_matid[geom])
        if material < 0 or material in seen or model.mat_texuniform[material]:
            continue
        seen.add(material)
        for side in np.flatnonzero(endless[geom]):
            model.mat_texrepeat[material, side] /= model.geom_size[geom, side]
