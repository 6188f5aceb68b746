"""Options are checked before anything is created: ranges, sizes, and pairs that cannot be had together."""

import dataclasses
import gc
import re

import pytest
from composed import composed_train

from acer_robot import memory
from acer_robot.commands.deploy import DeployConfig, deploy
from acer_robot.errors import InputError
from acer_robot.experience.update_counter import UpdateSchedule
from acer_robot.reporting.video import VideoOptions, check_video
from acer_robot.schema import CheckpointConfig, CollectorConfig, LearnerConfig, TaskConfig, TrainConfig
from acer_robot.spec import ActionBounds
from acer_robot.tasks import make, make_task
from acer_robot.training.feasible import check_joints, first_update
from acer_robot.training.validate import RANGES, check_train


def check(*options):
    check_train(composed_train("task=gym", "task.id=Pendulum-v1", "run_dir=new", *options))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["steps=500"], ["steps=500", "learner.learning_starts=1000", "steps=1008 or more"]),
        (["num_envs=256", "steps=1500"], ["num_envs=256", "learner.segment_length=8", "steps=2048"]),
        (
            ["learner.segment_length=200", "learner.learning_starts=20", "steps=3000"],
            ["learner.segment_length=200", "steps=3200"],
        ),
        (["learner=a3c", "steps=700"], ["learner.segment_length=50", "steps=800"]),
        (["learner=a3c", "learner.segments=5"], ["learner.segments=5", "does not divide num_envs=16"]),
        (["learner=a3c", "learner.segments=32"], ["set num_envs to a multiple of it"]),
        (["steps=3000", "task.action_repeat=40"], ["learner.learning_starts=1000", "steps=40320"]),
        (["learner.replay_ratio=0.001"], ["learner.replay_ratio=0.001", "learner.segments=16"]),
        (["num_envs=200", "learner.replay_size=1000"], ["learner.segment_length=8", "replay_size=1600"]),
        (
            ["learner.estimator=tis", "learner.entropy_target=null", "learner.entropy_target_final=null"],
            ["learner.estimator=tis", "learner.c=5"],
        ),
    ],
)
def test_options_that_exclude_each_other(options, words):
    with pytest.raises(InputError) as refused:
        check(*options)
    for word in words:
        assert word in str(refused.value)


@pytest.mark.parametrize(
    "options",
    [
        ["steps=3000", "num_envs=4", "eval_every=1500", "eval_episodes=1"],
        ["steps=1008"],
        ["num_envs=256", "steps=2048"],
        [
            "collector=overlapped",
            "collector.workers=4",
            "collector.segment_length=8",
            "learner.replay_size=32",
        ],
        ["learner=a3c", "steps=800"],
        ["learner.c=inf", "learner.correction=none"],
        ["learner.mean_bound=null", "learner.deployed_alpha=null", "learner.std_min_final=null"],
    ],
)
def test_options_of_short_runs_and_nulls_are_fine(options):
    check(*options)


@pytest.mark.parametrize("num_envs", [1, 3, 16])
@pytest.mark.parametrize(("starts", "length", "ratio"), [(0, 8, 16.0), (100, 8, 0.5), (20, 50, 3.0)])
def test_first_update_is_when_the_schedule_has_it(num_envs, starts, length, ratio):
    options = LearnerConfig(segment_length=length, segments=4, replay_ratio=ratio, learning_starts=starts)
    schedule, commands = UpdateSchedule(options, 0), 0
    while True:
        commands += 1
        if schedule.updates(commands * num_envs) and commands >= length:
            break
    assert first_update(options, num_envs) == commands


def outside(low, high):
    """Return values just outside a range, of its type."""
    if isinstance(low, int):
        return low - 1, int(high) + 1
    return low - 1e-3 if low == 0.0 else low - abs(low) / 2, high * 2.0, float("nan")


@pytest.mark.parametrize("name", RANGES)
def test_every_number_has_a_range(name):
    for number in outside(*RANGES[name]):
        config = TrainConfig(TaskConfig("gymnasium", "Pendulum-v1"), run_dir="new")
        *group, option = name.split(".")
        part = getattr(config, group[0]) if group else config
        setattr(part, option, [number] if option == "hidden" else number)
        with pytest.raises(InputError, match=rf"{name}=.*is out of range"):
            check_train(config)


def test_no_number_is_left_without_a_range():
    def numbers(schema, prefix=""):
        fields = dataclasses.fields(schema)
        return {prefix + field.name for field in fields if re.search(r"\b(int|float)\b", field.type)}

    ranged = set(RANGES) | {"task.low_pass_hz"}  # checked where the task is made
    groups = {
        "": TrainConfig,
        "learner.": LearnerConfig,
        "task.": TaskConfig,
        "checkpoint.": CheckpointConfig,
        "collector.": CollectorConfig,
    }
    assert set().union(*(numbers(schema, prefix) for prefix, schema in groups.items())) == ranged


