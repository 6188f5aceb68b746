"""The learner's side of collecting with workers, with workers in this process."""

from __future__ import annotations

import copy
import dataclasses

import numpy as np
import pytest
import torch
from composed import composed_train
from in_process_workers import InProcessWorkers

from acer_robot.distributed import remote_collector as module
from acer_robot.distributed.counted import Counted
from acer_robot.distributed.remote_collector import RemoteCollector
from acer_robot.errors import InputError, TaskError
from acer_robot.learner.learner import Learner
from acer_robot.tasks import make_task
from acer_robot.tasks.tensor import make
from acer_robot.training.collecting import make_replay

TINY = [
    "task=gym", "task.id=Pendulum-v1", "num_envs=4", "steps=100_000", "learner.hidden=[8,8]", "learner.compile=false",
    "learner.advantage_hidden=8", "learner.segments=4", "collector=ray", "collector.segment_length=8",
]  # fmt: skip
CPU = torch.device("cpu")


class Setting:
    """A collector with workers in this process, a clock that stands still, and what was said."""

    def __init__(self, *overrides, start=True):
        self.config = composed_train("run_dir=x", *TINY, *overrides)
        task = make_task(self.config.task, 1, 0)
        self.spec, sizes = task.spec, (task.spec.input_size, task.spec.action_size)
        task.close()
        self.learner = Learner(self.config.learner, *sizes, CPU, 0)
        self.replay = make_replay(self.config, sizes, CPU, 0)
        self.workers = InProcessWorkers(self.config)
        self.said, self.now = [], 0.0
        self.collector = RemoteCollector(
            self.config,
            self.spec,
            self.learner,
            self.replay,
            self.workers,
            self.said.append,
            lambda: self.now,
        )
        if start:
            self.collector.start()

    def rows(self):
        return torch.cat(list(self.replay.rows(self.replay.oldest, 10**6)))


@pytest.fixture(autouse=True)
def no_sleep(monkeypatch):
    monkeypatch.setattr(module.time, "sleep", lambda seconds: None)


def test_segments_of_all_workers_are_stored():
    setting = Setting("collector.workers=2")
    for _ in range(4):
        setting.collector.step()
    assert setting.collector.transitions == setting.collector.env_steps == 4 * 8 * 2
    assert setting.replay.added == 32
    assert {slot for slot, *_ in setting.workers.asked} == {0, 1}
    first, second = setting.rows()[:8], setting.rows()[8:16]
    assert not torch.equal(first, second)  # each worker has episodes of its own


def test_statistics_are_those_of_all_stored_observations():
    setting = Setting("collector.workers=2")
    for _ in range(6):
        setting.collector.step()
    observations = setting.rows()[..., : setting.spec.input_size].flatten(0, 1).double()
    normalizer = setting.learner.normalizer
    assert normalizer.count == len(observations) == 6 * 8 * 2
    torch.testing.assert_close(normalizer.mean.double(), observations.mean(0), rtol=1e-5, atol=1e-6)
    variance = observations.var(0, correction=0)
    torch.testing.assert_close(normalizer.variance.double(), variance, rtol=1e-5, atol=1e-6)


def test_held_back_worker_sends_the_statistics_that_acted():
    setting = Setting("collector.workers=1", "collector.segment_length=16")
    for _ in range(3):
        setting.collector.step()
    setting.collector._ask()
    acted = [p.detach().clone() for p in setting.learner.actor.parameters()]
    before = setting.replay.added
    batch = setting.replay.sample(4)
    for _ in range(20):
        setting.learner.update(batch)
    setting.learner._count(1000)
    assert not torch.equal(acted[0], next(setting.learner.actor.parameters()))
    normalizer = setting.learner.normalizer
    at_request = normalizer.mean.clone(), normalizer.variance.clone(), normalizer.count.clone()
    setting.collector.numbers()
    setting.collector.step()
    assert setting.collector.numbers()["collect/staleness_updates"] == 1000

    stored = setting.replay.unpack(torch.cat(list(setting.replay.rows(before, 99))))
    for parameter, value in zip(setting.learner.actor.parameters(), acted, strict=True):
        parameter.data.copy_(value)
    setting.learner.actor.set_std_min(setting.config.learner.std_min)
    normalizer.mean, normalizer.variance, normalizer.count = at_request
    for observed, mean, log_std in zip(
        stored.observations, stored.behaviour_mean, stored.behaviour_log_std, strict=True
    ):
        normalizer.update(observed)  # a worker goes on counting within its segment
        wanted = setting.learner.policy(observed)
        torch.testing.assert_close((mean, log_std), wanted, rtol=1e-5, atol=1e-6)


