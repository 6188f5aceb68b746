"""More edits of `tests/mutations.py`: what is collected, stored, replayed and logged."""

Row = tuple[str, str, str, str]

REPLAY: tuple[Row, ...] = (
    (
        "replay: segments cross the ring's head",
        "oldest = self._head if self.size == self.capacity else 0",
        "oldest = 0",
        "experience/test_replay.py -k consecutive",
    ),
    (
        "replay: the newest start is never drawn",
        "starts = self.size - self.segment_length + 1",
        "starts = self.size - self.segment_length",
        "experience/test_replay.py -k consecutive",
    ),
    (
        "replay: environments mixed within a segment",
        "rows * self.num_envs + column",
        "rows * self.num_envs + (column + self._offsets) % self.num_envs",
        "experience/test_replay.py -k consecutive",
    ),
    (
        "replay: terminated and truncated exchanged",
        '_SCALARS = ("rewards", "terminated", "truncated")',
        '_SCALARS = ("rewards", "truncated", "terminated")',
        "experience/test_replay.py -k every_field",
    ),
    (
        "replay: the latest segment ends a step early",
        "self._head - self.segment_length)",
        "self._head - self.segment_length - 1)",
        "experience/test_replay.py -k latest_segments",
    ),
    (
        "replay: memory not checked",
        "needed > free",
        "needed < 0",
        "experience/test_replay.py -k larger_than_the_memory",
    ),
    ("replay: no seed", ".manual_seed(seed)", "", "experience/test_replay.py -k same_seed"),
)

COLLECTOR: tuple[Row, ...] = (
    (
        "9 the observation after the reset stored as successor",
        "torch.from_numpy(result.next_observations)",
        "torch.from_numpy(result.observations)",
        "experience/test_collector.py -k true_successors",
    ),
    (
        "10 the squashed action stored",
        "                actions,\n",
        "                self.policy.actor.squash(actions),\n",
        "experience/test_collector.py -k trap_10",
    ),
    (
        "10 mu's std not stored",
        "                log_std,\n",
        "                torch.zeros_like(log_std),\n",
        "experience/test_collector.py -k trap_10",
    ),
    (
        "collector: a NaN reward goes unseen",
        'self._finite("reward", result.rewards)',
        "pass",
        "experience/test_collector.py -k not_finite",
    ),
    (
        "collector: returns run on after an episode's end",
        "self._returns[ended] = 0.0",
        "pass",
        "experience/test_collector.py -k true_successors",
    ),
)

UPDATE: tuple[Row, ...] = (
    (
        "update: waits for the device",
        "x, next_x = self.normalizer(",
        "batch.rewards.sum().item(); x, next_x = self.normalizer(",
        "learner/test_learner.py -k never_asks",
    ),
    (
        "update: the temperature has the wrong sign",
        "return self.log_temperature * surplus",
        "return -self.log_temperature * surplus",
        "learner/test_learner.py -k temperature",
    ),
    (
        "12 delta depends on the reward's scale",
        "if not self.config.advantage_scaling:",
        "if True:",
        "learner/test_learner.py -k free_of_the_reward_scale",
    ),
)

BASELINES: tuple[Row, ...] = (
    (
        "baselines: TIS without its weights",
        'config.estimator == "tis"',
        'config.estimator == "none"',
        "learner/test_baselines.py -k their_loops",
    ),
    (
        "baselines: the loss of V not weighted",
        "(weights * (returns - online_v).square())",
        "(returns - online_v).square()",
        "learner/test_baselines.py -k their_loops",
    ),
    (
        "baselines: the policy gradient not weighted",
        "advantage = weights * (returns - v)",
        "advantage = returns - v",
        "learner/test_baselines.py -k their_loops",
    ),
)

SCHEDULE: tuple[Row, ...] = (
    (
        "on policy: only the first environments' segments are used",
        "range(0, replay.num_envs, options.segments)",
        "range(0, 1, options.segments)",
        "training/test_train.py -k on_policy",
    ),
    (
        "on policy: a segment is used again at every step",
        "transitions % (options.segment_length * replay.num_envs) == 0",
        "transitions >= options.segment_length * replay.num_envs",
        "training/test_train.py -k on_policy",
    ),
)
