"""The safety layer: one tick as docs/driving.md says, in every mode."""

import dataclasses
import json
import math
import re
from pathlib import Path

import numpy as np
import pytest
from exported import make_bounds, make_policy, make_run
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from acer_robot.deployment.export import describe
from acer_robot.deployment.limit_options import Options
from acer_robot.deployment.limits import SMALLEST_STD, Limits, limits_of_file
from acer_robot.deployment.safety import CAUSES, MODES, Inputs, State, is_new, tick
from acer_robot.deployment.situations import DT, Story, robots, run, situations, to_dict
from acer_robot.errors import InputError

ROBOTS = robots()
FREE = ROBOTS["free"]
DOCUMENT = Path(__file__).parents[2] / "docs" / "driving.md"


def modes(story):
    return [output.state.mode for output in run(story.limits, story.ticks)]


def last(story):
    return run(story.limits, story.ticks)[-1]


def test_a_drive_goes_through_its_states_in_order():
    seen = modes(Story(FREE).good(8).lost(2).good(2).good(120, stops=1))
    order = [mode for i, mode in enumerate(seen) if i == 0 or seen[i - 1] != mode]
    assert order == ["ramp_in", "running", "holding", "running", "ramp_out", "stopped"]


def test_no_command_before_the_first_usable_observation():
    outputs = run(FREE, Story(FREE).lost(3).good(1).ticks)
    assert [output.command is None for output in outputs] == [True, True, True, False]


def test_first_command_is_one_ramp_step_from_what_the_robot_does():
    measured, policy = np.array([0.5, -1.5]), np.array([-1.0, 2.0], np.float32)
    first = run(FREE, Story(FREE).tick(measured=measured, policy=policy).ticks)[0].command
    # half of the range a second: 1 and 2 units a second
    np.testing.assert_allclose(first, [0.5 - 1.0 * DT, -1.5 + 2.0 * DT], atol=1e-12)


@pytest.mark.parametrize(
    ("measured", "expected"),
    [
        ([math.nan, -math.inf], [0.0 + 1.0 * DT, 0.5 - 2.0 * DT]),  # one step from rest, which is 0 and 0.5
        ([1.09, -2.19], [1.0, -2.0]),  # a little beyond its bounds, as one that sags
    ],
)
def test_first_command_after_an_odd_measurement(measured, expected):
    policy = np.array([1.0, -2.0], np.float32)
    story = Story(FREE).tick(measured=np.array(measured), policy=policy)
    np.testing.assert_allclose(run(FREE, story.ticks)[0].command, expected, atol=1e-12)


@pytest.mark.parametrize("measured", [[1.11, 0.0], [math.nan, -2.21], [-1e9, math.inf]])
def test_robot_outside_its_bounds_gets_no_command(measured):
    story = Story(FREE).lost(1).tick(measured=np.array(measured))
    last = run(FREE, story.ticks)[-1]
    assert (last.command, last.done, last.state.cause) == (None, True, "outside")


def test_joint_with_one_command_may_stand_anywhere():
    fixed = Limits([-1.0, 0.5], [1.0, 0.5], [0.0, 0.5], DT, [math.inf, 0.1])
    story = Story(fixed).tick(measured=np.array([0.0, 0.7]), policy=np.zeros(2, np.float32))
    np.testing.assert_array_equal(run(fixed, story.ticks)[0].command, [0.0, 0.5])


def test_slow_joint_may_sag_at_its_bound():
    slow = Limits([-1.0], [1.0], [0.0], DT, [0.1])  # a step of 0.002
    story = Story(slow).tick(measured=np.array([1.05]), policy=np.zeros(1, np.float32))
    np.testing.assert_allclose(run(slow, story.ticks)[0].command, [0.998])


def test_ramp_in_opens_to_the_whole_range():
    policy = np.array([1.0, 2.0], np.float32)
    outputs = run(FREE, Story(FREE).good(7, policy=policy, measured=FREE.low).ticks)
    commands = np.array([FREE.low, *(output.command for output in outputs)])
    opening = np.diff(commands[:, 0])
    # steps of 0.02, 2/5 and 4/5 of the range 2, and the rest
    np.testing.assert_allclose(opening[:3], [0.02, 0.4, 0.8], atol=1e-12)
    assert commands[4, 0] == 1.0