def test_lost_worker_is_replaced_and_its_segment_dropped():
    setting = Setting("collector.workers=2")
    setting.collector.step()
    setting.workers.dead.add(1)
    while setting.collector.lost == 0:
        setting.collector.step()
    assert "worker 1 is lost: the process is gone; replacement 1 of 5 starts in 1 s" in setting.said
    stored = setting.replay.added
    for _ in range(3):
        setting.collector.step()  # the other one goes on
    assert setting.replay.added == stored + 3 * 8
    assert setting.workers.started == [(0, 0), (1, 0)]
    setting.now = 1.0
    setting.workers.asked.clear()
    for _ in range(5):
        setting.collector.step()
    assert setting.workers.started[-1] == (1, 1)
    assert (1, 0, 0, True) in setting.workers.asked  # it counts from 0, and gets the weights
    assert setting.replay.added % 8 == 0
    assert setting.learner.normalizer.count == setting.replay.added * 2


def test_pauses_double_and_end():
    setting = Setting("collector.workers=2", "collector.retries=3")
    setting.collector.step()
    for pause in (1, 2, 4):
        setting.workers.dead.add(1)
        lost = setting.collector.lost
        while setting.collector.lost == lost:
            setting.collector.step()
        assert setting.said[-1].endswith(f"starts in {pause} s")
        setting.now += pause
        setting.collector._restart()
    setting.workers.dead.add(1)
    while len(setting.said) < 4:
        setting.collector.step()
    assert setting.said[-1] == "worker 1 is lost: the process is gone; it is given up after 3 replacements"
    assert setting.collector.numbers()["collect/workers"] == 1
    setting.collector.step()


def test_no_worker_left_ends_the_run():
    setting = Setting("collector.workers=1", "collector.retries=0")
    setting.workers.dead.add(0)
    with pytest.raises(TaskError, match="worker 0 is lost: the process is gone; no worker is left"):
        setting.collector.step()


def test_silent_worker_is_lost():
    setting = Setting("collector.workers=2", "collector.timeout=9")
    setting.workers.held = {0, 1}
    setting.collector.step()
    setting.now = 10.0
    setting.collector.step()
    assert len(setting.said) == 2
    assert setting.said[0].startswith("worker 0 is lost: no answer for collector.timeout=9 s; replacement 1")


def test_hung_worker_is_lost_while_another_delivers():
    setting = Setting("collector.workers=2", "collector.timeout=9")
    setting.collector.step()
    setting.collector.step()
    setting.workers.held = {1}
    for second in range(12):
        setting.now = float(second)
        setting.collector.step()
    assert setting.said == [
        "worker 1 is lost: no answer for collector.timeout=9 s; replacement 1 of 5 starts in 1 s"
    ]
    assert setting.workers.started[-1] == (1, 1)


def test_answer_that_waits_for_the_learner_is_not_lost():
    setting = Setting("collector.workers=2", "collector.timeout=9")
    setting.collector.step()
    setting.now = 100.0  # the learner was busy
    for _ in range(4):
        setting.collector.step()
    assert (setting.said, setting.collector.lost) == ([], 0)


def test_time_limit_begins_anew_with_each_segment():
    setting = Setting("collector.workers=1", "collector.ahead=2", "collector.timeout=9")
    setting.collector._ask()
    for second in (8, 16, 24):
        setting.now = float(second)
        setting.workers.held = set()
        setting.collector.step()
        setting.workers.held = {0}
        setting.now += 7.0
        setting.collector.step()
    assert (setting.said, setting.collector.transitions) == ([], 3 * 8 * 4)


@pytest.mark.parametrize("change", [{"sequence": 0}, {"sequence": 2}, {"incarnation": 7}])
def test_doubled_or_foreign_segment_is_dropped(change):
    setting = Setting("collector.workers=1")
    setting.collector.step()
    setting.workers.change = lambda slot, answer: {**answer, **change}
    assert setting.collector.step() == []
    assert (setting.replay.added, setting.collector.dropped) == (8, 1)
    assert setting.learner.normalizer.count == 8 * 4
    assert "is dropped, since 1 of incarnation 0 is due" in setting.said[-1]


