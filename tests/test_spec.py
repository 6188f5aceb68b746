"""The description of a task: limits, their narrowing and rounding, and the trip through JSON."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from acer_robot.errors import InputError
from acer_robot.spec import ActionBounds, ObservationField, TaskSpec, narrow_bounds, representable_limits

ARM = ActionBounds(("shoulder", "elbow", "grip"), (-1.0, 0.2, 0.5), (3.0, 0.4, 0.5))


def test_canonical_actions_span_the_limits_of_each_joint():
    np.testing.assert_allclose(ARM.to_command(np.array([-1.0, -1.0, -1.0])), [-1.0, 0.2, 0.5])
    np.testing.assert_allclose(ARM.to_command(np.array([0.0, 0.0, 0.0])), [1.0, 0.3, 0.5])
    np.testing.assert_allclose(ARM.to_command(np.array([[1.0, 0.5, 1.0]])), [[3.0, 0.35, 0.5]])
    assert ARM.size == 3


def test_canonical_actions_beyond_one_stay_within_the_limits():
    np.testing.assert_array_equal(ARM.to_command(np.array([7.0, -np.inf, 2.0])), [3.0, 0.2, 0.5])


@given(
    st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=2).map(sorted),
    st.floats(-1.0, 1.0),
)
def test_a_command_is_never_outside_its_limits(limits, canonical):
    low, high = limits
    command = ActionBounds(("joint",), (low,), (high,)).to_command(np.array([canonical]))
    assert low <= command[0] <= high


@pytest.mark.parametrize(
    ("names", "low", "high", "message"),
    [
        (("a", "b"), (0.0,), (1.0,), "2 names, 1 lows, 1 highs"),
        ((), (), (), "0 names"),
        (("a", "a"), (0.0, 0.0), (1.0, 1.0), "unique"),
        (("a",), (float("nan"),), (1.0,), r"'a' has bounds \[nan, 1.0\].*task.bounds=\{a: \[low, high\]\}"),
        (("a",), (0.0,), (float("inf"),), "not finite"),
        (("a", "b"), (0.0, 2.0), (1.0, 1.0), "'b' has low 2.0 above high 1.0"),
    ],
)
def test_limits_that_are_none(names, low, high, message):
    with pytest.raises(InputError, match=message):
        ActionBounds(names, low, high)


MODEL = (("hip", "knee"), (-1.0, -np.inf), (2.0, np.inf))


def test_narrowing_replaces_only_the_joints_that_it_names():
    assert narrow_bounds(*MODEL, {"knee": [-3, 5.5]}) == ActionBounds(
        ("hip", "knee"), (-1.0, -3.0), (2.0, 5.5)
    )
    both = narrow_bounds(*MODEL, {"knee": (0.0, 0.0), "hip": [-1.0, 2.0]})
    assert (both.low, both.high) == ((-1.0, 0.0), (2.0, 0.0))


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"ankle": [0.0, 1.0]}, "'ankle'; this task has hip, knee"),
        ({"hip": [-1.5, 1.0]}, r"'hip' is \[-1.5, 1.0\], wider than the model's \[-1, 2\]"),
        ({"hip": [0.0, 2.1]}, "wider than the model"),
        ({"hip": [1.0, 0.0]}, "low first"),
        ({"hip": [0.0]}, "two finite numbers"),
        ({"hip": [0.0, 0.5, 1.0]}, "two finite numbers"),
        ({"hip": [float("nan"), 1.0]}, "two finite numbers"),
        ({"knee": [0.0, float("inf")]}, "two finite numbers"),
        ({"hip": 1.0}, "two finite numbers"),
        ({"hip": ["low", 1.0]}, "two finite numbers"),
        ({"hip": None}, "two finite numbers"),
        ({}, "'knee' has bounds"),
    ],
)
def test_narrowing_that_cannot_be(overrides, message):
    with pytest.raises(InputError, match=message):
        narrow_bounds(*MODEL, overrides)


finite = st.floats(-1e30, 1e30, allow_subnormal=False)


@given(st.tuples(finite, finite).map(sorted))
def test_rounded_limits_lie_within_the_exact_ones(limits):
    low, high = (np.array([limit]) for limit in limits)
    lower, upper = representable_limits(low, high, np.float32)
    np.testing.assert_array_equal(lower.astype(np.float32).astype(np.float64), lower)
    np.testing.assert_array_equal(upper.astype(np.float32).astype(np.float64), upper)
    assert lower <= upper
    # The neighbours outwards are outside: nothing is given away.
    assert np.nextafter(lower.astype(np.float32), np.float32(-np.inf)) < low or lower == low
    assert np.nextafter(upper.astype(np.float32), np.float32(np.inf)) > high or upper == high
    if lower < low or upper > high:
        assert lower == upper
        assert np.nextafter(low.astype(np.float32), np.float32(np.inf)) > high


def test_rounding_by_hand():
    low, high = np.array([0.1, -0.1, 0.5, 0.1]), np.array([0.3, 0.7, 0.5, 0.1])
    lower, upper = representable_limits(low, high, np.float32)
    # 0.1f and 0.3f lie above their decimals, 0.7f below.
    np.testing.assert_array_equal(lower, np.float32([0.1, -0.099999994, 0.5, 0.1]).astype(np.float64))
    np.testing.assert_array_equal(upper, np.float32([0.29999998, 0.7, 0.5, 0.1]).astype(np.float64))
    for exact, rounded in zip((low, high), representable_limits(low, high, np.float64), strict=True):
        np.testing.assert_array_equal(exact, rounded)


def test_a_spec_survives_json():
    spec = TaskSpec(
        id="gymnasium/Arm-v0",
        observation=(ObservationField("position:shoulder", 0, 1, "rad"), ObservationField("imu", 1, 7)),
        bounds=ARM,
        control_dt=0.02,
        frame_skip=4,
        action_repeat=2,
        time_limit=1000,
        versions=(("mujoco", "3.17.0"),),
    )
    assert TaskSpec.from_dict(json.loads(json.dumps(spec.to_dict()))) == spec
    assert (spec.observation_size, spec.action_size) == (7, 3)
    assert ARM.to_dict() == {
        "names": ["shoulder", "elbow", "grip"],
        "low": [-1, 0.2, 0.5],
        "high": [3, 0.4, 0.5],
    }
