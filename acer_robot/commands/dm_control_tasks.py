"""The tasks of dm_control's suite as choices of `task=dmc/NAME`, without one file for each."""

from __future__ import annotations

from hydra.core.config_store import ConfigStore

NAMES = (
    "acrobot-swingup", "acrobot-swingup_sparse", "ball_in_cup-catch", "cartpole-balance",
    "cartpole-balance_sparse", "cartpole-swingup", "cartpole-swingup_sparse", "cartpole-three_poles",
    "cartpole-two_poles", "cheetah-run", "dog-fetch", "dog-run", "dog-stand", "dog-trot", "dog-walk",
    "finger-spin", "finger-turn_easy", "finger-turn_hard", "fish-upright", "hopper-hop",
    "hopper-stand", "humanoid-run", "humanoid-run_pure_state", "humanoid-stand", "humanoid-walk",
    "humanoid_CMU-run", "humanoid_CMU-stand", "humanoid_CMU-walk", "manipulator-bring_ball",
    "manipulator-bring_peg", "manipulator-insert_ball", "manipulator-insert_peg", "pendulum-swingup",
    "point_mass-easy", "point_mass-hard", "quadruped-escape", "quadruped-fetch", "quadruped-run",
    "quadruped-walk", "reacher-easy", "reacher-hard", "stacker-stack_2", "stacker-stack_4",
    "swimmer-swimmer15", "swimmer-swimmer6", "walker-run", "walker-stand", "walker-walk",
)  # fmt: skip
"""Tasks that need only their name. Others have a file in configs/task/dmc.

A test compares both with the suite. We do not ask the suite itself: its import takes too long at every start.
"""


def store_dm_control_tasks() -> None:
    """Make `task=dmc/NAME` known to Hydra for every one of NAMES."""
    for name in NAMES:
        node = {
            "defaults": ["/family/dm_control@_global_", "_self_"],
            "suite": "dm_control",
            "id": name,
            "action_repeat": 2,
        }
        ConfigStore.instance().store(group="task/dmc", name=name, node=node)
