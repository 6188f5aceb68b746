"""The whole state of a MuJoCo simulation as tensors: what the next step reads, and what an environment may read."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

if TYPE_CHECKING:
    from mujoco import MjData, MjModel

State = dict[str, Any]

_OF_CONSTRAINTS = (
    "efc_",
    "iefc_",
    "ifrc_",
    "iacc",
    "island_",
    "map_",
    "efm_",
    "dof_island",
    "tree_island",
    "tendon_efcadr",
)
"""Beginnings of names of arrays that lie in MuJoCo's arena; `mj_step1` computes them from the others."""
_ADDRESSES = ("plugin_data",)
"""Arrays of addresses in this process's memory."""


def data_state(data: MjData) -> State:
    """Return copies of a simulation's arrays, without those that `mj_step1` computes, its time and its counters."""
    return {
        "time": float(data.time),
        "warnings": [int(warning.number) for warning in data.warning],
        "arrays": {
            name: torch.from_numpy(value.copy())
            for name, value in _arrays(data).items()
            if value.size and not name.startswith(_OF_CONSTRAINTS) and name not in _ADDRESSES
        },
    }


def restore_data(model: MjModel, data: MjData, state: State) -> None:
    """Put a simulation of the same model into a state of `data_state`.

    dm_control finishes with `mj_step2` what `mj_step1` began, so contacts and constraints are computed here. The other
    arrays are then written once more: after a step of Gymnasium some of them belong to the state before the last
    substep, and environments read them.

    Raises:
        ValueError: if an array has another shape, as in another version of MuJoCo.
    """
    import mujoco

    for repeat in range(2):
        live = _arrays(data)
        for name, value in state["arrays"].items():
            if name not in live or live[name].shape != tuple(value.shape):
                raise ValueError(f"the simulation has no array {name} of shape {tuple(value.shape)}")
            live[name][...] = value.numpy()
        data.time = state["time"]
        if repeat == 0:
            mujoco.mj_step1(model, data)
    for warning, number in zip(data.warning, state["warnings"], strict=True):
        warning.number = number


def fingerprints(model: MjModel) -> dict[str, int]:
    """Return a checksum of each array and each option of a model."""
    return {name: zlib.crc32(np.ascontiguousarray(value).data) for name, value in _of_model(model).items()}


def model_state(model: MjModel, built: dict[str, int]) -> State:
    """Return what was changed in a model since it was built, and a checksum of the model as it was built."""
    changed = {
        name: torch.from_numpy(np.array(value))
        for name, value in _of_model(model).items()
        if zlib.crc32(np.ascontiguousarray(value).data) != built.get(name)
    }
    return {"built": _checksum(built), "changed": changed}


def restore_model(model: MjModel, built: dict[str, int], state: State) -> None:
    """Change a model that was built in the same way as another one was changed.

    Raises:
        ValueError: if it was built in another way: another file, or another version of MuJoCo.
    """
    if state["built"] != _checksum(built):
        raise ValueError("the model is built differently than it was")
    for name, value in state["changed"].items():
        owner = model.opt if name.startswith("opt.") else model
        attribute = name.removeprefix("opt.")
        if isinstance(getattr(owner, attribute), np.ndarray):
            getattr(owner, attribute)[...] = value.numpy()
        else:
            setattr(owner, attribute, value.item())


def _checksum(built: dict[str, int]) -> int:
    return zlib.crc32(repr(sorted(built.items())).encode())


def _arrays(data: MjData) -> dict[str, np.ndarray[Any, Any]]:
    names = (name for name in dir(data) if not name.startswith("_"))
    return {name: value for name in names if isinstance(value := getattr(data, name), np.ndarray)}


def _of_model(model: MjModel) -> dict[str, np.ndarray[Any, Any]]:
    """Return the arrays of a model, and its options as `opt.gravity`."""
    found: dict[str, np.ndarray[Any, Any]] = {}
    for prefix, owner in (("", model), ("opt.", model.opt)):
        for name in dir(owner):
            value = None if name.startswith("_") else getattr(owner, name)
            if isinstance(value, np.ndarray) or (prefix and isinstance(value, int | float)):
                found[prefix + name] = np.asarray(value)
    return found
