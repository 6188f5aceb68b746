"""Episodes that never end are refused, before a run and within one."""

import numpy as np
import pytest
import scripted_envs  # registers Scripted-v0
import torch

from acer_robot.errors import InputError
from acer_robot.experience import episodes
from acer_robot.schema import TaskConfig, TrainConfig
from acer_robot.spec import to_command
from acer_robot.tasks import command_limits, make_task
from acer_robot.training.run import prepare

ENDLESS = {"length": 10**9}
REMEDY = {"max_episode_steps": 1000}


def middle(task):
    low, high = command_limits(task)
    return lambda _: to_command(torch.zeros(task.num_envs, task.spec.action_size), low, high)


def test_task_without_an_end_is_refused_with_a_remedy(tmp_path):
    run_dir = tmp_path / "run"
    config = TrainConfig(
        task=TaskConfig("gymnasium", "Scripted-v0", ENDLESS), run_dir=str(run_dir), device="cpu", steps=4000
    )
    with pytest.raises(InputError, match="100,000") as caught:
        prepare(config)
    assert "gymnasium/Scripted-v0" in str(caught.value)
    assert "task.kwargs={max_episode_steps: 1000}" in str(caught.value)
    assert not run_dir.exists()
    config.task.kwargs.update(REMEDY)
    run = prepare(config)
    assert run.task.spec.time_limit == 1000
    lengths = episodes.run_episodes(middle(run.evaluation_task), run.evaluation_task).lengths
    assert lengths.tolist() == [1000] * config.eval_episodes


def test_episodes_that_end_need_no_time_limit(tmp_path):
    task = TaskConfig("gymnasium", "Scripted-v0", {"length": 7})
    run = prepare(TrainConfig(task=task, run_dir=str(tmp_path / "run"), device="cpu", steps=4000))
    assert run.task.spec.time_limit == 0


@pytest.mark.parametrize("repeat", [1, 4])
def test_one_endless_environment_stops_an_evaluation(monkeypatch, repeat):
    monkeypatch.setattr(episodes, "MAX_EPISODE_STEPS", 50)
    config = TaskConfig("gymnasium", "Scripted-v0", {"length": 20, "longer_by": 0}, action_repeat=repeat)
    task = make_task(config, 2, 0)
    assert episodes.run_episodes(middle(task), task).lengths.tolist() == [20, 20]
    task._environments[1].unwrapped.length = 10**9
    with pytest.raises(InputError, match="within 50 environment steps"):
        episodes.run_episodes(middle(task), task)


def test_a_time_limit_of_the_tasks_own_may_be_longer(monkeypatch):
    monkeypatch.setattr(episodes, "MAX_EPISODE_STEPS", 50)
    task = make_task(TaskConfig("gymnasium", "Scripted-v0", ENDLESS | {"max_episode_steps": 80}), 1, 0)
    assert episodes.run_episodes(middle(task), task).lengths.tolist() == [80]


def test_the_remedy_of_a_dm_control_task(monkeypatch):
    monkeypatch.setattr(episodes, "MAX_EPISODE_STEPS", 50)
    config = TaskConfig("dm_control", "lqr-lqr_2_1", bounds={"joint_0": [-1.0, 1.0]})
    task = make_task(config, 1, 0)
    assert task.spec.time_limit == 0
    with pytest.raises(InputError, match=r"task\.kwargs=\{time_limit: 20\}"):
        episodes.check_episodes_end(task)
    config.kwargs["time_limit"] = 20
    assert make_task(config, 1, 0).spec.time_limit > 0


def test_rounds_use_the_environments_again():
    # Episodes of 3 and 4 steps: the two environments run three rounds, and the last one's surplus is left out.
    config = TaskConfig("gymnasium", "Scripted-v0", {"length": 3, "longer_by": 1})
    scripted_envs.ScriptedEnv.made.clear()
    task, starts = make_task(config, 2, 0), []
    found = episodes.run_rounds(middle(task), task, 5, lambda: starts.append(1))
    assert len(starts) == 3
    assert found.lengths.tolist() == [3, 4, 3, 4, 3]
    assert len(scripted_envs.ScriptedEnv.made) == 2
    np.testing.assert_array_equal(found.returns, found.lengths * (found.lengths + 1) / 2)
    task.close()
