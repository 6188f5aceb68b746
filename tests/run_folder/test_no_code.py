"""No file runs code: a planted pickle is refused with one line in every load path. No path leaves the run folder."""

from __future__ import annotations

import io
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from acer_robot.deployment import verify_policy
from acer_robot.errors import InputError
from acer_robot.policies.exported.file import load_exported
from acer_robot.reporting.contents import read_config
from acer_robot.run_folder.checkpoints import load_run, read_checkpoint
from acer_robot.run_folder.incidents import read_incident
from acer_robot.run_folder.layout import CHECKPOINTS
from acer_robot.run_folder.listing import list_runs
from acer_robot.run_folder.recording import FILE as EPISODES
from acer_robot.run_folder.recording import load_recording
from acer_robot.run_folder.replay_files import FOLDER, read_rows
from acer_robot.run_folder.tables import read_table
from acer_robot.training.resume import newest_point, recorded_config


class Payload:
    """Leaves a folder where it is unpickled."""

    def __init__(self, planted):
        self.planted = str(planted)

    def __reduce__(self):
        return os.mkdir, (self.planted,)


def plain(planted):
    return pickle.dumps(Payload(planted))


def archive(planted):
    buffer = io.BytesIO()
    torch.save({"format": 2, "learner": Payload(planted)}, buffer)
    return buffer.getvalue()


def arrays(planted):
    buffer = io.BytesIO()
    names = ("observations", "commands", "rewards", "lengths", "whole")
    np.savez(buffer, **{name: np.array([Payload(planted)], dtype=object) for name in names})
    return buffer.getvalue()


def tagged(planted):
    return f"!!python/object/apply:os.mkdir ['{planted}']\n".encode()


ROWS = [{"name": "0-1.rows", "first": 0, "rows": 1, "row": [1, 1], "sha256": ""}]
LOAD_PATHS = {
    "checkpoint": ("checkpoints/latest.pt", lambda folder: read_checkpoint(folder)),
    "exported checkpoint": ("checkpoints/best.pt", lambda folder: load_run(folder, "best")),
    "resume": ("checkpoints/latest.pt", newest_point),
    "former checkpoint": ("checkpoints/latest.1.pt", newest_point),
    "incident": ("incidents/0/incident.pt", lambda folder: read_incident(folder / "incidents/0")),
    "policy": ("export/policy.pt", lambda folder: load_exported(folder / "export/policy.pt")),
    "episodes": (f"export/{EPISODES}", lambda folder: load_recording(folder / "export" / EPISODES, 3, 1)),
    "rows": (str(FOLDER / "0-1.rows"), lambda folder: list(read_rows(folder, ROWS, 0))),
    "table": ("eval.csv", lambda folder: read_table(folder / "eval.csv")),
    "options": ("config.yaml", recorded_config),
    "options of a report": ("config.yaml", read_config),
}


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("content", [plain, archive, arrays, tagged])
@pytest.mark.parametrize("name", LOAD_PATHS)
def test_planted_pickle_is_refused_in_one_line(tmp_path, name, content):
    planted, (file, read) = tmp_path / "planted", LOAD_PATHS[name]
    folder = tmp_path / "run"
    (folder / file).parent.mkdir(parents=True)
    (folder / file).write_bytes(content(planted))
    with pytest.raises(InputError) as refused:
        read(folder)
    assert not planted.exists()
    assert "\n" not in str(refused.value)
    assert "weights_only" not in str(refused.value)


def test_the_payload_would_work(tmp_path):
    pickle.loads(plain(tmp_path / "planted"))  # noqa: S301
    assert (tmp_path / "planted").is_dir()


def test_planted_pickle_in_options_or_vectors_does_nothing(tmp_path):
    planted = tmp_path / "planted"
    (tmp_path / "config.yaml").write_bytes(tagged(planted))
    assert "damaged" in list_runs(tmp_path)[0].state
    (tmp_path / "test_vectors.npz").write_bytes(arrays(planted))
    with np.load(tmp_path / "test_vectors.npz") as vectors, pytest.raises(ValueError, match="allow_pickle"):
        vectors["observations"]  # as verify_policy, which asks for nothing else
    assert "allow_pickle" not in Path(verify_policy.__file__).read_text()
    assert not planted.exists()


@pytest.mark.parametrize("name", ["../latest", "/etc/passwd", "..", "latest/../../x", ""])
def test_names_of_checkpoints_cannot_leave_the_folder(tmp_path, name):
    with pytest.raises(InputError, match=f"choose one of {', '.join(CHECKPOINTS)}"):
        load_run(tmp_path, name)


@pytest.mark.parametrize("name", ["../../secret", "/etc/hostname", "..", ".", "a/b"])
def test_names_of_rows_cannot_leave_the_folder(tmp_path, name):
    with pytest.raises(InputError, match=r"outside of its folder|cannot be read"):
        list(read_rows(tmp_path, [{**ROWS[0], "name": name}], 0))


def test_folder_that_a_config_names_is_not_used(tmp_path):
    (tmp_path / "config.yaml").write_text("run_dir: /etc\ntask: {suite: gymnasium, id: X-v0}\n")
    assert recorded_config(tmp_path).run_dir == str(tmp_path)