def test_running_follows_the_policy_without_a_slew_limit():
    story = Story(FREE).good(10)
    output = run(FREE, story.ticks)[-1]
    expected = np.clip(story.ticks[-1].policy.astype(float), FREE.low, FREE.high)
    np.testing.assert_array_equal(output.command, expected)


def test_slew_limit_holds_in_every_mode():
    largest = 0.0  # of joint 1, which may change by 4 units a second
    for name, (its, ticks) in situations().items():
        if not name.startswith("mixed"):
            continue
        commands = [output.command for output in run(its, ticks) if output.command is not None]
        if len(commands) > 1:
            steps = np.abs(np.diff(np.array(commands)[:, 1]))
            assert steps.max() <= 4.0 * DT + 1e-12, name
            largest = max(largest, steps.max())
    assert largest == pytest.approx(4.0 * DT)


def test_limits_of_a_file_are_those_of_its_task():
    low, high = (-0.1, -0.25, 0.0, -3.0), (0.3, 2.0, 0.7, -1.0)
    run = make_run(make_policy(), make_bounds(low, high), slew_rate=(5.0, None, 10.0, 2.0))
    metadata = json.loads(json.dumps(describe(run)))
    metadata["normalizer"]["std"][1] = 0.0
    limits = limits_of_file(run.spec, metadata)
    np.testing.assert_allclose(limits.slew_step, [5.0 * 0.02, math.inf, 10.0 * 0.02, 2.0 * 0.02])
    # The nearest numbers of float32 that lie within: float32 holds neither -0.1 nor 0.3.
    for bound, exact in ((limits.low, low), (limits.high, high)):
        np.testing.assert_array_equal(bound.astype(np.float32).astype(np.float64), bound)
        np.testing.assert_allclose(bound, exact, rtol=1e-7)
    assert (limits.low >= low).all()
    assert (limits.high <= high).all()
    np.testing.assert_array_equal(limits.mean, metadata["normalizer"]["mean"])
    assert limits.std[0] == metadata["normalizer"]["std"][0]
    assert limits.std[1] == SMALLEST_STD
    assert limits.far_limit == metadata["normalizer"]["limit"] == 10.0


def test_lost_observation_holds_and_comes_back():
    outputs = run(FREE, Story(FREE).good(9).lost(3).good(1).ticks)
    for output in outputs[9:12]:
        np.testing.assert_array_equal(output.command, outputs[8].command)
    assert outputs[-1].state.mode == "running"


@pytest.mark.parametrize(
    ("cause", "story"),
    [
        ("age", Story(FREE).good(9).lost(8)),
        ("nan", Story(FREE).good(9).good(3, observation=np.full(3, np.nan, np.float32))),
        ("nan", Story(FREE).good(9).good(3, policy=np.full(2, np.inf, np.float32))),
        ("late", Story(FREE).good(9).good(5, periods=1.3)),
        ("late", Story(FREE).good(9).tick(periods=6.0)),
        ("clock", Story(FREE).good(9).tick(periods=-1.0)),
        ("frozen", Story(FREE).good(9).good(8, observation=np.ones(3, np.float32))),
        ("far", Story(ROBOTS["slow"]).good(9).good(3, observation=np.full(3, 99.0, np.float32))),
        ("error", Story(FREE).good(9).tick(error=True)),
        ("end", Story(FREE).good(9).tick(end=True)),
        ("stop", Story(FREE).good(9).tick(stops=1)),
    ],
)
def test_each_cause_starts_the_ramp(cause, story):
    output = last(story)
    assert (output.state.mode, output.state.cause) == ("ramp_out", cause)


@pytest.mark.parametrize(
    "story",
    [
        Story(FREE).good(9).good(2, observation=np.full(3, np.nan, np.float32)).good(9),
        Story(FREE).good(9).good(3, periods=1.3).good(1).good(3, periods=1.3).good(1),
        Story(FREE).good(9).good(5, observation=np.full(3, 99.0, np.float32) + 0.0).good(9),
    ],
)
def test_faults_below_their_limit_do_not_stop(story):
    assert last(story).state.mode == "running"


def test_far_observations_are_counted():
    far = np.array([5.1, 1.0, -2.0], np.float32)  # 5 standard deviations of 1 from 0
    near = np.array([4.9, 1.0, -2.0], np.float32)
    story = Story(FREE).tick(observation=near).tick(observation=far).tick(observation=near)
    assert [output.state.far_total for output in run(FREE, story.ticks)] == [0, 1, 1]