@pytest.mark.parametrize(
    "option",
    [
        "hidden=[1000000000]",
        "critics=1000000000",
        "sdn_samples=1000000000",
        "advantage_hidden=1000000000",
        "hidden=[1000000,1000000]",
    ],
)
def test_size_beyond_the_memory_is_refused_with_the_figure(option):
    with pytest.raises(InputError, match=rf"learner\.{option.partition('=')[0]}=.* GiB of memory, but only"):
        check(f"learner.{option}")


def test_environments_beyond_the_memory_are_refused(monkeypatch):
    used = iter((0, 700 * 2**20))
    monkeypatch.setattr(make, "used_memory", lambda: next(used))
    with pytest.raises(
        InputError, match=r"1,000,000 environments of gymnasium/Pendulum-v1 would take 97,655\.\d GiB"
    ):
        make_task(TaskConfig("gymnasium", "Pendulum-v1"), 1_000_000, 0)


def test_memory_is_measured():
    gc.collect()  # what other tests left is not to be freed in between
    before = memory.used_memory()
    block = bytearray(b"1") * 200_000_000  # the allocator may give some 10 MB back meanwhile
    assert 160e6 < memory.used_memory() - before < 240e6
    assert memory.free_memory() > len(block)


@pytest.mark.parametrize(
    ("task", "words"),
    [
        (TaskConfig("gymnasium", "Pendulum-v1", action_repeat=10**9), "task.action_repeat"),
        (TaskConfig("gymnasium", "Pendulum-v1", low_pass_hz=1e-300), "task.low_pass_hz"),
    ],
)
def test_range_of_a_task_option(task, words):
    with pytest.raises(InputError, match=f"{words}=.* is out of range"):
        make_task(task, 1, 0)


@pytest.mark.parametrize(
    ("kwargs", "words"),
    [
        ({"frame_skip": 0}, "cannot be made with task.kwargs={'frame_skip': 0}"),
        ({"xml_file": None}, "cannot be made with task.kwargs={'xml_file': None}"),
        ({"reset_noise_scale": float("nan")}, "holds a NaN"),
        ({"healthy_z_range": [0.7, float("nan")]}, "holds a NaN"),
    ],
)
def test_argument_that_a_task_cannot_take(kwargs, words):
    with pytest.raises(InputError) as refused:
        make_task(TaskConfig("gymnasium", "Hopper-v5", kwargs), 1, 0)
    assert words in str(refused.value)


def test_task_whose_joints_are_all_fixed_has_nothing_to_learn():
    spec = make_task(TaskConfig("gymnasium", "Pendulum-v1"), 1, 0).spec
    check_joints(spec)
    with pytest.raises(InputError, match="every joint of gymnasium/Pendulum-v1 has low = high"):
        check_joints(dataclasses.replace(spec, bounds=ActionBounds(("a", "b"), (1.0, 0.0), (1.0, 0.0))))


def test_range_of_an_option_of_deploy_and_render(tmp_path):
    with pytest.raises(InputError, match=r"command_delay=.*is out of range"):
        deploy(DeployConfig(policy="policy.pt", command_delay=2**63 - 1))
    with pytest.raises(InputError, match="max_seconds=inf is out of range"):
        check_video(tmp_path / "video.mp4", VideoOptions(max_seconds=float("inf")))


def test_policy_without_a_gradient_is_refused():
    with pytest.raises(InputError, match=r"learner\.correction=none takes it away, so no policy is learnt"):
        check("learner.correction=none")
    check("learner.correction=none", "learner.c=5")


@pytest.mark.parametrize("samples", [0, 1, 5])
def test_antithetic_samples_without_pairs_are_refused(samples):
    with pytest.raises(InputError, match=rf"learner\.sdn_samples={samples} has no pairs"):
        check("learner.sdn_antithetic=true", f"learner.sdn_samples={samples}")


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ("learner.estimator=tis", "needs the errors of a Q, and learner.estimator=tis has none"),
        ("learner.on_policy=true", "draws from a replay, and learner.on_policy=true draws none"),
    ],
)
def test_what_excludes_priorities_is_refused(option, words):
    options = [option, "learner.entropy_target=null", "learner.entropy_target_final=null", "learner.c=5"]
    with pytest.raises(InputError, match="learner.priority_exponent=0.4 " + words):
        check("learner.priority_exponent=0.4", *options)
    check(*options)