def test_torn_segment_is_not_stored():
    setting = Setting("collector.workers=1")
    setting.collector.step()
    setting.workers.change = lambda slot, answer: {**answer, "rows": answer["rows"][:5]}
    setting.collector.step()
    assert setting.replay.added == 8
    assert "it sent a segment of shape (5, 4, " in setting.said[-1]


@pytest.mark.parametrize("ahead", [1, 3])
def test_requests_are_bounded(ahead):
    setting = Setting("collector.workers=2", f"collector.ahead={ahead}")
    for _ in range(8):
        setting.collector.step()
    assert setting.workers.most_open == 2 * ahead


def test_bounded_staleness_waits_for_the_slowest_worker():
    # One segment asks for 16 updates of 32 transitions each; the bound is three segments' worth.
    setting = Setting("collector.workers=2", "learner.replay_ratio=32", "collector.max_staleness=48")
    collector, learner = setting.collector, setting.learner

    def step():
        before = collector.transitions
        collector.step()
        learner._count(learner.updates + (collector.transitions - before))
        return collector.transitions > before

    while learner.updates < 100:
        step()
    setting.workers.held = {1}
    assert [step() for _ in range(6)].count(True) <= 3
    assert not step()
    setting.workers.held = set()
    collector.numbers()
    for _ in range(10):
        step()
    assert collector.numbers()["collect/staleness_updates"] <= 48


@pytest.mark.parametrize("slow", [{3}, {2, 3}, {0, 1, 2}])
def test_staleness_is_bounded_from_the_first_segments_on(slow):
    """All workers begin with the same weights, and the segments of slow ones come late, one after another."""
    options = ("collector.workers=4", "num_envs=16", "learner.replay_ratio=32")
    setting = Setting(*options, "collector.max_staleness=160")
    collector, learner = setting.collector, setting.learner
    collector._ask()
    setting.workers.held = slow
    for call in range(40):
        before = collector.transitions
        collector.step()
        learner._count(learner.updates + collector.transitions - before)
        if call >= 12:
            setting.workers.held = {call % 4}
    assert collector.transitions > 32 * 10
    assert collector.numbers()["collect/staleness_updates"] <= 160


def test_weights_go_out_when_they_changed():
    setting = Setting("collector.workers=1")
    for _ in range(4):
        setting.collector.step()
    given = [weights for *_, weights in setting.workers.asked]
    assert given[0]
    assert not given[-1]  # the statistics changed little
    setting.learner.update(setting.replay.sample(4))
    setting.collector.step()
    setting.collector.step()
    assert setting.workers.asked[-1][2:] == (1, False)
    assert (0, setting.workers.asked[-2][1], 1, True) in setting.workers.asked


@pytest.mark.parametrize("name", ["acer-robot", "mujoco", "torch"])
def test_other_version_is_refused_by_name(name):
    setting = Setting("collector.workers=2", start=False)
    setting.workers.change = lambda slot, hello: {
        **hello, "versions": {**hello["versions"], name: "0.0.1"}, "where": "process 7 on far"
    }  # fmt: skip
    with pytest.raises(
        InputError, match=rf"worker 0 \(process 7 on far\) has {name} 0.0.1, and the learner has"
    ):
        setting.collector.start()


def test_other_task_is_refused():
    setting = Setting("collector.workers=1", start=False)
    setting.collector._spec = dataclasses.replace(setting.spec, id="Other-v0")
    with pytest.raises(InputError, match="has another Other-v0 than the learner"):
        setting.collector.start()


def test_worker_that_does_not_start_is_named():
    setting = Setting("collector.workers=2", start=False)
    setting.workers.held = {1}
    with pytest.raises(InputError, match=r"worker 1 of collector.workers=2 did not start within .* free CPU"):
        setting.collector.start()


def test_restored_collector_has_new_workers():
    setting = Setting("collector.workers=2")
    for _ in range(3):
        setting.collector.step()
    other = Setting("collector.workers=2", start=False)
    other.collector.restore(setting.collector.state())
    assert other.workers.started == [(0, 1), (1, 1)]
    assert other.collector.transitions == 3 * 8 * 2
    other.collector.step()
    assert not np.array_equal(other.rows()[0], setting.rows()[0])


