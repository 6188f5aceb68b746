"""What a robot stands on: a floor and a light, added where a file has none; and sensors of its feet."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from acer_robot.errors import InputError
from acer_robot.tasks.robot.home import distances_to_floor

if TYPE_CHECKING:
    import numpy.typing as npt
    from mujoco import MjModel, MjSpec

FLOOR = "floor"
NEAR = 0.03
"""Metres above the floor within which a leg's lowest part is a foot in the home pose."""
CONTACT = "contact:"
"""Prefix of the sensors that count a foot's contacts."""


def add_scene(spec: MjSpec) -> None:
    """Add a floor of checks, a sky and a light, where the file has no ground in its world, no sky, no light."""
    import mujoco

    world = spec.worldbody
    grounds = (mujoco.mjtGeom.mjGEOM_PLANE, mujoco.mjtGeom.mjGEOM_HFIELD)
    if not any(geom.type in grounds for geom in world.geoms):
        name = FLOOR if spec.geom(FLOOR) is None else "added_floor"
        spec.add_texture(
            name=name,
            type=mujoco.mjtTexture.mjTEXTURE_2D,
            builtin=mujoco.mjtBuiltin.mjBUILTIN_CHECKER,
            rgb1=[0.32, 0.38, 0.45],
            rgb2=[0.24, 0.29, 0.36],
            width=256,
            height=256,
        )
        textures = [""] * int(mujoco.mjtTextureRole.mjNTEXROLE)
        textures[int(mujoco.mjtTextureRole.mjTEXROLE_RGB)] = name
        spec.add_material(name=name, textures=textures, texrepeat=[2, 2], texuniform=True)
        everything = 2**31 - 1
        world.add_geom(
            name=name,
            type=mujoco.mjtGeom.mjGEOM_PLANE,
            size=[20, 20, 0.05],
            material=name,
            contype=everything,
            conaffinity=everything,
            condim=3,
            friction=[1.0, 0.005, 0.0001],
            rgba=[1.0, 1.0, 1.0, 1.0],
            group=0,
        )  # each value is given: the file's default class is the robot's
    skybox = mujoco.mjtTexture.mjTEXTURE_SKYBOX
    if not any(texture.type == skybox for texture in spec.textures):
        spec.add_texture(
            name="added_sky",
            type=skybox,
            builtin=mujoco.mjtBuiltin.mjBUILTIN_GRADIENT,
            rgb1=[0.6, 0.7, 0.8],
            rgb2=[0.3, 0.4, 0.5],
            width=64,
            height=384,
        )
    if not world.lights:
        kind = mujoco.mjtLightType.mjLIGHT_DIRECTIONAL
        world.add_light(pos=[0, 0, 4], dir=[0.2, 0.2, -1], type=kind, diffuse=[0.7, 0.7, 0.7])


def floor_of(model: MjModel) -> int | None:
    """Return the number of the first plane of the world; None: the ground is none."""
    import mujoco

    plane = int(mujoco.mjtGeom.mjGEOM_PLANE)
    found = np.flatnonzero((np.asarray(model.geom_type) == plane) & (np.asarray(model.geom_bodyid) == 0))
    return int(found[0]) if len(found) else None


def find_feet(model: MjModel, home: npt.NDArray[np.float64], floor: int) -> list[str]:
    """Return the geoms that are feet: of each body at the end of a chain, the lowest one that collides.

    Raises:
        InputError: if none is close to the floor in the home pose, or one has no name.
    """
    distances = distances_to_floor(model, home, floor)
    parents = set(model.body_parentid.tolist())
    feet = []
    for body in range(1, model.nbody):
        own = [geom for geom in distances if model.geom_bodyid[geom] == body]
        if body in parents or not own:
            continue
        lowest = min(own, key=lambda geom: distances[geom])
        if distances[lowest] > NEAR:
            continue
        if not model.geom(lowest).name:
            raise InputError(
                f"the lowest geom of body {model.body(body).name!r}, a foot, has no name; name it in the file"
            )
        feet.append(str(model.geom(lowest).name))
    if not feet:
        raise InputError(
            "no foot of the robot is within 3 cm of the floor in the home pose: no body at the end of a chain touches "
            "it; give another pose: task.home={JOINT: ANGLE}"
        )
    return feet


def add_contact_sensors(spec: MjSpec, geoms: Sequence[str]) -> None:
    """Add a sensor for each geom: the number of its contacts, in sensordata after the file's own sensors."""
    import mujoco

    for name in geoms:
        sensor = spec.add_sensor(
            name=CONTACT + name,
            type=mujoco.mjtSensor.mjSENS_CONTACT,
            objtype=mujoco.mjtObj.mjOBJ_GEOM,
            objname=name,
        )
        sensor.intprm[0], sensor.intprm[1], sensor.intprm[2] = 1, 0, 1  # found, no reduction, one slot
