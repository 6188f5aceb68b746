"""The exceptions that a command turns into a single line, and what damaged files raise."""

from __future__ import annotations

import csv
import pickle
import struct
import zipfile
import zlib


class InputError(ValueError):
    """Something the user gave cannot be used; the message names the value, what was expected and what to do.

    A command ends with status 2.
    """


class NonFiniteError(RuntimeError):
    """A tensor or array that must be finite holds NaN or infinity; the message names it and the step."""

    environment: int | None = None
    """Number of the environment that it came from, if it came from one."""


class TaskError(RuntimeError):
    """An environment raised, or returned what cannot be used; the message names environment, step and seed."""

    environment: int | None = None
    """Number of the environment."""


DAMAGE = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    EOFError,
    ImportError,
    LookupError,
    MemoryError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
    csv.Error,
    pickle.UnpicklingError,
    struct.error,
    zipfile.BadZipFile,
    zlib.error,
)
"""What a reader of torch, JSON or CSV may raise for a damaged file: it depends on the byte that is wrong."""


def named(error: BaseException) -> str:
    """Return the kind of an error and the first line of its message."""
    return f"{type(error).__name__}: {first_line(error)}"


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message, or the error's name where it has none.

    PyTorch adds advice on checkpoints to what it says of any file that is no zip archive: it is left out.
    """
    line = next(iter(str(error).strip().splitlines()), type(error).__name__)
    return line.partition(". This is an internal miniz error")[0]