def test_outlier_of_a_worker_counts_as_a_local_one():
    setting = Setting("collector.workers=1")
    for _ in range(6):
        setting.collector.step()  # from 100 observations on, the statistics tell what is an outlier
    normalizer = setting.learner.normalizer
    alone = copy.deepcopy(normalizer)

    def spike(slot, answer):
        rows = answer["rows"].copy()
        rows[3, 1, 2] = 1e9
        return {**answer, "rows": rows}

    setting.workers.change = spike
    setting.collector.step()
    observations = setting.rows()[-8:, :, : setting.spec.input_size].flatten(0, 1)
    assert observations.max() == 1e9
    assert alone.update(observations).sum() == 1
    assert setting.collector.outliers.tolist() == [0, 0, 1]
    assert all(torch.equal(*pair) for pair in zip(normalizer.buffers(), alone.buffers(), strict=True))
    assert normalizer.mean.abs().max() < 100


def test_worker_whose_environment_failed_is_made_anew():
    setting = Setting("collector.workers=2")
    setting.collector.step()

    def failing(slot, answer):
        if slot == 1:
            raise TaskError("encoder lost")
        return answer

    setting.workers.change = failing
    setting.workers.held = {0}
    with pytest.raises(TaskError, match="encoder lost"):
        setting.collector.step()
    setting.workers.held = set()
    setting.workers.change = lambda slot, answer: answer
    stored = setting.replay.added
    setting.collector.rebuild()
    assert setting.workers.started == [(0, 0), (1, 0), (1, 1)]
    setting.collector.rebuild()  # nothing is left to do
    assert len(setting.workers.started) == 3
    for _ in range(6):
        setting.collector.step()
    assert setting.collector.numbers()["collect/workers"] == 2
    assert setting.replay.added % 8 == 0
    assert setting.replay.added > stored
    assert (setting.collector.lost, setting.collector.dropped) == (0, 0)


def test_numbers_of_the_tasks_are_those_of_all_workers():
    setting = Setting("task.id=HalfCheetah-v5", "task.backend=batch", "collector.workers=2")
    for _ in range(4):
        setting.collector.step()
    rewards = setting.replay.unpack(setting.rows()).rewards
    numbers = setting.collector.numbers()
    terms = {name: value for name, value in numbers.items() if name.startswith("reward/")}
    assert len(terms) > 1
    assert sum(terms.values()) == pytest.approx(float(rewards.mean()), rel=1e-4)
    assert (numbers["task/failed_worlds"], numbers["rollout/unstable_steps"]) == (0.0, 0.0)
    assert all(np.isnan(setting.collector.numbers()[name]) for name in terms)


@pytest.mark.parametrize(("num_envs", "is_spread"), [(8, True), (6, False)])
def test_first_episodes_of_a_worker_are_spread(monkeypatch, num_envs, is_spread):
    """As those of the local collector, where one worker has as many worlds."""
    monkeypatch.setattr(make, "SPREAD_FROM", 4)
    options = ("task.id=HalfCheetah-v5", "task.backend=batch", "collector.workers=2", f"num_envs={num_envs}")
    setting = Setting(*options)
    setting.collector.step()
    elapsed = setting.workers._workers[0]._task.state()["elapsed"]
    assert (len(elapsed.unique()) > 1) == is_spread


def test_counts_go_on_when_workers_are_new():
    first = Counted()
    first.take(0, 0, {"task/failed_worlds": 1.0, "reward/run": 2.0})
    first.take(0, 0, {"task/failed_worlds": 3.0, "reward/run": 4.0})
    first.take(1, 0, {"task/failed_worlds": 5.0, "reward/run": 6.0})
    first.take(1, 1, {"task/failed_worlds": 7.0, "reward/run": 8.0})
    second = Counted()
    second.restore(first.state())
    assert first.numbers() == {
        "rollout/unstable_steps": 0.0, "task/failed_worlds": 15.0, "reward/run": 5.0
    }  # fmt: skip
    second.take(0, 1, {"task/failed_worlds": 2.0, "reward/run": 1.0})
    assert (second.numbers()["task/failed_worlds"], second.numbers()["task/failed_worlds"]) == (17.0, 17.0)