def test_repeated_reordered_and_future_stamps_are_no_observation():
    state = run(FREE, Story(FREE).good(3).ticks)[-1].state
    now, observation = state.previous + DT, np.zeros(3, np.float32)
    for stamp in (state.newest, state.newest - 0.01, now + 0.01, math.nan, None):
        assert not is_new(state, Inputs(now, observation, stamp))
    assert is_new(state, Inputs(now, observation, now))


def test_second_stop_holds_at_once():
    outputs = run(FREE, Story(FREE).good(9).good(2, stops=1).good(5, stops=2).ticks)
    assert (outputs[-1].state.mode, outputs[-1].state.cause) == ("stopped", "second_stop")
    np.testing.assert_array_equal(outputs[-1].command, outputs[10].command)
    assert [output.done for output in outputs[11:]] == [False, False, False, True, True]  # 0.05 s later


@pytest.mark.parametrize("mode", MODES)
def test_emergency_is_done_at_once_with_the_last_command(mode):
    story = Story(FREE).until(mode)
    outputs = run(FREE, story.tick(emergency=True).ticks)
    assert (outputs[-1].state.mode, outputs[-1].state.cause, outputs[-1].done) == (
        "stopped",
        "emergency",
        True,
    )
    if mode != "idle":
        np.testing.assert_array_equal(outputs[-1].command, outputs[-2].command)


def test_a_stop_before_the_first_command_commands_nothing():
    output = last(Story(FREE).lost(3).tick(stops=1))
    assert (output.command, output.state.mode, output.done) == (None, "stopped", True)


def test_idle_gives_up_after_its_limit():
    outputs = run(FREE, Story(FREE).lost(14).ticks)
    assert [output.state.cause for output in outputs][8:12] == ["none", "none", "age", "age"]


def test_a_clock_that_breaks_in_the_ramp_still_ends():
    assert last(Story(FREE, 1).until("ramp_out").good(80, now=math.inf)).done


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rest": [0.0, 2.5]}, "rest of joint 'knee' is 2.5, outside its bounds"),
        ({"slew_rate": [0.0, 1.0]}, "slew limit of joint 'hip' is 0; expected a number above 0"),
        ({"slew_rate": [math.nan, 1.0]}, "slew limit of joint 'hip' is nan"),
        ({"low": [2.0, -1.0]}, "joint 'hip' has the bounds"),
        ({"high": [math.inf, 2.0]}, "joint 'hip' has the bounds"),
        ({"dt": 0.0}, "control_dt=0.0"),
        ({"std": [1.0]}, "one mean and one std"),
        ({"options": Options(ramp_rate=0.0)}, "safety.ramp_rate=0.0; expected a number above 0"),
        ({"options": Options(ramp_in=-1.0)}, "safety.ramp_in=-1.0; expected a number of at least 0"),
        ({"options": Options(hold=math.inf)}, "safety.hold=inf"),
        ({"options": Options(late_factor=0.5)}, "safety.late_factor=0.5"),
        ({"options": Options(age_limit=0.01)}, "safety.age_limit=0.01; expected a number of at least 0.02"),
        ({"options": Options(nan_ticks=-1)}, "safety.nan_ticks=-1; expected a whole number"),
        ({"options": Options(far_limit=-1.0)}, "safety.far_limit=-1.0"),
    ],
)
def test_limits_that_cannot_be_used_are_refused(changes, message):
    values = {
        "low": [-1.0, -2.0],
        "high": [1.0, 2.0],
        "rest": [0.0, 0.0],
        "dt": DT,
        "slew_rate": [math.inf, 1.0],
        "names": ("hip", "knee"),
    }
    with pytest.raises(InputError, match=re.escape(message)):
        Limits(**{**values, **changes})


def test_the_specification_names_every_mode_cause_and_limit():
    text = DOCUMENT.read_text(encoding="utf-8")
    table = text[text.index("| state | word |") : text.index("### Limits")]
    assert re.findall(r"^\| [a-z-]+ \| `(\w+)`", table, re.M) == list(MODES)
    causes = text[text.index("### Causes") : text.index("### One tick")]
    assert tuple(re.findall(r"`(\w+)`", causes)) == CAUSES
    rows = re.findall(r"^\| (`\w+`(?:, `\w+`)*) \|", text[text.index("### Limits") :], re.M)
    names = {name for row in rows for name in re.findall(r"\w+", row)}
    assert set(FREE.to_dict()) <= names
    assert {field.name for field in dataclasses.fields(State)} <= names
    assert {field.name for field in dataclasses.fields(Inputs)} <= names


