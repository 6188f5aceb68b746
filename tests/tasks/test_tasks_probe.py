"""What policy.json says of a task is measured: where commands arrive, how long a step takes, what step() returns."""

import numpy as np
import probed_envs  # registers the environments
import pytest

from acer_robot.deployment.policy_card import render_card
from acer_robot.errors import InputError
from acer_robot.schema import TaskConfig
from acer_robot.spec import TaskSpec
from acer_robot.tasks import make_task
from acer_robot.tasks.cpu.probe import _command, _moderate


def spec_of(task_id, suite="gymnasium", **options):
    task = make_task(TaskConfig(suite, task_id, **options), 1, 0)
    task.close()
    return task.spec


def refusal(task_id, **options):
    with pytest.raises(InputError) as caught:
        spec_of(task_id, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("habit", ["position", "swapped", "scaled", "scaled in place", "offset"])
def test_commands_that_do_not_arrive_are_the_environments(habit):
    spec = spec_of("Leg-v0", kwargs={"habit": habit})
    assert spec.bounds.to_dict() == {"names": ["action_0", "action_1"], "low": [-1.0] * 2, "high": [1.0] * 2}
    assert not spec.command_is_actuator
    assert spec.to_dict()["units"] == "the environment's"
    assert "arrived in MuJoCo's ctrl as" in spec.notes[0]


def test_commands_that_arrive_are_the_actuators():
    spec = spec_of("Leg-v0", bounds={"knee": [-0.5, 0.5]}, slew_rate={"hip": 3})
    assert spec.bounds.to_dict() == {"names": ["hip", "knee"], "low": [-1.0, -0.5], "high": [1.0, 0.5]}
    assert (spec.command_is_actuator, spec.slew_rate) == (True, (3.0, None))
    assert spec.to_dict()["units"] == "MuJoCo's ctrl"


@pytest.mark.parametrize(
    ("task_id", "seconds", "physics_steps"), [("Leg-v0", 0.02, 4), ("SkipLeg-v0", 0.06, 12)]
)
def test_step_time_is_the_simulations(task_id, seconds, physics_steps):
    spec = spec_of(task_id, action_repeat=2)
    assert (spec.control_dt, spec.frame_skip) == (physics_steps * 0.005 * 2, physics_steps)
    assert any(f"One step simulates {seconds:g} s, while" in note for note in spec.notes)


@pytest.mark.parametrize("dt", [np.float32(0.01), 0.01, lambda: 0.01, np.array(0.01, np.float32)])
def test_dt_of_every_kind(dt):
    assert spec_of("Odd-v0", kwargs={"dt": dt}).control_dt == 0.01


def test_dt_without_a_meaning_gives_way_to_the_frame_rate():
    for dt in (0.0, -1.0, np.inf, "fast", lambda joint: joint, np.zeros(2)):
        assert spec_of("Odd-v0", kwargs={"dt": dt}).control_dt == 0.04
    assert "render_fps']='fast'; expected a positive number" in refusal("Odd-v0", kwargs={"fps": "fast"})


def test_a_wrapper_that_repeats_is_seen_without_a_simulation():
    spec = spec_of("SkipOdd-v0")
    assert spec.control_dt == pytest.approx(0.12)
    assert spec.notes == ("One step takes 3 steps of the innermost environment, of 0.04 s each.",)


@pytest.mark.parametrize(
    ("suite", "task_id", "control_dt", "frame_skip"),
    [
        ("gymnasium", "HalfCheetah-v5", 0.05, 5),
        ("gymnasium", "Hopper-v5", 0.008, 4),
        ("gymnasium", "InvertedPendulum-v5", 0.04, 2),
        ("dm_control", "walker-walk", 0.025, 10),
        ("dm_control", "cartpole-swingup", 0.01, 1),
    ],
)
def test_standard_tasks_have_the_rates_of_old_files(suite, task_id, control_dt, frame_skip):
    spec = spec_of(task_id, suite)
    assert (spec.control_dt, spec.frame_skip) == (control_dt, frame_skip)
    assert spec.command_is_actuator
    assert spec.notes == ()


def test_commands_without_a_model_have_units_of_their_own():
    for task_id in ("RescaledLeg-v0", "SkipLeg-v0", "Pendulum-v1"):
        spec = spec_of(task_id)
        assert (spec.command_is_actuator, spec.bounds.names[0]) == (False, "action_0")


def test_joint_names_are_refused_where_commands_belong_to_none():
    reason = "'Leg-v0' are the environment's, so that none belongs to a joint: 0.1889 for hip arrived"
    position = {"habit": "position"}
    for options, name in (
        ({"bounds": {"knee": [-0.5, 0.5]}}, "task.bounds"),
        ({"slew_rate": {"knee": 3}}, "task.slew_rate"),
    ):
        message = refusal("Leg-v0", kwargs=position, **options)
        assert f"{name} names 'knee'" in message
        assert reason in message
    spec = spec_of("Leg-v0", kwargs=position, bounds={"action_1": [-0.5, 0.5]}, slew_rate={"action_0": 3})
    assert (spec.bounds.low, spec.slew_rate) == ((-1.0, -0.5), (3.0, None))


def test_running_statistics_are_noted_once(capsys):
    spec = spec_of("NormalizedLeg-v0")
    spec_of("NormalizedLeg-v0")
    assert any("NormalizeReward divides rewards" in note for note in spec.notes)
    said = capsys.readouterr().err
    assert (
        said.count("NormalizeObservation keeps running statistics in the task, and they are not in the") == 1
    )
    assert "takes a float32 observation as the task returns it" in card_of(spec)


def test_first_observation_must_be_finite():
    for value, shown in ((1e60, "1e+60"), (np.nan, "nan"), (-np.inf, "-inf")):
        message = refusal("Odd-v0", kwargs={"observation": np.array([0.0, value])})
        assert f"observation 1 of reset() is {shown}; expected a number that is finite" in message


def test_a_simulation_that_explodes_is_refused():
    message = refusal("Leg-v0", kwargs={"gear": 1e9, "timestep": 0.1})
    assert "the simulation becomes unstable and is reset at every command" in message


STEP = {
    "reward of shape (1,)": ({"reward": np.zeros(1)}, "the reward of step() is an array of shape (1,)"),
    "reward None": ({"reward": None}, "the reward of step() is None; expected one number"),
    "reward a word": ({"reward": "high"}, "the reward of step() is of type str: 'high'"),
    "reward complex": ({"reward": 1j}, "the reward of step() is of type complex"),
    "4 values": ({"step": (np.zeros(2), 0.0, False, {})}, "expected 5, got 4"),
    "terminated a word": ({"terminated": "False"}, "terminated of step() is of type str"),
    "truncated a number": ({"truncated": 1.0}, "truncated of step() is of type float"),
    "info None": ({"info": None}, "info of step() is None"),
    "reset without info": ({"reset": np.zeros(2)}, "reset() returns an array of shape (2,)"),
    "another width": ({"observation": np.zeros(3)}, "observation of reset() is an array of shape (3,)"),
    "another shape": ({"observation": np.zeros((1, 2))}, "shape (1, 2) and type float64; expected numbers of"),
    "ragged": ({"observation": [[1.0], 2.0]}, "observation of reset() is a list of 2 values"),
    "no observation": ({"observation": None}, "observation of reset() is None"),
    "raises": ({"error": ConnectionError("servo 3\nis off")}, "step() raises ConnectionError: servo 3 is off ("),
    "empty": ({"width": 0}, "which is empty; expected a width of 1 or more"),
}  # fmt: skip


@pytest.mark.parametrize("name", STEP)
def test_results_that_are_not_gymnasiums_are_refused(name):
    returned, fragment = STEP[name]
    message = refusal("Odd-v0", kwargs=returned)
    assert message.startswith("task.id='Odd-v0'")
    assert fragment in message


def test_reset_without_a_seed_is_refused(monkeypatch):
    monkeypatch.setattr(probed_envs.OddEnv, "reset", lambda self: (np.zeros(2, np.float32), {}))
    assert "reset(seed=0) raises TypeError" in refusal("Odd-v0")


def test_a_task_without_a_simulation_gets_one_command_at_rest():
    probed_envs.OddEnv.commands.clear()
    spec_of("Odd-v0", bounds={"action_1": [2.5, 3.0]})
    np.testing.assert_array_equal(probed_envs.OddEnv.commands, [[0.0, 2.5]])


def test_the_probe_stays_within_the_limits():
    low = np.array([-np.inf, -np.inf, 5.0, -3e38, 0.1, 2e3, -0.5])
    high = np.array([np.inf, -7.0, np.inf, 3e38, 0.1, 2e3, 0.25])
    lower, upper = _moderate(low, high)
    assert (lower[[0, 1, 2]].tolist(), upper[[0, 1, 2]].tolist()) == ([-1.0, -9.0, 5.0], [1.0, -7.0, 7.0])
    commands = np.array([_command(step, lower, upper) for step in range(4)])
    assert ((commands >= low) & (commands <= high) & (np.abs(commands) <= 2e3)).all()
    wide = upper > lower
    assert all(len(np.unique(column)) == 4 for column in commands.T[wide])


def test_a_spec_of_an_older_file_has_actuator_commands():
    data = spec_of("Leg-v0").to_dict()
    for name in ("command_is_actuator", "notes", "units"):
        del data[name]
    spec = TaskSpec.from_dict(data)
    assert (spec.command_is_actuator, spec.notes) == (True, ())


def card_of(spec):
    metadata = {
        "task": spec.to_dict(),
        "training": {"steps": 1, "seed": 0, "config_sha256": "", "revision": None, "versions": None},
        "algorithm": "",
        "fallback": [0.0] * spec.action_size, "rest": [0.0] * spec.action_size,
        "normalizer": {"enabled": True, "limit": 10.0}, "file_sha256": "",
        "evaluation": None, "verification": {}, "other_formats": {}, "learner": {}, "git_revision": "",
        "weights_sha256": "", "versions": {},
    }  # fmt: skip
    return render_card(metadata)


def test_the_card_says_what_was_seen():
    card = card_of(spec_of("Leg-v0", kwargs={"habit": "position"}))
    assert "in the environment's units: they are no actuator's" in card
    assert "- The commands are the environment's, not an actuator's: 0.1889 for hip arrived" in card
    assert "MuJoCo's `ctrl`" not in card
    card = card_of(spec_of("Hopper-v5"))
    assert "raw float32 observation, not normalised or scaled" in card
    assert "in actuator units (MuJoCo's `ctrl`)" in card


def test_the_card_escapes_names():
    spec = spec_of("Leg-v0", kwargs={"hip": "L|knee`*", "knee": "колено"})
    assert "| L\\|knee\\`\\* | -1 | 1 | 0 | any | 0 |\n| колено | -1 |" in card_of(spec)
