"""A damaged or hostile checkpoint is refused in one line that names the file, and runs nothing."""

import copy
import io
import zipfile

import pytest
import torch
from exported import make_run

from acer_robot.errors import InputError
from acer_robot.learner.learner import Learner
from acer_robot.run_folder.checkpoints import content_sha256, load_run, save_checkpoint
from acer_robot.schema import LearnerConfig, TrainConfig


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """The bytes of a checkpoint."""
    folder, spec = tmp_path_factory.mktemp("run"), make_run().spec
    options = LearnerConfig(hidden=[8], advantage_hidden=4)
    learner = Learner(options, spec.observation_size, spec.action_size, torch.device("cpu"))
    config = TrainConfig(make_run().config.task, options, run_dir=str(folder))
    return save_checkpoint(folder, learner.checkpoint_state(), config, spec, 100, "latest").read_bytes()


def written(folder, data):
    path = folder / "checkpoints/latest.pt"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(data)
    return folder


def refusal(folder):
    with pytest.raises(InputError) as refused:
        load_run(folder)
    message = str(refused.value)
    assert message.count("latest.pt") >= 1
    assert "\n" not in message
    assert "weights_only" not in message
    return message


def edited(data, change, checked=False):
    """Return the checkpoint with a change; with a checksum that fits if `checked`, else without, as of old."""
    content = torch.load(io.BytesIO(data), weights_only=True)
    change(content)
    for name in ("sha256", "software"):
        content.pop(name, None)
    if checked:
        content["software"] = {"revision": None, "versions": None}
        content["sha256"] = content_sha256(content)
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


def test_whole_checkpoint_loads_with_and_without_checksum(checkpoint, tmp_path):
    for data in (checkpoint, edited(checkpoint, lambda _: None), edited(checkpoint, lambda _: None, True)):
        assert load_run(written(tmp_path, data)).steps == 100


def test_one_flipped_bit_of_a_tensor_is_refused(checkpoint, tmp_path):
    with zipfile.ZipFile(io.BytesIO(checkpoint)) as archive:
        entries = [entry for entry in archive.infolist() if "/data/" in entry.filename]
    assert len(entries) > 10
    for entry in entries[::3]:
        data = bytearray(checkpoint)
        header = entry.header_offset
        names, extra = (int.from_bytes(data[header + i : header + i + 2], "little") for i in (26, 28))
        data[header + 30 + names + extra + entry.file_size // 2] ^= 8
        refusal(written(tmp_path, data))


@pytest.mark.parametrize("size", [0, 1, 100, 5000, -1000, -22, -1])
def test_truncated_checkpoint_is_refused(checkpoint, tmp_path, size):
    refusal(written(tmp_path, checkpoint[:size]))


@pytest.mark.parametrize(
    "data", [b"h\344llo\n", b"\0" * 5000, b"PK\3\4" * 100, b"\x80\x02." * 9, b"garbage " * 999]
)
def test_garbage_is_refused(tmp_path, data):
    assert "cannot be read as a checkpoint" in refusal(written(tmp_path, data))


@pytest.mark.parametrize("part", ["software", "sha256"])
def test_checkpoint_that_lost_its_checksum_is_refused(checkpoint, tmp_path, part):
    content = torch.load(io.BytesIO(checkpoint), weights_only=True)
    del content[part]
    torch.save(content, written(tmp_path, b"") / "checkpoints/latest.pt")
    assert "is damaged" in refusal(tmp_path)


def remove(*path):
    def change(content):
        for name in path[:-1]:
            content = content[name]
        del content[path[-1]]

    return change


def put(value, *path):
    def change(content):
        for name in path[:-1]:
            content = content[name]
        content[path[-1]] = value

    return change


WEIGHT = ("learner", "modules", "deployed_actor.head.weight")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (remove("steps"), "lacks steps"),
        (remove("spec"), "lacks spec"),
        (remove("learner", "modules"), "modules"),
        (remove(*WEIGHT), "head.weight"),
        (remove("spec", "bounds"), "bounds"),
        (put("wide", "config", "learner", "gama"), "gama"),
        (put([1], "config"), "list"),
        (put([1], "config", "learner"), "list"),
        (put(["x"], "spec"), "do not fit"),
        (put([1], "learner"), "do not fit"),
        (put("x", "steps"), "do not fit"),
        (put("fast", "spec", "control_dt"), "finite"),
        (put(0.0, "spec", "control_dt"), "above 0"),
        (put("x", "config", "learner", "hidden"), "do not fit"),
        (put([10**9], "config", "learner", "hidden"), "shape"),
        (put(torch.zeros(3, 3), *WEIGHT), r"shape [3, 3]"),
        (put("x", *WEIGHT), "do not fit"),
        (
            lambda content: content["learner"]["modules"][WEIGHT[-1]].fill_(float("nan")),
            "head.weight holds NaN",
        ),
        (
            lambda content: content["learner"]["modules"]["normalizer.mean"].fill_(float("inf")),
            "normalizer.mean",
        ),
    ],
)
def test_content_that_does_not_fit_together_is_refused(checkpoint, tmp_path, change, words):
    for checked in (False, True):
        assert words in refusal(written(tmp_path, edited(checkpoint, change, checked)))


def test_every_part_is_in_the_checksum():
    content = {"a": 1, "b": {"c": torch.arange(3.0)}, "d": [1, "x", None]}
    same = content_sha256(content)
    assert content_sha256({**copy.deepcopy(content), "sha256": "any"}) == same
    others = [
        {"a": 1.0},
        {"a": True},
        {"b": {"e": torch.arange(3.0)}},
        {"b": {"c": torch.arange(3.0).half()}},
        {"b": {"c": torch.arange(3.0).reshape(3, 1)}},
        {"b": {"c": -torch.arange(3.0)}},
        {"d": [1, "x", None, None]},
        {"d": [1, ["x", None]]},
    ]
    assert same not in {content_sha256({**content, **other}) for other in others}
