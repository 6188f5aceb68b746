"""Equality constraints that couple the joints of a robot: such joints have no positions of their own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from acer_robot.errors import InputError
from acer_robot.tasks.model.moving_body import loose_objects

if TYPE_CHECKING:
    from mujoco import MjModel


def check_uncoupled(model: MjModel, site: int) -> None:
    """Raise InputError if an active equality couples a joint that moves a site."""
    moving = joints_above(model, int(model.site_bodyid[site]))
    for equality in range(model.neq):
        coupled = coupled_joints(model, equality) & moving if model.eq_active0[equality] else set()
        if coupled:
            raise InputError(
                f"the equality {model.equality(equality).name or equality!r} of the file couples joint "
                f"{model.joint(min(coupled)).name!r}, which moves the site {model.site(site).name!r}, and places to "
                f"reach come from joints that are drawn each by itself; remove it from the file, or give it active="
                f'"false"'
            )


def coupled_joints(model: MjModel, equality: int) -> set[int]:
    """Return the hinges and slides whose positions depend on each other, or are fixed, by an equality.

    Bodies that it ties to each other couple the joints between them. A loose object that is tied to a robot follows it.
    """
    import mujoco

    kinds, kind = mujoco.mjtEq, int(model.eq_type[equality])
    objects = [int(i) for i in (model.eq_obj1id[equality], model.eq_obj2id[equality]) if i >= 0]
    joints: set[int] = set(objects) if kind == kinds.mjEQ_JOINT else set()
    bodies: set[int] = set()
    if kind in (kinds.mjEQ_CONNECT, kinds.mjEQ_WELD):
        on_sites = model.eq_objtype[equality] == mujoco.mjtObj.mjOBJ_SITE
        bodies = {int(model.site_bodyid[i]) if on_sites else i for i in objects}
    elif kind == kinds.mjEQ_TENDON:
        starts = [(int(model.tendon_adr[i]), int(model.tendon_num[i])) for i in objects]
        wraps = [wrap for start, count in starts for wrap in range(start, start + count)]
        parts = [(int(model.wrap_type[wrap]), int(model.wrap_objid[wrap])) for wrap in wraps]
        joints = {i for part, i in parts if part == mujoco.mjtWrap.mjWRAP_JOINT}
        bodies = {int(model.site_bodyid[i]) for part, i in parts if part == mujoco.mjtWrap.mjWRAP_SITE}
    loose = loose_objects(model)
    above = [joints_above(model, body) for body in bodies if int(model.body_rootid[body]) not in loose]
    return joints | {joint for part in above for joint in part if not all(joint in other for other in above)}


def joints_above(model: MjModel, body: int) -> set[int]:
    """Return the hinges and slides between a body and the world."""
    import mujoco

    found: set[int] = set()
    while body:
        first = int(model.body_jntadr[body])
        found |= set(range(first, first + int(model.body_jntnum[body])))
        body = int(model.body_parentid[body])
    return {joint for joint in found if model.jnt_type[joint] != mujoco.mjtJoint.mjJNT_FREE}
