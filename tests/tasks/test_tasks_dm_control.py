"""The dm_control suite behind the vector interface."""

import dm_env
import numpy as np
import pytest
import torch
from dm_env import specs

from acer_robot.errors import NonFiniteError
from acer_robot.schema import TaskConfig
from acer_robot.spec import ActionBounds, TaskSpec
from acer_robot.tasks import make_task
from acer_robot.tasks.cpu.from_dm_control import DMControlEnv, build
from acer_robot.tasks.cpu.vector_task import CpuTask
from acer_robot.tasks.model.layout import fields
from acer_robot.tasks.model.simulator import load_simulator


class ScriptedDMEnvironment(dm_env.Environment):
    """One episode of three steps, whose last has a given discount; it records the actions it receives."""

    def __init__(self, last_discount):
        self.last_discount = last_discount
        self.received = []
        self.steps = 0
        self.task = type("Task", (), {"random": np.random.RandomState(0)})()

    def observation_spec(self):
        return {"z": specs.Array((2, 2), np.float64), "a": specs.Array((), np.float64)}

    def action_spec(self):
        return specs.BoundedArray((1,), np.float64, [-0.5], [0.1])

    def _observation(self):
        # The order differs from the specification's, which is the one that counts.
        return {"a": np.float64(self.steps), "z": np.arange(4.0).reshape(2, 2) + 10}

    def reset(self):
        self.steps = 0
        return dm_env.restart(self._observation())

    def step(self, action):
        self.received.append(np.array(action))
        self.steps += 1
        if self.steps < 3:
            return dm_env.transition(float(self.steps), self._observation())
        return dm_env.TimeStep(
            dm_env.StepType.LAST, float(self.steps), self.last_discount, self._observation()
        )


def scripted_task(last_discount, action_repeat=1):
    env = DMControlEnv(ScriptedDMEnvironment(last_discount), camera=0, render_size=None)
    bounds = ActionBounds(("elbow",), (-0.5,), (0.1,))
    spec = TaskSpec("scripted", fields(env.layout), bounds, 0.02, 1, action_repeat, 3, ())
    return CpuTask(spec, [env], seed=0), env.environment


@pytest.mark.parametrize(("discount", "terminated"), [(0.0, True), (1.0, False)])
def test_discount_tells_terminated_from_truncated(discount, terminated):
    task, _ = scripted_task(discount)
    task.reset()
    results = [task.step(torch.as_tensor(np.zeros((1, 1)))) for _ in range(4)]
    assert [bool(r.terminated[0]) for r in results] == [False, False, terminated, False]
    assert [bool(r.truncated[0]) for r in results] == [False, False, not terminated, False]
    assert [r.next_observations[0, -1] for r in results] == [1, 2, 3, 1]
    assert [r.observations[0, -1] for r in results] == [1, 2, 0, 1]
    assert [r.rewards[0] for r in results] == [1, 2, 3, 1]


def test_observations_are_flattened_in_order():
    task, _ = scripted_task(1.0)
    np.testing.assert_array_equal(task.reset(), [[10, 11, 12, 13, 0]])
    assert [(f.name, f.start, f.stop) for f in task.spec.observation] == [("z", 0, 4), ("a", 4, 5)]


def test_simulator_gets_float64_commands_within_bounds():
    task, environment = scripted_task(1.0, action_repeat=2)
    task.reset()
    result = task.step(torch.as_tensor(np.array([[0.7]])))
    task.step(torch.as_tensor(np.array([[-9.0]])))
    assert result.env_steps[0] == 2
    assert [float(action[0]) for action in environment.received] == [0.1, 0.1, -0.5]
    assert environment.received[0].dtype == np.float64


def test_a_real_task_matches_dm_control_stepped_by_hand():
    suite = load_simulator("dm_control.suite", rendering=False)
    task = make_task(TaskConfig("dm_control", "finger-turn_easy", action_repeat=2), num_envs=2, seed=5)
    seeds = np.random.SeedSequence(5).generate_state(2).tolist()
    bare = [suite.load("finger", "turn_easy", task_kwargs={"random": seed}) for seed in seeds]
    keys = list(bare[0].observation_spec())
    assert [f.name for f in task.spec.observation] == keys

    def flat(step):
        return np.concatenate([np.atleast_1d(step.observation[key]).ravel() for key in keys]).astype(
            np.float32
        )

    np.testing.assert_array_equal(task.reset(), [flat(env.reset()) for env in bare])
    rng = np.random.default_rng(0)
    for _ in range(30):
        commands = rng.uniform(-1, 1, (2, 2))
        result = task.step(torch.as_tensor(commands))
        for i, env in enumerate(bare):
            first, second = env.step(commands[i]), env.step(commands[i])
            np.testing.assert_array_equal(result.next_observations[i], flat(second))
            assert result.rewards[i] == first.reward + second.reward
    task.close()


def test_time_limit_truncates_after_the_promised_steps():
    config = TaskConfig("dm_control", "walker-walk", {"time_limit": 0.17}, action_repeat=2)
    task = make_task(config, num_envs=1, seed=0)
    assert task.spec.time_limit == 7  # 0.17 s are 6.8 steps of 0.025 s
    task.reset()
    results = [task.step(torch.as_tensor(np.zeros((1, 6)))) for _ in range(4)]
    assert [int(r.env_steps[0]) for r in results] == [2, 2, 2, 1]
    assert [bool(r.truncated[0]) for r in results] == [False, False, False, True]
    assert not any(r.terminated[0] for r in results)
    task.close()


def test_a_real_end_of_a_task_terminates():
    config = TaskConfig("dm_control", "lqr-lqr_2_1", {"time_limit": 30.0}, bounds={"joint_0": [-1.0, 1.0]})
    env = build(config, None)
    env.reset(seed=0)
    assert env.step(np.zeros(1))[2:4] == (False, False)
    physics = env.unwrapped.environment.physics
    with physics.reset_context():
        physics.data.qpos[:], physics.data.qvel[:] = 0.0, 0.0
    assert env.step(np.zeros(1))[2:4] == (True, False)
    env.close()


def test_every_lqr_has_the_same_springs():
    config = TaskConfig("dm_control", "lqr-lqr_6_2")
    springs = [build(config, None).unwrapped.environment.physics.model.jnt_stiffness for _ in range(2)]
    assert springs[0].max() > 0
    np.testing.assert_array_equal(*springs)


def test_a_diverged_simulation_is_a_non_finite_error():
    env = build(TaskConfig("dm_control", "cartpole-swingup"), None)
    env.reset(seed=0)
    env.unwrapped.environment.physics.data.qvel[:] = 1e30
    with pytest.raises(NonFiniteError, match="physics diverged"):
        env.step(np.zeros(1))
    env.close()


def test_what_a_spec_says():
    spec = make_task(TaskConfig("dm_control", "quadruped-walk", action_repeat=2), num_envs=1, seed=0).spec
    assert spec.id == "dm_control/quadruped-walk"
    assert spec.bounds.names[:4] == (
        "yaw_front_left",
        "lift_front_left",
        "extend_front_left",
        "yaw_front_right",
    )
    assert (spec.bounds.low[1], spec.bounds.high[1]) == (-1.0, 1.1)
    assert (spec.control_dt, spec.frame_skip, spec.time_limit) == (pytest.approx(0.04), 4, 1000)
    assert [name for name, _ in spec.versions] == ["dm_control", "gymnasium", "mujoco"]
