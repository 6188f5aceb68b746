"""Options as the command line composes them; tests/support/composed.py is the same for tests."""

from hydra import compose, initialize_config_module
from hydra.core.config_store import ConfigStore
from omegaconf import OmegaConf

from acer_robot.commands.dm_control_tasks import store_dm_control_tasks
from acer_robot.schema import TrainConfig


def composed_train(*overrides: str) -> TrainConfig:
    """Return the options that `acer-train` gets."""
    ConfigStore.instance().store(name="train_schema", node=TrainConfig)
    store_dm_control_tasks()
    with initialize_config_module("acer_robot.configs", version_base="1.3"):
        return OmegaConf.to_object(compose("train", overrides=list(overrides)))
