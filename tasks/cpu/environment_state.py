"""The state of an environment, whatever its class: attributes, random generators and simulation, through all wrappers.

A state holds plain numbers, texts and tensors alone, so that a file of it can be read without running code. It is put
into an environment that was made in the same way: objects are kept, and what they hold is set.
"""

from __future__ import annotations

import collections
import enum
import functools
import random
import types
from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np
import torch
from gymnasium.envs.registration import EnvSpec

from acer_robot.tasks.cpu.simulation_state import (
    data_state,
    fingerprints,
    model_state,
    restore_data,
    restore_model,
)

Node = Any
"""None, a number, a text, or a dictionary with the entry "kind"."""

_MAX_DEPTH, _MAX_OBJECTS = 60, 200_000
_BIT_GENERATORS = ("MT19937", "PCG64", "PCG64DXSM", "Philox", "SFC64")
_DRAWING = (
    "gymnasium.envs.mujoco.mujoco_rendering",
    "mujoco.",
    "glfw",
    "pygame",
    "OpenGL",
    "dm_control._render",
)
"""Modules whose objects draw pictures or describe a model; no number of a run depends on them."""
_CODE = (
    type, types.FunctionType, types.BuiltinFunctionType, types.MethodType, types.ModuleType, types.MethodWrapperType,
    functools.partial, np.ufunc, np.dtype, slice, range, EnvSpec,
)  # fmt: skip


class StateError(ValueError):
    """A state cannot be read or set; the message names the attribute."""


