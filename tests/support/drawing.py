"""Whether a GL backend draws here."""

import functools

import pytest

from acer_robot.errors import InputError
from acer_robot.reporting.gl import probe_gl


@functools.cache
def can_draw():
    try:
        return bool(probe_gl())
    except InputError:
        return False


needs_gl = pytest.mark.skipif("not __import__('drawing').can_draw()", reason="no GL backend draws here")
"""Asked when a test starts, so that a run of other tests does not open a context."""
