"""Stable-Baselines3's SAC and PPO under the protocol of `acer-train`, so that their eval.csv lies beside its own.

    pip install -e '.[benchmarks]'
    python benchmarks/peers.py sac --task HalfCheetah-v5 --steps 300000 --seed 0 --out runs/sac/eval.csv

Every `--eval-every` environment steps the deterministic policy runs whole episodes in environments of its own, made and
seeded as `acer-train` does it. `seconds` leaves evaluation out. There is one policy, so that `eval/return_online` is
the same number as `eval/return_mean`. Rows are written as they come; the file must not exist yet.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import gymnasium
import torch
from stable_baselines3 import PPO, SAC
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv, VecNormalize
from torch import Tensor

from acer_robot.experience.episodes import run_episodes
from acer_robot.experience.seeds import independent_seeds
from acer_robot.run_folder.tables import CsvTable
from acer_robot.schema import TaskConfig
from acer_robot.tasks import VectorTask, make_task
from acer_robot.training.timing import Every, Stopwatch

# The settings of rl-baselines3-zoo (github.com/DLR-RM/rl-baselines3-zoo), hyperparams/sac.yml and hyperparams/ppo.yml,
# which name the v3 and v4 versions of the same tasks. What is not named there is Stable-Baselines3's default.
_SAC_MUJOCO = {"learning_starts": 10_000}
SAC_SETTINGS: dict[str, dict[str, Any]] = {
    "Pendulum-v1": {"learning_rate": 1e-3},
    "HalfCheetah-v5": _SAC_MUJOCO,
    "Ant-v5": _SAC_MUJOCO,
    "Hopper-v5": _SAC_MUJOCO,
    "Walker2d-v5": _SAC_MUJOCO,
    "Humanoid-v5": _SAC_MUJOCO,
    "Swimmer-v5": _SAC_MUJOCO | {"gamma": 0.9999},
}
_RELU_256 = {
    "log_std_init": -2,
    "ortho_init": False,
    "activation_fn": torch.nn.ReLU,
    "net_arch": {"pi": [256, 256], "vf": [256, 256]},
}
PPO_SETTINGS: dict[str, dict[str, Any]] = {
    "HalfCheetah-v5": {
        "batch_size": 64,
        "n_steps": 512,
        "gamma": 0.98,
        "learning_rate": 2.0633e-05,
        "ent_coef": 0.000401762,
        "clip_range": 0.1,
        "n_epochs": 20,
        "gae_lambda": 0.92,
        "max_grad_norm": 0.8,
        "vf_coef": 0.58096,
        "policy_kwargs": _RELU_256,
    },
    "Walker2d-v5": {
        "batch_size": 32,
        "n_steps": 512,
        "gamma": 0.99,
        "learning_rate": 5.05041e-05,
        "ent_coef": 0.000585045,
        "clip_range": 0.1,
        "n_epochs": 20,
        "gae_lambda": 0.95,
        "max_grad_norm": 1,
        "vf_coef": 0.871923,
    },
    "Hopper-v5": {
        "batch_size": 32,
        "n_steps": 512,
        "gamma": 0.999,
        "learning_rate": 9.80828e-05,
        "ent_coef": 0.00229519,
        "clip_range": 0.2,
        "n_epochs": 5,
        "gae_lambda": 0.99,
        "max_grad_norm": 0.7,
        "vf_coef": 0.835671,
        "policy_kwargs": _RELU_256,
    },
}
"""All with one environment and running normalisation of observations and rewards (`normalize: true`)."""
SETTINGS = {"sac": SAC_SETTINGS, "ppo": PPO_SETTINGS}


def build(learner: str, task: str, seed: int, device: str = "cpu") -> BaseAlgorithm:
    """Return an untrained SAC or PPO with the zoo's settings for `task`."""
    settings = SETTINGS[learner][task]
    env: VecEnv = DummyVecEnv([lambda: gymnasium.make(task)])
    if learner == "sac":
        return SAC("MlpPolicy", env, seed=seed, device=device, **settings)
    env = VecNormalize(env, gamma=settings["gamma"])
    return PPO("MlpPolicy", env, seed=seed, device=device, **settings)


class Evaluate(BaseCallback):
    """Evaluates when it is due, with the clock stopped, and ends the training exactly at `steps`."""

    def __init__(self, task: VectorTask, table: CsvTable, steps: int, every: int) -> None:
        super().__init__()
        self._task, self._table, self._steps, self._due = task, table, steps, Every(every)
        self._watch = Stopwatch()

    def _on_step(self) -> bool:
        if self._due(self.num_timesteps) or self.num_timesteps >= self._steps:
            with self._watch.paused():
                episodes = run_episodes(self._act, self._task)
            row = {
                "seconds": self._watch.seconds,
                "eval/return_mean": float(episodes.returns.mean()),
                "eval/return_std": float(episodes.returns.std()),
                "eval/return_online": float(episodes.returns.mean()),
                "eval/length_mean": float(episodes.lengths.mean()),
            }
            self._table.write(self.num_timesteps, row)
            print(f"evaluation at step {self.num_timesteps:,}: {row}", flush=True)
        return self.num_timesteps < self._steps

    def _act(self, observations: Tensor) -> Tensor:
        statistics = self.model.get_vec_normalize_env()
        raw = observations.numpy()
        seen = raw if statistics is None else statistics.normalize_obs(raw)
        actions, _ = self.model.predict(seen, deterministic=True)
        return torch.from_numpy(actions)


def main() -> None:
    """Train one peer."""
    parser = argparse.ArgumentParser(
        description="Train Stable-Baselines3's SAC or PPO with the zoo's settings."
    )
    parser.add_argument("learner", choices=list(SETTINGS))
    parser.add_argument("--task", default="HalfCheetah-v5")
    parser.add_argument("--steps", type=int, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--eval-every", type=int, default=10_000)
    parser.add_argument("--episodes", type=int, default=10)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    known = SETTINGS[options.learner]
    if options.task not in known:
        parser.error(
            f"the zoo has no {options.learner} settings for {options.task}; choose one of {list(known)}"
        )
    if options.out.exists():
        parser.error(f"{options.out} exists; give a new file")
    torch.set_num_threads(options.threads)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    model = build(options.learner, options.task, options.seed)
    config = TaskConfig(suite="gymnasium", id=options.task)
    task = make_task(config, options.episodes, independent_seeds(options.seed).evaluation)
    table = CsvTable(options.out)
    try:
        model.learn(options.steps, callback=Evaluate(task, table, options.steps, options.eval_every))
    finally:
        table.close()
        task.close()


if __name__ == "__main__":
    main()
