"""The file must earn in its task what the training-side policy earns there."""

import dataclasses
import json

import gymnasium
import numpy as np
import pytest
import torch
from exported import make_policy, make_run, quick_export
from gymnasium.spaces import Box
from robots import walker, walker_config

from acer_robot.deployment import export as deploy
from acer_robot.deployment.closed_loop import compare
from acer_robot.deployment.export import describe
from acer_robot.deployment.recorder import Recorder
from acer_robot.errors import InputError
from acer_robot.policies.exported.file import load_exported, save_exported
from acer_robot.policies.exported.module import ExportedPolicy
from acer_robot.run_folder.recording import Recording, commands_of_an_episode, load_recording, save_recording
from acer_robot.schema import TaskConfig
from acer_robot.tasks import make_task
from acer_robot.tasks.interface import StepResult


class PaidByCommand(gymnasium.Env):
    """Random observations; the reward is the sum of the commands."""

    metadata = {"render_modes": [], "render_fps": 50}  # noqa: RUF012

    def __init__(self):
        self.observation_space = Box(-np.inf, np.inf, (3,), np.float64)
        self.action_space = Box(np.array([0.0, 1.0], np.float32), np.array([2.0, 3.0], np.float32))

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return self.np_random.standard_normal(3), {}

    def step(self, action):
        return self.np_random.standard_normal(3), float(action.sum()), False, False, {}


gymnasium.register("PaidByCommand-v0", entry_point=PaidByCommand, max_episode_steps=120)


class UnevenEpisodes(PaidByCommand):
    """One episode in ten ends at each step."""

    def step(self, action):
        observation, reward, _, _, info = super().step(action)
        return observation, reward, bool(self.np_random.random() < 0.1), False, info


gymnasium.register("UnevenEpisodes-v0", entry_point=UnevenEpisodes, max_episode_steps=120)


class Timid(ExportedPolicy):
    """Goes only nine tenths of the way to where it should."""

    def _command(self, offset):
        self.last_move = self._next_move(offset.nan_to_num_(0.0), self.last_move)
        self.started = True
        return (self.rest + 0.9 * self.last_move).clamp_(self.low, self.high)


def run_of(task):
    made = make_task(task, 1, 0)
    run = make_run(make_policy(made.spec.input_size, 2))
    run = dataclasses.replace(run, spec=made.spec, config=dataclasses.replace(run.config, task=task))
    made.close()
    return run


@pytest.fixture(scope="module")
def run():
    return run_of(TaskConfig("gymnasium", "PaidByCommand-v0", slew_rate={"action_0": 30.0}))


@pytest.mark.parametrize(
    "limit", [{"slew_rate": {"action_0": 30.0}}, {"low_pass_hz": 4.0}], ids=["slew", "low-pass"]
)
@pytest.mark.parametrize("repeat", [1, 2])
def test_episodes_of_different_lengths_are_compared(tmp_path, limit, repeat):
    """A task that starts anew in one environment resets its limit of the rate; the file goes on."""
    run, file = (
        run_of(TaskConfig("gymnasium", "UnevenEpisodes-v0", action_repeat=repeat, **limit)),
        tmp_path / "p.pt",
    )
    save_exported(ExportedPolicy(run.policy, run.spec), describe(run), file)
    loop = compare(run, file, episodes=18, seed=7)
    assert len(set(loop.evaluation["returns"])) == 18
    if limit.get("slew_rate"):
        save_exported(Timid(run.policy, run.spec), describe(run), file)
        with pytest.raises(InputError, match="check 'closed loop' failed: at command 0 of episode"):
            compare(run, file, episodes=18, seed=7)


