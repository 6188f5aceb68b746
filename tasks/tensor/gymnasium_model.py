"""The models of Gymnasium's MuJoCo tasks, and what their observations and commands are called."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from acer_robot.spec import ActionBounds, ObservationField
from acer_robot.tasks.model.layout import fields, model_layout
from acer_robot.tasks.model.names import actuator_names
from acer_robot.tasks.model.simulator import load_simulator, quiet_building

if TYPE_CHECKING:
    from mujoco import MjModel


def gymnasium_model(file: str) -> MjModel:
    """Return a model that Gymnasium installs, such as "half_cheetah.xml"."""
    mujoco = load_simulator("mujoco", rendering=False)
    with quiet_building():
        model: MjModel = mujoco.MjModel.from_xml_path(gymnasium_file(file))
    return model


def gymnasium_file(file: str) -> str:
    """Return the path of a model that Gymnasium installs."""
    import gymnasium

    assert gymnasium.__file__ is not None
    return str(Path(gymnasium.__file__).parent / "envs" / "mujoco" / "assets" / file)


def actuator_bounds(model: MjModel) -> ActionBounds:
    """Return joint names and control ranges of a model whose actuators all have a range."""
    low, high = model.actuator_ctrlrange.T.tolist()
    return ActionBounds(actuator_names(model), tuple(low), tuple(high))


def layout_of(task_id: str, model: MjModel, skipped: int, **blocks: int) -> tuple[ObservationField, ...]:
    """Name an observation of qpos without its first `skipped` entries, qvel, and further `blocks` of these widths."""
    structure = {"skipped_qpos": skipped, "qpos": model.nq - skipped, "qvel": model.nv, **blocks}
    size = model.nq - skipped + model.nv + sum(blocks.values())
    return fields(model_layout(task_id, model, structure, size))
