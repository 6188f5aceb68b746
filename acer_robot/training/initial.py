"""A new run that starts with the networks of another one."""

from __future__ import annotations

from pathlib import Path

from acer_robot.errors import InputError
from acer_robot.learner.learner import Learner
from acer_robot.run_folder.checkpoints import load_run, read_checkpoint, retired_in_use
from acer_robot.spec import TaskSpec

_TAKEN = (
    "normalizer.",
    "actor.",
    "average_actor.",
    "deployed_actor.",
    "critic.",
    "target_critic.",
    "embeddings.",
)
"""Networks with the embedding that the critics read, and observation statistics; the optimisers, the temperature and
the counters start anew."""


def take_networks(learner: Learner, spec: TaskSpec, run_dir: Path) -> None:
    """Put networks and observation statistics of a run's latest checkpoint into a new learner.

    Raises:
        InputError: if there is no readable checkpoint, or its networks are of another shape.
    """
    there = load_run(run_dir).spec  # checks that the content fits together
    content = read_checkpoint(run_dir)
    modules, retired = content["learner"]["modules"], retired_in_use(content["config"])
    no_more = f"; this version no longer has {', '.join(retired)} of that run" if retired else ""
    taken = {name: value for name, value in modules.items() if name.startswith(_TAKEN)}
    own = {name: value for name, value in learner.state_dict().items() if name.startswith(_TAKEN)}
    for name in sorted(own.keys() | taken.keys()):
        shapes = [list(state[name].shape) if name in state else None for state in (taken, own)]
        if shapes[0] != shapes[1]:
            raise InputError(
                f"init_from={run_dir} cannot be used: its {name} has the shape {shapes[0]}, and the new run's has "
                f"{shapes[1]}; its task is {there.id} and the new one {spec.id}; give a task of the same widths and "
                f"the same learner.* options of the networks{no_more}"
            )
    learner.load_state_dict(taken, strict=False)