def test_honest_file_is_scored_with_its_states_in_order(run, tmp_path):
    file = tmp_path / "policy.pt"
    save_exported(ExportedPolicy(run.policy, run.spec), describe(run), file)
    loop = compare(run, file, episodes=3, seed=7)
    assert len(loop.evaluation["returns"]) == 3
    np.testing.assert_allclose(
        loop.evaluation["return_mean"], loop.evaluation["policy_return_mean"], rtol=1e-5
    )
    assert loop.observations.shape == (3 * 120, 3)
    assert loop.sequence.shape == (100, 3)
    np.testing.assert_array_equal(loop.sequence, loop.observations[: 3 * 100 : 3])
    # Replaying the sequence in the simulator's first environment gives the same states.
    task = make_task(load_exported(file).task_config, 3, 7)
    np.testing.assert_array_equal(task.reset()[0], loop.sequence[0])
    task.close()


def test_file_with_other_commands_is_refused_and_leaves_nothing(run, tmp_path, monkeypatch):
    monkeypatch.setattr(deploy, "ExportedPolicy", Timid)
    with pytest.raises(InputError, match="check 'closed loop' failed: at command 0 of episode"):
        quick_export(run, tmp_path / "export", episodes=3)
    assert list((tmp_path / "export").iterdir()) == []


@pytest.mark.usefixtures("checks_in_this_process")
def test_export_with_episodes_keeps_states_and_score(run, tmp_path):
    quick_export(run, tmp_path, episodes=3, seed=4)
    score = json.loads((tmp_path / "evaluation.json").read_text())
    assert score == json.loads((tmp_path / "policy.json").read_text())["evaluation"]
    assert (score["episodes"], score["seed"]) == (3, 4)
    with np.load(tmp_path / "test_vectors.npz") as arrays:
        assert len(np.unique(arrays["observations"], axis=0)) == 256, "the states are not from the episodes"


@pytest.mark.usefixtures("checks_in_this_process")
def test_export_records_the_first_episodes(run, tmp_path):
    quick_export(run, tmp_path, episodes=5, seed=4)
    recording = load_recording(tmp_path / "episodes.npz", 3, 2)
    assert recording.lengths.tolist() == [120, 120, 120]
    assert recording.whole.all()
    np.testing.assert_allclose(recording.commands.sum(axis=1), recording.rewards, rtol=1e-6)
    score = json.loads((tmp_path / "evaluation.json").read_text())
    got = [recording.rewards[rows].sum() for rows in recording.episodes()]
    np.testing.assert_allclose(got, score["returns"][:3], rtol=1e-5)
    quick_export(run, tmp_path, episodes=0)
    assert not (tmp_path / "episodes.npz").exists(), "it would be of the earlier file"


def test_recording_ends_with_its_episode(run):
    recorder = Recorder(run.spec, 2, None)
    for step in range(4):
        ended = torch.tensor([step == 1, step == 3])
        seen, paid = torch.full((2, 5), float(step)), torch.tensor([step, step]).double()
        done = StepResult(seen, seen, paid, ended, torch.zeros(2, dtype=torch.bool), torch.ones(2).long())
        recorder.watch(seen, seen[:, :2], done)
    recording = recorder.recording()
    assert recording.lengths.tolist() == [2, 4]
    assert recording.rewards.tolist() == [0.0, 1.0, 0.0, 1.0, 2.0, 3.0]
    assert recording.observations.shape == (6, 3), "the last command is no measurement"


def test_recording_has_joints_feet_and_terms_of_the_reward(tmp_path):
    task = make_task(TaskConfig("gymnasium", "HalfCheetah-v5"), 2, 0)
    recorder = Recorder(task.spec, 2, task)
    observations = task.reset()
    for _ in range(30):
        command = torch.zeros(2, task.spec.action_size)
        result = task.step(command)
        recorder.watch(observations, command, result)
        observations = result.observations
    task.close()
    save_recording(recorder.recording(), tmp_path / "episodes.npz")
    recording = load_recording(tmp_path / "episodes.npz", 17, 6)
    assert recording.joints.names[:4] == ("rootx", "rootz", "rooty", "bthigh")
    assert recording.joints.units[:3] == ("m", "m", "rad")
    # An observation has all positions but x, then all velocities; it is the one before the command.
    before = recording.observations[1:30]
    np.testing.assert_allclose(recording.joints.values[:29, 1:9], before[:, :8], atol=1e-6)
    np.testing.assert_allclose(recording.joints.values[:29, 9:], before[:, 8:], atol=1e-5)
    assert recording.feet.names == ("bfoot", "ffoot")
    assert not recording.feet.values[0].any(), "it begins above the ground"
    assert recording.feet.values[29].all(), "it has landed"
    np.testing.assert_allclose(recording.terms.values.sum(axis=1), recording.rewards, atol=1e-6)


