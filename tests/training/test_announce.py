"""What a run says before its first step and after its last."""

import dataclasses
import shlex

import pytest

from acer_robot.schema import CheckpointConfig, LearnerConfig, TrainConfig
from acer_robot.spec import ActionBounds, ObservationField, TaskSpec
from acer_robot.training import announce
from acer_robot.training.announce import MIB, Sizes, next_commands, start_block

SPEC = TaskSpec(
    "gymnasium/Robot-v1",
    (ObservationField("height", 0, 3, "m"),),
    ActionBounds(("hip", "knee"), (-1.0, -1.0), (1.0, 1.0)),
    0.05,
    5,
    1,
    1000,
    (),
)


@pytest.fixture
def sizes(tmp_path):
    learner = LearnerConfig(
        replay_ratio=32, segments=4, segment_length=16, compile=False, precision="float32"
    )
    config = TrainConfig(learner=learner, run_dir=str(tmp_path), steps=60_000)
    return Sizes(config, SPEC, 0, weights=8_000_000, learner=100 * MIB, replay=50 * MIB, memory=30 * MIB)


def test_block_names_task_sizes_memory_disk_and_updates(sizes, monkeypatch):
    monkeypatch.setattr(announce, "free_memory", lambda: 1000 * MIB)
    block = start_block(sizes)
    assert block[0] == "task: gymnasium/Robot-v1, 3 observations, 2 commands every 50 ms; 16 environments"
    assert block[1].startswith(
        "run: 60,000 environment steps, an evaluation of 10 episodes every 10,000; in "
    )
    assert block[2] == "learner: 2.00 million weights on cpu with threads=1"
    assert block[3].startswith(
        "memory: up to 280 MiB of the 1,000 MiB that are free for replay (30), learner (100) and copies for a "
        "checkpoint (150), beside"
    )
    assert block[4].startswith("disk: checkpoints take up to 650 MiB of the ")
    assert block[5].startswith("time: about 30,000 updates; ")


def test_block_of_a_resumed_run_counts_what_is_left(sizes):
    block = start_block(dataclasses.replace(sizes, step=30_000))
    assert "60,000 environment steps (goes on at step 30,000)" in block[1]
    assert "about 15,000 updates" in block[5]


@pytest.mark.parametrize(("kept", "copies"), [(True, "356"), (False, "100")])
def test_memory_counts_the_rows_that_a_checkpoint_copies(sizes, kept, copies):
    config = dataclasses.replace(sizes.config, checkpoint=CheckpointConfig(replay=kept))
    block = start_block(dataclasses.replace(sizes, config=config, replay=2**40))
    assert f"copies for a checkpoint ({copies})" in block[3]


def test_full_disk_is_named(sizes):
    assert (
        "make room, or set checkpoint.replay=false"
        in start_block(dataclasses.replace(sizes, replay=2**60))[4]
    )


def test_export_of_before_is_not_offered(tmp_path):
    (tmp_path / "export").mkdir()
    (tmp_path / "export/policy.pt").touch()
    first, *_ = next_commands(tmp_path, TrainConfig(steps=100, hand_over=False))[1:]
    assert first.split()[0] == "acer-export"
    assert first.endswith("the one in export/ is of before")


@pytest.mark.parametrize("exported", [True, False])
def test_next_commands_can_be_pasted(tmp_path, exported):
    run_dir = tmp_path / "ümlaut = (1), a"
    (run_dir / "export").mkdir(parents=True)
    if exported:
        (run_dir / "export/policy.pt").touch()
    first, *commands = next_commands(run_dir, TrainConfig(steps=100))
    parts = [shlex.split(command, comments=True) for command in commands]
    assert first == "next:"
    programs = ["acer-eval", "acer-deploy", "acer-render"] if exported else ["acer-export"]
    assert [part[0] for part in parts] == [*programs, "acer-report", "acer-train"]
    assert all(f'"{run_dir}"' in part[1] for part in parts)
    assert parts[-1][2] == "steps=200"


def test_one_is_no_plural(sizes):
    config = dataclasses.replace(sizes.config, num_envs=1, eval_episodes=1)
    bounds = ActionBounds(("knee",), (-1.0,), (1.0,))
    block = start_block(
        dataclasses.replace(
            sizes, config=config, spec=dataclasses.replace(SPEC, bounds=bounds), weights=4 * 850
        )
    )
    assert block[0].endswith(" 1 command every 50 ms; 1 environment")
    assert "an evaluation of 1 episode every" in block[1]
    assert block[2].startswith("learner: 850 weights on cpu")
