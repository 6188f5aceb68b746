"""The replay on disk: rows are written once, in files that stay whole, and give the same ring of any capacity."""

import os
import subprocess
import sys

import pytest
import torch

from acer_robot.errors import InputError
from acer_robot.experience.replay import Replay
from acer_robot.learner.batch import Trajectory
from acer_robot.run_folder import replay_files
from acer_robot.run_folder.owner import is_owned, owned
from acer_robot.run_folder.replay_files import FOLDER, new_rows, read_rows, remove_rows, write_rows
from acer_robot.run_folder.status import read_status, write_status
from acer_robot.run_folder.tables import CsvTable, read_table

CPU = torch.device("cpu")


def add(replay, first, last):
    for number in range(first, last):
        value = number + 0.25 * torch.arange(2.0)
        row, flags = value.unsqueeze(-1), torch.zeros(2, dtype=torch.bool)
        replay.add(Trajectory(row, row, row, value, flags, flags, row, row))


def ring(capacity, steps=0, seed=0):
    replay = Replay(2 * capacity, 2, 1, 1, 4, CPU, seed)
    add(replay, 0, steps)
    return replay


def write(folder, replay, files):
    return write_rows(folder, new_rows(folder, replay, files))


@pytest.mark.parametrize(
    ("capacity", "grown", "steps"), [(50, 80, 20), (10, 10, 37), (10, 10, 40), (16, 16, 16)]
)
def test_restored_ring_draws_the_same_segments(tmp_path, monkeypatch, capacity, grown, steps):
    monkeypatch.setattr(replay_files, "FILE_BYTES", 7 * ring(4).row_bytes)
    replay, files = ring(capacity), []
    for first in range(0, steps, 3):  # a checkpoint every three steps
        add(replay, first, min(first + 3, steps))
        files = write(tmp_path, replay, files)
    replay.sample(5)
    other = ring(grown, seed=9)
    other.restore(replay.state(), read_rows(tmp_path, files, replay.oldest))
    for number in range(steps, steps + 30):
        assert (other.added, other.size, other.oldest) == (replay.added, replay.size, replay.oldest)
        one, two = replay.sample(6), other.sample(6)
        assert torch.equal(one.rewards, two.rewards)
        assert torch.equal(replay.latest(0, 2).rewards, other.latest(0, 2).rewards)
        add(replay, number, number + 1)
        add(other, number, number + 1)


def test_rows_are_written_once_and_removed_when_not_needed(tmp_path):
    replay = ring(10, 8)
    first = write(tmp_path, replay, [])
    written = (tmp_path / FOLDER / first[0]["name"]).stat()
    add(replay, 8, 13)
    second = write(tmp_path, replay, first)
    assert (tmp_path / FOLDER / first[0]["name"]).stat().st_ino == written.st_ino
    assert [(file["first"], file["rows"]) for file in second] == [(0, 8), (7, 3), (10, 3)]
    assert torch.cat(list(read_rows(tmp_path, second, replay.oldest)))[:, 0, 0].tolist() == list(range(3, 13))
    (tmp_path / FOLDER / "000000000013-000000000014.rows.tmp").touch()
    remove_rows(tmp_path, 8)
    assert sorted(path.name[:12] for path in (tmp_path / FOLDER).iterdir()) == [
        "000000000007",
        "000000000010",
    ]


def test_row_that_became_the_end_of_an_episode_is_written_again(tmp_path):
    replay = ring(10, 8)
    first = write(tmp_path, replay, [])
    before = list(read_rows(tmp_path, first, 0))
    replay.cut()
    add(replay, 8, 10)
    second = write(tmp_path, replay, first)
    other = ring(10)
    other.restore(replay.state(), read_rows(tmp_path, second, 0))
    assert other.latest(0, 1).truncated.flatten().tolist() == [False, True, False, False]
    assert torch.equal(torch.cat(list(read_rows(tmp_path, first, 0))), torch.cat(before))


@pytest.mark.parametrize("copied", [0, 1, 9])
def test_rows_are_those_of_the_moment_however_many_are_copied(tmp_path, monkeypatch, copied):
    monkeypatch.setattr(replay_files, "FILE_BYTES", 3 * ring(4).row_bytes)
    monkeypatch.setattr(replay_files, "COPIED", copied)
    replay = ring(10, 8)
    rows = new_rows(tmp_path, replay, [])
    add(replay, 8, 40)  # training goes on and overwrites all of them
    files = write_rows(tmp_path, rows)
    assert torch.cat(list(read_rows(tmp_path, files, 0)))[:, 0, 0].tolist() == list(range(8))


def test_few_files_of_rows_are_in_memory_at_a_time(tmp_path, monkeypatch):
    monkeypatch.setattr(replay_files, "FILE_BYTES", 3 * ring(4).row_bytes)
    monkeypatch.setattr(replay_files, "COPIED", 1)
    replay = ring(15, 15)
    rows, written = replay.rows, []

    def watched(first, most):
        for part in rows(first, most):
            written.append(len(list((tmp_path / FOLDER).glob("*.rows"))))
            yield part

    monkeypatch.setattr(replay, "rows", watched)
    assert len(new_rows(tmp_path, replay, []).parts) == 1
    assert written == [0, 0, 1, 2, 3]


@pytest.mark.parametrize(
    "damage", [lambda data: data[:-1], lambda data: b"", lambda data: data[:9] + b"?" + data[10:]]
)
def test_damaged_rows_are_refused(tmp_path, damage):
    files = write(tmp_path, ring(10, 8), [])
    path = tmp_path / FOLDER / files[0]["name"]
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(InputError, match=f"{path.name} is damaged"):
        list(read_rows(tmp_path, files, 0))
    path.unlink()
    with pytest.raises(InputError, match="cannot be read: No such file"):
        list(read_rows(tmp_path, files, 0))
    with pytest.raises(InputError, match="outside of its folder"):
        list(read_rows(tmp_path, [{**files[0], "name": "../../secret"}], 0))


def test_lock_ends_with_its_process(tmp_path):
    code = (
        "import sys, time, pathlib; from acer_robot.run_folder.owner import owned\n"
        "with owned(pathlib.Path(sys.argv[1])): print('mine', flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code, tmp_path], stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"mine\n"
        write_status(tmp_path, "running")
        assert read_status(tmp_path) == "running"
        with pytest.raises(InputError, match=f"in use by process {process.pid} on"), owned(tmp_path):
            pass
        process.kill()
        process.wait()
    assert not is_owned(tmp_path)
    assert read_status(tmp_path) == "interrupted"
    with owned(tmp_path):
        assert f"process {os.getpid()} on" in (tmp_path / ".lock").read_text()


def test_resumed_table_keeps_its_lines_up_to_the_step(tmp_path):
    path = tmp_path / "metrics.csv"
    table = CsvTable(path)
    for step in (10, 20, 30):
        table.write(step, {"loss": 0.1 * step, "note": float("nan")})
    table.close()
    before = path.read_bytes()
    path.write_bytes(before + b"40,1.0")
    table = CsvTable(path, resumed_at=20)
    table.write(25, {"note": 1.0})
    with pytest.raises(ValueError, match="no column other;"):
        table.write(26, {"other": 1.0, "rollout/rebuilds": 0.0, "loss/embedding": 0.1})
    table.close()
    assert path.read_bytes() == before[: before.index(b"30,")] + b"25,,1.0\r\n"
    assert read_table(path)["step"] == [10, 20, 25]