class EnvironmentState:
    """Reads and sets the state of one environment.

    An environment, or a wrapper, may give its own state: a class with the methods `state()` and `restore(state)`. The
    first returns numbers, texts, arrays, and lists and dictionaries of them. Its attributes are then left alone.
    """

    def __init__(self, env: gymnasium.Env[Any, Any]) -> None:
        """Remember the models as they are built; an environment may change them later."""
        self._env = env
        self._built: dict[int, dict[str, int]] = {}
        self._kept: list[Any] = []
        reader = _Reader(self._fingerprints)
        try:
            reader.read(env, "", 0)
        except StateError:
            return  # `read` says so when it is asked for

    def read(self) -> Node:
        """Return the state.

        Raises:
            StateError: if an attribute is of a kind that cannot be put into a file.
        """
        return _Reader(self._fingerprints).read(self._env, "", 0)

    def set(self, state: Node) -> None:
        """Put the environment into a state of `read`, from an environment that was made in the same way.

        Raises:
            StateError: if it was not; the environment may then be half-way, and must be made anew.
        """
        try:
            _Writer(self._fingerprints).write(state, self._env, "")
        except StateError:
            raise
        except (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
            raise StateError(f"the state does not fit: {type(error).__name__}: {error}") from error

    def _fingerprints(self, model: Any) -> dict[str, int]:  # noqa: ANN401 (an MjModel)
        """Return the checksums of a model when it was first seen."""
        address = model._address
        if address not in self._built:
            self._built[address] = fingerprints(model)
            self._kept.append(model)  # so that no other model gets its address
        return self._built[address]


class _Reader:
    """From an object to a node. A mutable object that is met again becomes a reference, so that it stays one object."""

    def __init__(self, built: Callable[[Any], dict[str, int]]) -> None:
        self._built = built
        self._met: dict[int, int] = {}
        self._kept: list[Any] = []

    def read(self, value: Any, path: str, depth: int) -> Node:  # noqa: ANN401 (one case a kind)
        if value is None or type(value) in (bool, int, float, str, bytes):
            return value
        if isinstance(value, enum.Enum):
            return {"kind": "choice", "class": _name(type(value)), "name": value.name}
        if isinstance(value, np.generic):
            return {"kind": "scalar", "value": _tensor(np.asarray(value), path)}
        if isinstance(value, _CODE):
            return {"kind": "code", "name": _name(value)}
        if _name(type(value)).startswith(_DRAWING) and not _is_simulation(value):
            return {"kind": "code", "name": _name(type(value))}
        key = value._address if _is_simulation(value) else id(value)  # MuJoCo wraps one model several times
        if key in self._met:
            return {"kind": "same", "as": self._met[key]}
        self._met[key] = len(self._kept)
        self._kept.append(value)
        if depth > _MAX_DEPTH or len(self._kept) > _MAX_OBJECTS:
            raise StateError(f"{path or 'it'} holds too many objects within each other")
        return self._object(value, path, depth + 1)

    def _object(self, value: Any, path: str, depth: int) -> Node:  # noqa: ANN401
        def each(items: Any) -> list[Node]:  # noqa: ANN401
            return [self.read(item, f"{path}[{i}]", depth) for i, item in enumerate(items)]

        if isinstance(value, np.ndarray):
            return {"kind": "array", "value": _tensor(value, path)}
        if isinstance(value, torch.Tensor) and type(value) is torch.Tensor:
            return {"kind": "tensor", "value": value.detach().cpu().clone()}
        if isinstance(value, np.random.Generator):
            return {"kind": "generator", "state": self.read(value.bit_generator.state, path, depth)}
        if isinstance(value, np.random.RandomState):
            return {"kind": "random state", "state": self.read(value.get_state(legacy=False), path, depth)}
        if type(value) is random.Random:
            return {"kind": "random", "state": self.read(value.getstate(), path, depth)}
        if isinstance(value, gymnasium.Space):
            return {"kind": "space", "generator": self.read(value._np_random, f"{path}.np_random", depth)}
        if isinstance(value, list | tuple | set | frozenset | collections.deque):
            items = sorted(value, key=repr) if isinstance(value, set | frozenset) else value
            return {"kind": "sequence", "class": _name(type(value)), "items": each(items)}
        if isinstance(value, dict):
            keys, values = each(value), [self.read(value[key], f"{path}[{key!r}]", depth) for key in value]
            return {"kind": "dictionary", "class": _name(type(value)), "keys": keys, "values": values}
        if _is_model(value):
            return {"kind": "model", "state": model_state(value, self._built(value))}
        if _is_data(value):
            model = self.read(value.model, f"{path}.model", depth)
            return {"kind": "data", "model": model, "state": data_state(value)}
        if _is_physics(value):
            model, data = (self.read(part.ptr, f"{path}.model", depth) for part in (value.model, value.data))
            return {"kind": "physics", "model": model, "data": data}
        if _gives_state(value):
            return {
                "kind": "own",
                "class": _name(type(value)),
                "state": self.read(value.state(), path, depth),
            }
        if not hasattr(value, "__dict__") or (hasattr(type(value), "__slots__") and type(value).__slots__):
            raise StateError(
                f"{path.lstrip('.') or 'it'} is a {_name(type(value))}, which cannot be put into a file"
            )
        attributes = {name: self.read(item, f"{path}.{name}", depth) for name, item in vars(value).items()}
        return {"kind": "object", "class": _name(type(value)), "attributes": attributes}


class _Writer:
    """From a node to the object, which is changed in place where that can be done."""

    def __init__(self, built: Callable[[Any], dict[str, int]]) -> None:
        self._built = built
        self._made: list[Any] = []

    def write(self, node: Node, old: Any, path: str) -> Any:  # noqa: ANN401
        """Return the value of a node; `old` is what the attribute holds now."""
        if not isinstance(node, dict):
            return node
        kind = node["kind"]
        if kind == "scalar":
            return node["value"].numpy()[()]
        if kind == "same":
            return self._made[node["as"]]
        if kind == "choice":
            if _name(type(old)) != node["class"]:
                raise StateError(f"{path} is no {node['class']}")
            return type(old)[node["name"]]
        if kind == "code":
            if _name(old) != node["name"] and _name(type(old)) != node["name"]:
                raise StateError(f"{path} is {_name(old)}, not {node['name']}")
            return old
        place = len(self._made)
        self._made.append(old)
        self._made[place] = self._write(kind, node, old, path, place)
        return self._made[place]

    def _write(self, kind: str, node: Node, old: Any, path: str, place: int) -> Any:  # noqa: ANN401
        if kind == "array":
            return _array(node["value"].numpy(), old)
        if kind == "tensor":
            return (
                node["value"].clone() if not isinstance(old, torch.Tensor) else node["value"].to(old.device)
            )
        if kind == "generator":
            state = self.write(node["state"], None, path)
            name = state["bit_generator"]
            if name not in _BIT_GENERATORS:
                raise StateError(f"{path} is a random generator {name!r}, which is not known")
            fits = isinstance(old, np.random.Generator) and old.bit_generator.state["bit_generator"] == name
            generator = old if fits else np.random.Generator(getattr(np.random, name)())
            generator.bit_generator.state = state
            return generator
        if kind == "random state":
            random_state = old if isinstance(old, np.random.RandomState) else np.random.RandomState()
            random_state.set_state(self.write(node["state"], None, path))
            return random_state
        if kind == "random":
            python_random = old if isinstance(old, random.Random) else random.Random()
            python_random.setstate(self.write(node["state"], None, path))
            return python_random
        if kind == "space":
            if not isinstance(old, gymnasium.Space):
                raise StateError(f"{path} is no space")
            old._np_random = self.write(node["generator"], old._np_random, path)
            return old
        if kind == "sequence":
            return self._sequence(node, old, path)
        if kind == "dictionary":
            return self._dictionary(node, old, path, place)
        if kind == "model":
            restore_model(old, self._built(old), node["state"])
            return old
        if kind == "data":
            self.write(node["model"], old.model, path)
            restore_data(old.model, old, node["state"])
            return old
        if kind == "physics":
            self.write(node["model"], old.model.ptr, path)
            self.write(node["data"], old.data.ptr, path)
            return old
        if _name(type(old)) != node["class"]:
            raise StateError(f"{path.lstrip('.') or 'it'} is a {_name(type(old))}, not a {node['class']}")
        if kind == "own":
            old.restore(self.write(node["state"], None, path))
            return old
        if kind != "object":
            raise StateError(f"{path} is of the unknown kind {kind!r}")
        attributes = vars(old)
        for name in attributes.keys() - node["attributes"].keys():
            del attributes[name]
        for name, item in node["attributes"].items():
            attributes[name] = self.write(item, attributes.get(name), f"{path}.{name}")
        return old

    def _sequence(self, node: Node, old: Any, path: str) -> Any:  # noqa: ANN401
        known = {_name(kind): kind for kind in (list, tuple, set, frozenset, collections.deque)}
        same = _name(type(old)) == node["class"]
        if not same and node["class"] not in known:
            raise StateError(f"{path} is no {node['class']}")
        olds = list(old) if same and not isinstance(old, set | frozenset) else []
        olds += [None] * (len(node["items"]) - len(olds))
        items = [self.write(item, olds[i], f"{path}[{i}]") for i, item in enumerate(node["items"])]
        if same and isinstance(old, list | collections.deque):
            old.clear()
            old.extend(items)
            return old
        if same and isinstance(old, set):
            old.clear()
            old.update(items)
            return old
        kind = type(old) if same else known[node["class"]]
        return kind(*items) if hasattr(kind, "_fields") else kind(items)

    def _dictionary(self, node: Node, old: Any, path: str, place: int) -> Any:  # noqa: ANN401
        same = _name(type(old)) == node["class"]
        if not same and node["class"] != _name(dict):
            raise StateError(f"{path} is no {node['class']}")
        made: dict[Any, Any] = old if same else {}
        self._made[place] = made
        keys = [self.write(key, None, path) for key in node["keys"]]
        before = dict(made)
        made.clear()
        for key, item in zip(keys, node["values"], strict=True):
            made[key] = self.write(item, before.get(key), f"{path}[{key!r}]")
        return made


def _array(value: Any, old: Any) -> Any:  # noqa: ANN401 (arrays)
    """Write into a view, such as one of a simulation's data; replace an array that owns its numbers by a copy."""
    is_view = isinstance(old, np.ndarray) and old.base is not None and old.flags.writeable
    if is_view and old.shape == value.shape and old.dtype == value.dtype:
        old[...] = value
        return old
    return value.copy()


def _tensor(value: Any, path: str) -> torch.Tensor:  # noqa: ANN401 (an array)
    if value.dtype.kind not in "bifuc" or value.dtype.itemsize > 16 or value.dtype == np.longdouble:
        raise StateError(f"{path.lstrip('.')} is an array of {value.dtype}, which cannot be put into a file")
    return torch.from_numpy(np.array(value).astype(value.dtype.newbyteorder("="), copy=False))


def _name(thing: Any) -> str:  # noqa: ANN401
    """Return what a class, a function or an object is called, with its module."""
    named = thing if hasattr(thing, "__qualname__") else type(thing)
    name = getattr(thing, "__name__", "") if isinstance(thing, types.ModuleType) else named.__qualname__
    return f"{getattr(named, '__module__', None) or 'builtins'}.{name}"


def _is_model(value: Any) -> bool:  # noqa: ANN401
    return _name(type(value)) == "mujoco._structs.MjModel"


def _is_data(value: Any) -> bool:  # noqa: ANN401
    return _name(type(value)) == "mujoco._structs.MjData"


def _is_simulation(value: Any) -> bool:  # noqa: ANN401
    return _is_model(value) or _is_data(value)


def _is_physics(value: Any) -> bool:  # noqa: ANN401
    return any(_name(kind) == "dm_control.mujoco.engine.Physics" for kind in type(value).__mro__)


def _gives_state(value: Any) -> bool:  # noqa: ANN401
    return all(callable(getattr(type(value), name, None)) for name in ("state", "restore"))
