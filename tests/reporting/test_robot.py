"""The robot in a report: what is measured of recorded commands and observations."""

import dataclasses
import json
import math

import numpy as np
import pytest

from acer_robot.errors import InputError
from acer_robot.metrics import ROBOT
from acer_robot.reporting.report import write_report
from acer_robot.reporting.robot import measure_fields, measure_joints, read_robot, spectrum
from acer_robot.run_folder.recording import Recording, Traces, save_recording
from acer_robot.spec import ActionBounds, ObservationField, TaskSpec

DT = 0.05
FIELDS = (ObservationField("height", 0, 1, "m"), ObservationField("speeds", 1, 3, "rad/s"))
BOUNDS = ActionBounds(("hip", "knee", "fixed"), (-2.0, 0.0, 1.0), (2.0, 1.0, 1.0))
SPEC = TaskSpec("gymnasium/Robot-v1", FIELDS, BOUNDS, DT, 5, 1, 1000, ())


def recording(commands, observations=None, lengths=None):
    commands = np.asarray(commands, np.float32)
    if observations is None:
        observations = np.zeros((len(commands), 3), np.float32)
    lengths = np.array(lengths or [len(commands)])
    return Recording(
        observations, commands, np.ones(len(commands), np.float32), lengths, np.ones(len(lengths), bool)
    )


def joints(recorded):
    return {joint.name: joint for joint in measure_joints(recorded, SPEC, *spectrum(recorded, SPEC))}


def commands(hip, knee):
    return np.stack([hip, knee, np.ones(len(hip))], axis=1)


def test_share_at_the_limit_counts_both_bounds():
    hip = np.array([2.0, -2.0, 1.97, 1.0, 0.0, 0.0, 0.0, 0.0])
    found = joints(recording(commands(hip, np.full(8, 0.5))))
    assert found["hip"].at_limit == 3 / 8
    assert found["knee"].at_limit == 0.0
    assert found["fixed"].at_limit == 0.0, "a joint with one possible command is not at a limit"


def test_change_is_a_share_of_the_range():
    hip = np.array([0.0, 1.0, 0.0, 1.0, 2.0, 1.0, 2.0, 1.0])
    found = joints(recording(commands(hip, np.full(8, 0.5)), lengths=[4, 4]))
    assert found["hip"].change == pytest.approx(0.25)
    assert found["hip"].change_per_second == pytest.approx(0.25 / DT)
    assert found["knee"].change == 0.0


@pytest.mark.parametrize(("hertz", "fast"), [(1.0, 0.0), (8.0, 1.0)])
def test_spectrum_has_its_peak_at_the_frequency(hertz, fast):
    seconds = np.arange(400) * DT
    recorded = recording(commands(np.sin(2 * np.pi * hertz * seconds), np.full(400, 0.5)))
    frequencies, power = spectrum(recorded, SPEC)
    assert frequencies[power[:, 0].argmax()] == pytest.approx(hertz, abs=0.1)
    assert joints(recorded)["hip"].fast_share == pytest.approx(fast, abs=0.01)
    assert joints(recorded)["knee"].fast_share == 0.0


def test_short_episodes_have_no_spectrum():
    recorded = recording(commands(np.zeros(7), np.zeros(7)))
    assert len(spectrum(recorded, SPEC)[0]) == 0
    assert math.isnan(joints(recorded)["hip"].fast_share)


def test_a_short_episode_does_not_hide_the_others():
    hip = np.concatenate([0.9 * (-1.0) ** np.arange(400), np.zeros(6)])
    recorded = recording(commands(hip, np.full(406, 0.5)), lengths=[400, 6])
    assert joints(recorded)["hip"].fast_share == pytest.approx(1.0, abs=0.01)


def test_observations_are_compared_with_training():
    observations = np.zeros((10, 3), np.float32)
    observations[:, 0], observations[4, 2] = 5.0, 9.0
    recorded = recording(commands(np.zeros(10), np.zeros(10)), observations)
    height, speeds = measure_fields(recorded, SPEC, (np.array([4.0, 0.0, 0.0]), np.array([0.5, 1.0, 2.0])))
    assert (height.farthest, height.out_of_range) == (2.0, 0.0)
    assert (speeds.farthest, speeds.out_of_range) == (4.5, 0.05)
    assert (speeds.low, speeds.high) == (0.0, 9.0)