def recorded(task, steps):
    """Return the recording of a task's first steps with commands of zero."""
    recorder = Recorder(task.spec, task.num_envs, task)
    observations = task.reset()
    for _ in range(steps):
        command = torch.zeros(task.num_envs, task.spec.action_size, dtype=torch.float64)
        result = task.step(command)
        recorder.watch(observations, command, result)
        observations = result.observations
    task.close()
    return recorder.recording()


def test_recording_of_a_tensor_task_has_joints_and_terms():
    recording = recorded(make_task(TaskConfig("gymnasium", "HalfCheetah-v5", backend="batch"), 2, 0), 30)
    assert recording.joints.names[:4] == ("rootx", "rootz", "rooty", "bthigh")
    second = slice(31, 60)  # world 1 has numbers of its own
    for rows, before in ((slice(0, 29), slice(1, 30)), (slice(30, 59), second)):
        np.testing.assert_allclose(
            recording.joints.values[rows, 1:9], recording.observations[before, :8], atol=1e-6
        )
    assert recording.feet.names == ("bfoot", "ffoot")
    assert recording.feet.values[29].all(), "it has landed"
    assert recording.terms.names == ("forward", "control")
    np.testing.assert_allclose(recording.terms.values.sum(axis=1), recording.rewards, atol=1e-6)


def test_recording_of_a_legged_robot_has_its_feet(tmp_path):
    xml = walker().replace("left_foot", "left_end").replace("right_foot", "right_end")
    recording = recorded(make_task(walker_config(tmp_path, xml), 1, 0), 12)
    assert recording.feet.names == ("left_end", "right_end"), "found by where they are, not by their names"
    assert recording.feet.values.any(axis=0).all()
    assert recording.joints.names == ("left_hip", "right_hip")
    assert {"velocity", "effort", "air_time"} <= set(recording.terms.names)
    np.testing.assert_allclose(recording.terms.values.sum(axis=1), recording.rewards, atol=1e-5)


def test_last_command_of_an_episode_is_measured_in_that_episode(tmp_path):
    task = make_task(walker_config(tmp_path, kwargs={"seconds": 0.2}), 1, 0)
    measured = task.measure(1)
    task.reset()
    for _ in range(5):
        result = task.step(torch.tensor([task.spec.bounds.rest], dtype=torch.float64))
    assert result.truncated.all()
    names = [field.name for field in task.spec.observation]
    hips = [names.index("position:left_hip"), names.index("position:right_hip")]
    np.testing.assert_allclose(measured()[0].positions, result.next_observations[0, hips], atol=1e-6)
    assert not np.allclose(measured()[0].positions, result.observations[0, hips], atol=1e-6)


def test_recording_of_a_wide_robot_is_bounded():
    assert commands_of_an_episode(17, 6) == 1000
    assert 3 * 4 * 10_001 * commands_of_an_episode(9_980, 20) <= 4_000_000


@pytest.mark.parametrize("damage", [b"", b"PK\x03\x04", "cut", "narrow"])
def test_damaged_recording_is_refused(tmp_path, damage):
    path, rows = tmp_path / "episodes.npz", np.zeros((4, 3), np.float32)
    save_recording(Recording(rows, rows[:, :2], rows[:, 0], np.array([4]), np.array([True])), path)
    if isinstance(damage, bytes):
        path.write_bytes(damage)
    elif damage == "cut":
        path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(InputError, match=r"episodes\.npz is damaged: .*acer-export"):
        load_recording(path, 2 if damage == "narrow" else 3, 2)
