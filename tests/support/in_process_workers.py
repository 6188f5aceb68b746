"""Workers of `RemoteCollector` in the test's own process, which can be held back, lost or made to misbehave."""

from __future__ import annotations

import dataclasses
from collections import deque

from acer_robot.distributed.evaluation import Evaluation, evaluate
from acer_robot.distributed.remote_collector import WorkerLost
from acer_robot.distributed.segment import weights_of
from acer_robot.distributed.worker import Worker


class InProcessWorkers:
    """A request is carried out when its answer is taken; a worker that is held back has no answer yet."""

    def __init__(self, config):
        self.config = dataclasses.asdict(config)
        self.held, self.dead = set(), set()
        self.started, self.asked = [], []
        self.change = lambda slot, answer: answer
        self.most_open = 0
        self.closed = False
        self._workers, self._open = {}, {}

    def start(self, slot, incarnation):
        self.started.append((slot, incarnation))
        self.dead.discard(slot)
        self._workers[slot] = Worker(self.config, slot, incarnation)
        return self._ticket(slot, self._workers[slot].hello)

    def publish(self, weights):
        return weights

    def collect(self, slot, sequence, version, weights):
        self.asked.append((slot, sequence, version, weights is not None))
        worker = self._workers[slot]
        return self._ticket(slot, lambda: worker.collect(sequence, version, weights))

    def _ticket(self, slot, work):
        ticket = object()
        self._open[ticket] = (slot, work)
        self.most_open = max(self.most_open, len(self._open))
        return ticket

    def wait(self, tickets, seconds):
        return next((ticket for ticket in tickets if self._open[ticket][0] not in self.held), None)

    def answer(self, ticket):
        slot, work = self._open.pop(ticket)
        if slot in self.dead:
            raise WorkerLost("the process is gone")
        return self.change(slot, work())

    def stop(self, slot):
        self._open = {ticket: (owner, work) for ticket, (owner, work) in self._open.items() if owner != slot}

    def close(self):
        self.closed = True


class InProcessEvaluations:
    """Evaluations whose result is there after `delay` looks."""

    delay = 3

    def __init__(self, config):
        self._config, self._open = dataclasses.asdict(config), deque()

    def __len__(self):
        return len(self._open)

    def begin(self, step, seconds, seed, learner, state):
        sent = weights_of(learner.exported_policy), weights_of(learner.policy)
        order = (self._config, seed, *sent)
        self._open.append([self.delay, order, Evaluation(step, seconds, state, order, None)])

    def finished(self, seconds=0.0):
        if not self._open:
            return None
        self._open[0][0] -= 1
        if self._open[0][0] > 0:
            return None
        _, order, done = self._open[0]
        done.row = {"seconds": done.seconds, **evaluate(*order)}
        self._open.popleft()
        return done

    def repeat(self):
        self._open[0][0] = self.delay

    def close(self):
        self._open.clear()
