"""The task configs: all that the suites have, each made and stepped; and a user's own beside them."""

import subprocess
import sys
from functools import cache
from pathlib import Path

import gymnasium
import numpy as np
import pytest
import torch
from composed import composed_train

import acer_robot.configs
from acer_robot.commands import dm_control_tasks
from acer_robot.commands.option_docs import group_choices
from acer_robot.schema import TaskConfig
from acer_robot.tasks import make_task
from acer_robot.tasks.model.simulator import load_simulator

FOLDER = Path(acer_robot.configs.__path__[0]) / "task"
NAMES = sorted(group_choices("task"))
FROM_FILES = ("robot", "robot/go1", "robot/reach")
"""Robots whose model is a file that this package does not contain."""
TASKS = [name for name in NAMES if name not in ("gym", *FROM_FILES)]


composed_once = cache(composed_train)  # tests only read what it returns


def composed(*overrides):
    return composed_once(*overrides).task


def segments_of(*overrides):
    learner = composed_train(*overrides).learner
    return learner.segments, learner.segment_length, learner.replay_ratio


def test_family_settings_yield_to_paper_and_command_line():
    assert composed_once("task=walker2d").learner.critics == 2
    assert all(composed_once(f"task={name}").learner.critics == 1 for name in TASKS if "dmc/" in name)
    assert segments_of("task=walker2d") == (16, 8, 128)
    assert segments_of("task=dmc/walker-walk") == (32, 2, 128)
    assert segments_of("task=dmc/walker-walk", "learner=paper") == (1, 50, 4)
    assert composed_train("task=dmc/walker-walk", "learner.critics=3").learner.critics == 3
    deltas = {name: composed_once(f"task={name}").learner.delta for name in TASKS}
    assert {name for name, delta in deltas.items() if delta != 1.0} == {"walker2d"}
    assert deltas["walker2d"] == 0.1
    assert composed_train("task=walker2d", "learner.delta=0.5").learner.delta == 0.5
    embeddings = {name for name in TASKS if composed_once(f"task={name}").learner.embedding}
    assert embeddings == {"halfcheetah"} | {n for n in TASKS if "dmc/" in n and n != "dmc/fish-swim"}
    priorities = {name for name in TASKS if composed_once(f"task={name}").learner.priority_exponent}
    assert priorities == {"halfcheetah"}
    delayed = {name: composed_once(f"task={name}").learner.policy_every for name in TASKS}
    assert {name: every for name, every in delayed.items() if every != 1} == {"halfcheetah": 2}
    for preset in ("paper", "a3c"):
        learner = composed_train("task=halfcheetah", f"learner={preset}").learner
        assert (learner.embedding, learner.priority_exponent, learner.policy_every) == (0, 0.0, 1)


def test_the_dm_control_suite_is_complete():
    suite = load_simulator("dm_control.suite", rendering=False)
    assert [name for name in NAMES if "dmc/" in name] == sorted(f"dmc/{d}-{t}" for d, t in suite.ALL_TASKS)
    for name in NAMES:
        if "dmc/" in name:
            config = composed(f"task={name}")
            assert (config.suite, config.action_repeat) == ("dm_control", 2)
            assert config.id == name.removeprefix("dmc/")


def test_dm_control_tasks_have_files_only_where_needed():
    files = {path.stem for path in (FOLDER / "dmc").glob("*.yaml")}
    assert not files & set(dm_control_tasks.NAMES)
    for name in files:
        plain = TaskConfig(suite="dm_control", id=name, action_repeat=2)
        differs = composed_once(f"task=dmc/{name}").learner != composed_once("task=dmc/walker-walk").learner
        assert differs or composed(f"task=dmc/{name}") != plain
    for name in dm_control_tasks.NAMES:
        assert composed(f"task=dmc/{name}") == TaskConfig(suite="dm_control", id=name, action_repeat=2)


def test_gymnasiums_mujoco_tasks_are_complete():
    registered = [
        key
        for key, spec in gymnasium.registry.items()
        if key.endswith("-v5") and "mujoco" in str(spec.entry_point)
    ]
    assert len(registered) == 11
    short = {name: composed(f"task={name}") for name in TASKS if "/" not in name}
    assert {config.id for config in short.values()} == set(registered)
    for name, config in short.items():
        assert config == TaskConfig(suite="gymnasium", id=config.id)
        assert config.id.lower() == f"{name}-v5"


@pytest.mark.parametrize("name", TASKS)
def test_every_task_can_be_made_and_stepped(name):
    task = make_task(composed(f"task={name}"), num_envs=1, seed=0)
    spec = task.spec
    observations = task.reset()
    assert observations.shape == (1, spec.observation_size)
    assert [field.start for field in spec.observation] == [
        0,
        *(field.stop for field in spec.observation[:-1]),
    ]
    assert len({field.name for field in spec.observation}) == len(spec.observation)
    assert spec.time_limit >= 50
    result = task.step(torch.as_tensor(spec.bounds.to_command(np.zeros((1, spec.action_size)))))
    assert np.isfinite(result.next_observations).all()
    assert np.isfinite(result.rewards).all()
    assert result.env_steps[0] == spec.action_repeat == (2 if "dmc/" in name else 1)
    task.close()


def test_any_registered_id():
    config = composed("task=gym", "task.id=Pendulum-v1", "task.action_repeat=3")
    assert make_task(config, 1, 0).spec.control_dt == pytest.approx(0.15)


ROBOT = """
suite: gymnasium
id: my_robot:Arm-v0
kwargs: {limited: "false"}
action_repeat: 2
bounds:
  shoulder: [-0.5, 0.2]
"""

SCRIPT = """
from acer_robot.commands.compose import run_command
from acer_robot.schema import TaskConfig, TrainConfig
from acer_robot.tasks import make_task

def body(config):
    spec = make_task(config.task, 2, config.seed).spec
    print(spec.id, spec.bounds.to_dict(), spec.control_dt, spec.action_repeat)

run_command("train", TrainConfig, body)
"""


def test_a_users_own_robot_in_a_folder_of_its_own(tmp_path):
    (tmp_path / "mine" / "task").mkdir(parents=True)
    (tmp_path / "mine" / "task" / "my_robot.yaml").write_text(ROBOT)
    (tmp_path / "my_robot.py").write_text(
        (Path(__file__).parents[1] / "support" / "scripted_envs.py").read_text()
    )
    (tmp_path / "command.py").write_text(SCRIPT)
    arguments = [
        sys.executable,
        "command.py",
        "--config-dir",
        "./mine",
        "task=my_robot",
        "task.bounds={reach: [-1, 2]}",
    ]
    done = subprocess.run(arguments, cwd=tmp_path, capture_output=True, text=True)
    said = f"task.id='my_robot:Arm-v0' runs the code of my_robot: {tmp_path / 'my_robot.py'}"
    assert done.stderr.splitlines() == [said]
    limits = "{'names': ['shoulder', 'reach'], 'low': [-0.5, -1.0], 'high': [0.2, 2.0]}"
    assert done.stdout == f"gymnasium/my_robot:Arm-v0 {limits} 0.1 2\n"
    assert sorted(path.name for path in tmp_path.iterdir() if path.name != "__pycache__") == [
        "command.py",
        "mine",
        "my_robot.py",
    ]
