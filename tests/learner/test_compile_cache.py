"""A cache of torch.compile that a killed process left half-written."""

from __future__ import annotations

import pytest
import torch
from torch.utils._filelock import FileLock

from acer_robot.learner import compiler
from acer_robot.learner.compile_cache import clear_broken


@pytest.fixture
def whole():
    """The bytes of a library that was linked to its end."""
    from torch._C import __file__ as library

    with open(library, "rb") as file:
        return file.read()


def test_truncated_libraries_are_removed(tmp_path, whole, capsys):
    files = {
        "a/good.main.so": whole,
        "a/empty.main.so": b"",
        "b/cut.main.so": whole[:200],
        "b/cut.o": whole[:70],
    }
    files |= {"precompiled_headers/a.h.gch": b"gpch", "precompiled_headers/b.h.gch": b"", "a/source.cpp": b""}
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
    removed = {str(path.relative_to(tmp_path)) for path in clear_broken(tmp_path)}
    assert removed == {"a/empty.main.so", "b/cut.main.so", "b/cut.o", "precompiled_headers/b.h.gch"}
    assert "4 files that a killed process left" in capsys.readouterr().out
    assert clear_broken(tmp_path) == []


def test_library_that_another_process_links_is_left(tmp_path, monkeypatch):
    monkeypatch.setattr("torch._inductor.codecache.get_lock_dir", lambda: str(tmp_path))
    (tmp_path / "a").mkdir()
    (tmp_path / "a/key.main.so").touch()
    with FileLock(str(tmp_path / "key.lock")):
        assert clear_broken(tmp_path) == []
    assert len(clear_broken(tmp_path)) == 1


def test_failed_first_call_is_tried_once_more(monkeypatch, capsys):
    calls, cleared = [], []

    def broken(x):
        calls.append(1)
        if len(calls) == 1:
            raise ImportError("main.so: file too short")
        return x + 1

    monkeypatch.setattr(torch, "compile", lambda function, **_: function)
    monkeypatch.setattr(compiler, "clear_broken", lambda: cleared.append("broken"))
    monkeypatch.setattr(compiler, "clear_headers", lambda: cleared.append("headers"))
    function = compiler.compiled(broken, torch.device("cpu"))
    assert function(1) == 2
    assert cleared == ["broken", "broken", "headers"]
    assert "file too short" in capsys.readouterr().out
    assert function(2) == 3
    assert len(calls) == 3