@pytest.fixture
def run(tmp_path):
    (tmp_path / "config.yaml").write_text("seed: 0\n")
    (tmp_path / "export").mkdir()
    normalizer = {"enabled": True, "mean": [0.0] * 3, "std": [1.0] * 3}
    policy = {"task": SPEC.to_dict(), "normalizer": normalizer}
    (tmp_path / "export/policy.json").write_text(json.dumps(policy))
    hip = 2.0 * (-1.0) ** np.arange(40)
    save_recording(recording(commands(hip, np.full(40, 0.5))), tmp_path / "export/episodes.npz")
    return tmp_path


def test_report_says_what_is_healthy(run):
    robot = read_robot(run, json.loads((run / "export/policy.json").read_text()))
    verdicts = {line.name: line.sick for line in robot.sentences}
    assert verdicts == {
        "share at the limit": True,
        "change per second": True,
        "fast share": True,
        "out of range": False,
    }
    page = write_report(run).read_text()
    assert "hip is at a limit in 100% of its commands" in page
    assert "hip changes most, 20 ranges a second" in page
    assert all(ROBOT[name].healthy in page for name in verdicts)
    assert page.count("Command of ") == 3


def test_motion_is_drawn_where_it_was_recorded(run):
    rows = np.arange(40)
    joints = Traces(("hip", "knee"), np.zeros((40, 4), np.float32), ("rad", "m"))
    feet = Traces(("left", "right"), np.stack([rows % 4 < 2, rows < 0], axis=1).astype(np.float32))
    terms = Traces(("reward_forward", "reward_ctrl"), np.full((40, 2), (1.0, -0.25), np.float32))
    recorded = recording(commands(np.zeros(40), np.full(40, 0.5)))
    recorded = dataclasses.replace(recorded, joints=joints, feet=feet, terms=terms)
    save_recording(recorded, run / "export/episodes.npz")
    robot = read_robot(run, json.loads((run / "export/policy.json").read_text()))
    left, right = robot.motion.feet
    assert (left.share, left.steps_a_second) == (0.5, 9 / (40 * DT))
    assert (right.share, right.steps_a_second) == (0.0, 0.0)
    assert [(term.name, term.total) for term in robot.motion.terms] == [
        ("reward_forward", 40.0),
        ("reward_ctrl", -10.0),
    ]
    page = write_report(run).read_text()
    assert page.count("and its phase plot") == 2
    assert "right touches the ground after 0% of the commands, the least of all feet." in page
    assert "<td>reward_ctrl</td><td>-10.0</td>" in page


def test_older_recording_has_no_motion(run):
    page = write_report(run).read_text()
    assert "Joints are not in export/episodes.npz" in page
    assert "Feet on the ground" not in page


def test_traces_of_another_length_are_refused(run):
    joints = Traces(("hip",), np.zeros((39, 2), np.float32), ("rad",))
    recorded = dataclasses.replace(recording(commands(np.zeros(40), np.full(40, 0.5))), joints=joints)
    save_recording(recorded, run / "export/episodes.npz")
    with pytest.raises(InputError, match=r"joints has the shape \(39, 2\) for 1 names"):
        write_report(run)


def test_missing_recording_names_the_command(run):
    (run / "export/episodes.npz").unlink()
    page = write_report(run).read_text()
    assert f"There is no export/episodes.npz. To record it: <code>acer-export run={run}</code>" in page


def test_robot_without_statistics_has_no_range(run):
    policy = json.loads((run / "export/policy.json").read_text())
    robot = read_robot(run, policy | {"normalizer": {"enabled": False}})
    assert [line.name for line in robot.sentences] == [
        "share at the limit",
        "change per second",
        "fast share",
    ]
    assert np.isnan(robot.fields[0].farthest)


def test_joints_beyond_the_charts_are_counted(run, monkeypatch):
    monkeypatch.setattr("acer_robot.reporting.robot.SHOWN_JOINTS", 1)
    page = write_report(run).read_text()
    assert "The 2 joints that are least at their limits have no chart" in page
    assert page.count("Command of hip") == 1
    assert "<td>knee</td>" in page