def test_situations_reach_every_mode_and_cause():
    written = json.loads(json.dumps(to_dict(situations()), allow_nan=False))
    expected = [tick["expect"] for found in written["situations"] for tick in found["ticks"]]
    assert {row["mode"] for row in expected} == set(MODES)
    assert {row["cause"] for row in expected} == set(CAUSES)
    assert len(expected) > 1000
    assert {"nan", "inf", "-inf"} <= set(re.findall(r'"(-?[a-z]+)"', json.dumps(written)))


numbers = st.floats(width=32)
faults = st.fixed_dictionaries(
    {
        "gap": st.one_of(st.just(DT), st.floats(-0.1, 1.0), st.just(math.nan)),
        "observation": st.one_of(st.none(), st.lists(numbers, min_size=3, max_size=3)),
        "age": st.one_of(st.floats(-0.1, 0.3), st.just(math.inf)),
        "policy": st.one_of(st.none(), st.lists(numbers, min_size=2, max_size=2)),
        "measured": st.one_of(st.none(), st.lists(numbers, min_size=2, max_size=2)),
        "stops": st.sampled_from([0, 0, 0, 0, 0, 0, 1, 2]),
        "end": st.sampled_from([False] * 9 + [True]),
        "error": st.sampled_from([False] * 9 + [True]),
        "emergency": st.sampled_from([False] * 19 + [True]),
    }
)


def inputs_of(fault, now):
    arrays = {
        name: None if fault[name] is None else np.array(fault[name], np.float32)
        for name in ("observation", "policy", "measured")
    }
    requests = {name: fault[name] for name in ("stops", "end", "error", "emergency")}
    return Inputs(now, stamp=now - fault["age"], **arrays, **requests)


@hypothesis_settings(max_examples=60, deadline=None, derandomize=True)
@given(
    robot=st.sampled_from(["free", "mixed", "slow"]),
    warm=st.integers(0, 12),
    drawn=st.lists(faults, max_size=25),
)
def test_nothing_leaves_the_limits(robot, warm, drawn):
    limits = ROBOTS[robot]
    story, now, state = Story(limits).good(warm), 100.0 + warm * DT, State()
    before, stopped = None, False
    for inputs in [*story.ticks, *drawn]:
        if isinstance(inputs, dict):
            now += inputs["gap"] if math.isfinite(inputs["gap"]) else 0.0
            inputs = inputs_of(inputs, now if math.isfinite(inputs["gap"]) else math.nan)
        output = tick(limits, state, inputs)
        command = output.command
        assert (command is None) == (output.state.last is None)
        if command is not None:
            assert (command >= limits.low).all()
            assert (command <= limits.high).all()
        if command is not None and before is not None:
            moved = np.abs(command - before)
            assert (moved <= limits.slew_step + 1e-12).all()
            if output.state.mode in ("holding", "stopped") and state.mode != "ramp_out":
                assert output.state.cause in ("none",) or (moved <= limits.ramp_step + 1e-12).all()
            if output.state.mode == "ramp_out":
                assert (moved <= limits.ramp_step + 1e-12).all()
                assert (np.abs(command - limits.rest) <= np.abs(before - limits.rest)).all()
        if stopped:
            assert output.state.mode == "stopped"
            assert command is None or (command == before).all()
        before, state, stopped = command, output.state, output.state.mode == "stopped"


@hypothesis_settings(max_examples=40, deadline=None, derandomize=True)
@given(
    robot=st.sampled_from(["free", "mixed", "slow"]),
    good=st.integers(1, 15),
    later=st.lists(faults, max_size=5),
)
def test_a_stop_ends_within_the_ramp(robot, good, later):
    limits = ROBOTS[robot]
    story = Story(limits, good).good(good)
    state = run(limits, story.ticks)[-1].state
    within = int(np.ceil(np.abs(state.last - limits.rest) / limits.ramp_step).max()) + 1
    now = story.ticks[-1].now
    for number in range(within):
        now += DT
        fault = later[number] if number < len(later) else None
        inputs = Inputs(now, stops=1)
        if fault is not None:  # nothing but a second stop changes a ramp
            inputs = dataclasses.replace(inputs_of({**fault, "emergency": False}, now), stops=1)
        state = tick(limits, state, inputs).state
    assert state.mode == "stopped"
    np.testing.assert_array_equal(state.last, limits.rest)
