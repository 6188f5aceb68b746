"""Files that are always whole: written under a temporary name, flushed to the disk, then renamed."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

Bytes = bytes | bytearray | memoryview


def write_whole(path: Path, parts: Bytes | Iterable[Bytes]) -> Path:
    """Write a file so that a crash or a power cut leaves either the old one or the new one.

    Raises:
        OSError: naming the file, if it cannot be written; the old one is then untouched.
    """
    temporary = path.with_name(f"{path.name}.tmp")
    try:
        with temporary.open("wb") as file:
            for part in [parts] if isinstance(parts, bytes | bytearray | memoryview) else parts:
                file.write(part)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        sync_folder(path.parent)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from None
    finally:
        temporary.unlink(missing_ok=True)  # what is cut off would take the room of the next one
    return path


def sync_folder(folder: Path) -> None:
    """Flush a folder's list of names to the disk."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
