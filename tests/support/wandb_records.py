"""What an offline run of Weights & Biases left on disk, read back from its .wandb file."""

import json
import struct
from types import SimpleNamespace

from wandb.proto import wandb_internal_pb2

BLOCK, HEADER = 32768, 7


def records(file):
    """Yield every record of a .wandb file, which is a log in LevelDB's format behind a header of seven bytes."""
    data, at, whole = file.read_bytes(), HEADER, b""
    while at + HEADER <= len(data):
        if BLOCK - at % BLOCK < HEADER:
            at += BLOCK - at % BLOCK  # a block ends with what is too short for another header
            continue
        _, length, kind = struct.unpack("<IHB", data[at : at + HEADER])
        whole += data[at + HEADER : at + HEADER + length]
        at += HEADER + length
        if kind in (1, 4):  # whole, or the last part of it
            record = wandb_internal_pb2.Record()
            record.ParseFromString(whole)
            whole = b""
            yield record


def _name(item):
    """Return the name of an item; a nested one is joined by dots."""
    return ".".join(getattr(item, "nested_key", ())) or item.key


def _values(items):
    """Return {name: value} of items with a JSON value each."""
    return {_name(item): json.loads(item.value_json) for item in items}


def read_offline(run_dir):
    """Return what the one offline run below run_dir/wandb recorded."""
    (file,) = run_dir.glob("wandb/offline-run-*/*.wandb")
    found = SimpleNamespace(
        folder=file.parent, run=None, history=[], summary={}, system={}, metrics={}, artifacts=[], files=[], exit=None,
        kinds=set(),
    )  # fmt: skip
    for record in records(file):
        kind = record.WhichOneof("record_type")
        found.kinds.add(kind)
        if kind == "run":
            found.run = record.run
        elif kind == "history":
            found.history.append(_values(record.history.item))
        elif kind == "summary":
            found.summary |= _values(record.summary.update)
        elif kind == "stats":
            found.system |= _values(record.stats.item)
        elif kind == "metric":
            found.metrics[record.metric.name or record.metric.glob_name] = record.metric
        elif kind == "artifact":
            found.artifacts.append(record.artifact)
        elif kind == "files":
            found.files += [item.path for item in record.files.files]
        elif kind == "exit":
            found.exit = record.exit.exit_code
    found.config = _values(found.run.config.update)
    return found
