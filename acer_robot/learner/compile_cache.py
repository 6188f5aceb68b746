"""torch.compile's cache on disk: entries that a killed process left half-written are found and removed."""

from __future__ import annotations

import struct
import sys
from pathlib import Path

from acer_robot.errors import DAMAGE

_ELF = struct.Struct("<4sBBBBB7xHHIQQQIHHHHHH")
"""Header of a 64-bit library or object file; its table of sections is the last thing that a linker writes."""


def clear_broken(folder: Path | None = None) -> list[Path]:
    """Remove libraries and objects that were cut off, unless another process writes them now; return them.

    torch.compile would load them again and again: a single process that is killed while it links breaks every later
    run with the same kernels.

    Args:
        folder: the cache; None: the one that torch.compile uses.
    """
    from torch._inductor.codecache import get_lock_dir
    from torch._inductor.runtime.cache_dir_utils import cache_dir

    folder = Path(cache_dir()) if folder is None else folder
    removed = []
    for pattern in ("*/*.so", "*/*.o", "precompiled_headers/*.gch"):
        for path in folder.glob(pattern):
            if not is_whole(path) and not _is_locked(
                Path(get_lock_dir()) / f"{path.name.partition('.')[0]}.lock"
            ):
                path.unlink(missing_ok=True)
                removed.append(path)
    if removed:
        print(
            f"torch.compile's cache had {len(removed)} files that a killed process left; they are removed",
            flush=True,
        )
    return removed


def clear_headers() -> None:
    """Remove precompiled headers, whose content cannot be checked."""
    from torch._inductor.runtime.cache_dir_utils import cache_dir

    for path in Path(cache_dir()).glob("precompiled_headers/*.gch"):
        path.unlink(missing_ok=True)


def is_whole(path: Path) -> bool:
    """Return whether a file of the cache reaches its end, as far as that can be seen."""
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            start = file.read(_ELF.size)
    except OSError:
        return True  # gone meanwhile, or not ours to read
    if size == 0 or path.suffix == ".gch" or sys.platform != "linux":
        return size > 0
    try:
        magic, bits, *rest = _ELF.unpack(start)
    except struct.error:
        return False
    *_, sections, _flags, _header, _entry, _entries, width, number, _names = rest
    if magic != b"\x7fELF":
        return False
    return bool(bits != 2 or (sections > 0 and sections + width * number <= size))


def _is_locked(lock: Path) -> bool:
    """Return whether a process holds the lock of an entry."""
    from torch.utils._filelock import FileLock

    if not lock.exists():
        return False
    try:
        with FileLock(str(lock), timeout=0):
            return False
    except DAMAGE:  # the lock's own Timeout is one of them
        return True
