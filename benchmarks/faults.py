"""Runs that are killed, starved, lied to and overwritten: what was injected, and what was lost.

    python benchmarks/faults.py [--short] [--seed 0] [--only kills|damage|disk|environments|wandb|owner|signals]

Each line is one kind of incident; a line that begins with FAILED shows what was lost. The last line counts them. The
exit status is 1 if one failed. It needs Linux. `--short` does ten incidents.
"""

from __future__ import annotations

import argparse
import contextlib
import http.server
import os
import random
import resource
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from faulty_runs import TINY, Child, command, difference

from acer_robot.errors import InputError
from acer_robot.policies.exported.file import load_exported
from acer_robot.reporting.report import write_report
from acer_robot.run_folder.checkpoints import load_run, read_content
from acer_robot.run_folder.incidents import read_incident
from acer_robot.run_folder.listing import list_runs
from acer_robot.run_folder.recording import load_recording
from acer_robot.run_folder.replay_files import read_rows
from acer_robot.run_folder.status import read_status
from acer_robot.run_folder.tables import read_table
from acer_robot.training.resume import newest_point, recorded_config

Incident = tuple[str, str]
"""What was injected, and what was lost: nothing, if it is empty."""
FAULTS = ("raise", "none", "wide", "text", "word", "undefined", "infinite", "spike")
"""What an environment may do that a run in one process survives to say."""
OF_THE_REPORT = ("evaluation.json", "POLICY_CARD.md")
"""Files that only the report reads."""
HAND_OVER = ["hand_over=true", "eval_episodes=1"]


class Suite:
    """Counts incidents and prints a line each."""

    def __init__(self) -> None:
        self.passed = self.all = 0

    def count(self, incident: Incident, times: int = 1, lost: int | None = None) -> None:
        """Print one line; `times` incidents of the kind were tried, of which `lost` failed."""
        what, why = incident
        bad = (1 if why else 0) if lost is None else lost
        self.all, self.passed = self.all + times, self.passed + times - bad
        print(f"FAILED {what}: {why}" if bad else f"ok     {what}: nothing lost", flush=True)


def main() -> int:
    """Do all incidents, or those that were asked for; return the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--short", action="store_true")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", choices=list(KINDS))
    options = parser.parse_args()
    torch.set_num_threads(1)
    suite, begun = Suite(), time.monotonic()
    with tempfile.TemporaryDirectory(prefix="acer-faults-") as folder:
        for name, kind in KINDS.items():
            if options.only in (None, name):
                room = Path(folder) / name
                room.mkdir()
                kind(suite, room, random.Random(f"{options.seed} {name}"), options.short)
    print(f"{suite.passed:,} of {suite.all:,} incidents passed in {time.monotonic() - begun:.0f} s")
    return 0 if suite.passed == suite.all else 1


def kills(suite: Suite, room: Path, chance: random.Random, short: bool) -> None:
    """Kill a run at random moments, go on with it, and compare it with one that was left alone."""
    for hand_over, count in ((False, 3 if short else 44), (True, 0 if short else 6)):
        more = HAND_OVER if hand_over else []
        whole = room / f"whole{hand_over}"
        alone = command(room / "whole.log", [f"run_dir='{whole}'", *TINY, *more])
        if count and alone.wait() != 0:
            suite.count(("a run that nobody disturbs", alone.text[-300:]))
            return
        seconds = time.monotonic() - alone.begun
        for number in range(count):
            incident = one_kill(room / f"{hand_over}{number}", whole, more, seconds, chance)
            suite.count(incident)


def one_kill(folder: Path, whole: Path, more: list[str], seconds: float, chance: random.Random) -> Incident:
    """Kill one run at a random moment of the time that it takes; after that moment it goes on."""
    log = folder.with_suffix(".log")
    child = command(log, [f"run_dir='{folder}'", *TINY, *more])
    # The last part of the time belongs to the export, if there is one.
    first, last = (0.4, 1.0) if more else (0.05, 0.95)
    time.sleep(seconds * chance.uniform(first, last))
    child.send(signal.SIGKILL)
    child.wait()
    at = f"kill -9 after {time.monotonic() - child.begun:.2f} s"
    again: Child
    if (folder / "checkpoints" / "latest.pt").is_file():
        at += f", at step {newest_point(folder).step}"
        if read_status(folder) == "finished":
            return f"{at}, after its end", difference(whole, folder)
        again = command(log, [f"resume='{folder}'"])
    else:
        again = command(log, [f"run_dir='{folder}'", *TINY, *more, "resume=auto"])
    if again.wait() != 0:
        return at, f"it does not go on: {log.read_text()[-300:]}"
    if left := [path.name for path in folder.rglob("*") if path.name.endswith((".tmp", ".new"))]:
        return at, f"files are left over: {left}"
    if more and not (folder / "export" / "policy.pt").is_file():
        return at, "there is no exported policy"
    return at, difference(whole, folder)


def damage(suite: Suite, room: Path, chance: random.Random, short: bool) -> None:
    """Damage each file of a run folder in many ways; each is refused in one line, or does no harm."""
    folder = room / "run"
    child = command(room / "run.log", [f"run_dir='{folder}'", *TINY, *([] if short else HAND_OVER)])
    if child.wait() != 0:
        suite.count(("a run whose files are damaged", child.text[-300:]))
        return
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != ".lock")
    readers = {path: reader for path in files if (reader := reader_of(folder, path))}
    for path, reader in readers.items():
        # A report takes a second or so, and every other reader some milliseconds.
        many = 10 if path.name in OF_THE_REPORT else 1000 // (len(readers) - len(OF_THE_REPORT)) + 1
        good, times, lost = path.read_bytes(), 3 if short else many, []
        if short and path.name != "latest.pt":
            continue
        for _ in range(times):
            kind, data = damaged(good, chance, chance.choice(files).read_bytes())
            path.write_bytes(data)
            if reason := outcome(reader):
                lost.append(f"{kind}: {reason}")
        path.write_bytes(good)
        name = path.relative_to(folder)
        suite.count((f"{name} damaged {times} times", "; ".join(lost[:3])), times, len(lost))


def damaged(good: bytes, chance: random.Random, other: bytes) -> tuple[str, bytes]:
    """Return what was done to the bytes of a file, and the result."""
    kind = chance.choice(["truncated", "flipped", "swapped", "empty", "overwritten"])
    place = chance.randrange(max(1, len(good)))
    if kind == "truncated":
        return kind, good[:place]
    if kind == "flipped":
        flipped = bytearray(good)
        if flipped:
            flipped[place] ^= 1 << chance.randrange(8)
        return kind, bytes(flipped)
    if kind == "overwritten":
        return kind, good[:place] + chance.randbytes(16) + good[place + 16 :]
    return kind, other if kind == "swapped" else b""


def outcome(reader: Callable[[], object]) -> str:
    """Return what a reader does that it must not do: it may only succeed, or raise InputError with one line."""
    try:
        with open(os.devnull, "w") as nowhere, contextlib.redirect_stderr(nowhere):
            reader()
    except InputError as error:
        return "" if "\n" not in str(error) else "a message of several lines"
    except Exception as error:  # noqa: BLE001 (whatever comes is what is looked for)
        return f"{type(error).__name__}: {str(error)[:100]}"
    return ""


def reader_of(folder: Path, path: Path) -> Callable[[], object] | None:
    """Return what reads a file of a run folder; None: nothing does."""
    if path.parent.name == "checkpoints":
        return lambda: (
            read_content(path),
            load_run(folder, "best") if path.name == "best.pt" else newest_point(folder),
        )
    if path.suffix == ".rows":
        files = newest_point(folder).resume["replay"]["files"]
        return lambda: list(read_rows(folder, files, 0))
    if path.suffix == ".csv":
        return lambda: (read_table(path), list_runs(folder))
    if path.name == "episodes.npz":
        return lambda: load_recording(path, 3, 1)
    if path.parent.name == "export" and path.name in ("policy.pt", "policy.json"):
        return lambda: load_exported(folder / "export" / "policy.pt")
    if path.name in OF_THE_REPORT:
        return lambda: write_report(folder)
    if path.name == "incident.pt":
        return lambda: read_incident(path.parent)
    return {
        "config.yaml": lambda: (recorded_config(folder), list_runs(folder)),
        "status.json": lambda: read_status(folder),
    }.get(path.name)


def disk(suite: Suite, room: Path, chance: random.Random, short: bool) -> None:
    """Fill the disk that the run folder lies on, at several sizes."""
    for size in chance.sample([4, 12, 40, 72, 110, 150, 200], 1 if short else 6):
        place = room / f"{size}k"
        place.mkdir()
        mounted = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={size}k", "tmpfs", str(place)], capture_output=True, check=False
        ).returncode == 0  # fmt: skip
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        try:
            if not mounted:
                resource.setrlimit(resource.RLIMIT_FSIZE, (size * 1024, limits[1]))
            child = command(room / f"{size}.log", [f"run_dir='{place / 'run'}'", *TINY])
            if not mounted:
                resource.setrlimit(resource.RLIMIT_FSIZE, limits)
            status, text = child.wait(), child.text
            newest = place / "run" / "checkpoints" / "latest.pt"
            broken = outcome(lambda: read_content(newest)) if newest.is_file() else ""  # noqa: B023 (called here)
        finally:
            if mounted:
                subprocess.run(["umount", str(place)], check=False)
        what = f"a disk of {size} KiB{'' if mounted else ' (limit of a file)'}, status {status}"
        bad = "a traceback" if "Traceback" in text else broken
        suite.count((what, bad or ("" if status in (0, 1, 2) else f"status {status}: {text[-200:]}")))


def environments(suite: Suite, room: Path, _chance: random.Random, short: bool) -> None:
    """Train in environments that fail; each is named, and a run that may rebuild them goes on."""
    faults = ["raise", "undefined"] if short else list(FAULTS)
    for fault in faults:
        child = command(room / f"{fault}.log", failing(room / fault, fault))
        status, wanted = child.wait(), 0 if fault == "spike" else 1
        named = "environment 0 of" in child.text or fault == "spike"
        bad = "" if status == wanted and named and "Traceback" not in child.text else child.text[-300:]
        suite.count((f"an environment that gives {fault}, status {status}", bad))
    for fault in [] if short else ["hang", "die"]:
        more = ["task.workers=1", "step_timeout=20", "eval_every=5000"]
        child = command(room / f"{fault}.log", failing(room / fault, fault, *more))
        status = child.wait(200.0)
        bad = "" if status == 1 and "environment 0 of" in child.text else child.text[-300:]
        suite.count((f"an environment in a process of its own that does {fault}, status {status}", bad))


def failing(folder: Path, fault: str, *more: str) -> list[str]:
    """Return a command line that trains in an environment with a fault."""
    kept = [option for option in TINY if not option.startswith(("task.id", "+task.kwargs"))]
    task = ["task.id='faulty_runs:Faulty-v0'", f"+task.kwargs.fault={fault}"]
    return [f"run_dir='{folder}'", *kept, *task, "steps=400", *more]


def owner(suite: Suite, room: Path, _chance: random.Random, _short: bool) -> None:
    """Start two processes on one folder: one trains, the other is refused."""
    both = [
        command(room / f"{name}.log", [f"run_dir='{room / 'run'}'", *TINY, "steps=1500"]) for name in "ab"
    ]
    statuses = sorted(child.wait() for child in both)
    texts = " ".join(child.text[-200:] for child in both)
    suite.count(
        ("two processes on one folder", "" if statuses == [0, 2] else f"statuses {statuses}: {texts}")
    )


def signals(suite: Suite, room: Path, chance: random.Random, short: bool) -> None:
    """Send signals in each phase: each ends within 10 s with 128 + its number, and the run goes on the same."""
    whole = room / "whole"
    command(room / "whole.log", [f"run_dir='{whole}'", *TINY]).wait()
    phases = {
        "learning": ([], "checkpoints take"),
        "an evaluation": (["eval_every=20"], "evaluation at step 20"),
        "the export": (HAND_OVER, "checkpoint of environment step 600"),
        "compiling": (["learner.compile=true"], "checkpoints take"),
    }
    for phase, (more, words) in phases.items():
        if short and phase != "learning":
            continue
        number = chance.choice([signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2])
        folder = room / phase.replace(" ", "_")
        child = command(folder.with_suffix(".log"), [f"run_dir='{folder}'", *TINY, *more])
        child.wait_for(words)
        time.sleep(chance.uniform(0.2, 0.4) + (2.0 if phase == "compiling" else 0.0))
        child.send(number)
        sent = time.monotonic()
        status, took = child.wait(), time.monotonic() - sent
        name = signal.Signals(number).name
        bad = "" if took < 10.0 and status == 128 + number else f"status {status} after {took:.1f} s"
        if not bad and not more and (folder / "checkpoints").exists():
            status = command(folder.with_suffix(".log"), [f"resume='{folder}'"]).wait()
            bad = difference(whole, folder) if status == 0 else child.text[-300:]
        suite.count((f"{name} while {phase}, {took:.1f} s", bad))


def wandb(suite: Suite, room: Path, _chance: random.Random, short: bool) -> None:
    """Report to servers that refuse, stall, or answer 401 and 500: training goes on to its end."""
    with contextlib.ExitStack() as stack:
        addresses = {"refuses": f"http://127.0.0.1:{free_port()}"}
        if not short:
            addresses |= {
                "stalls": stack.enter_context(silent_server()),
                "answers 401": stack.enter_context(answering_server(401)),
                "answers 500": stack.enter_context(answering_server(500)),
            }
        children = {
            what: command(
                room / f"{what}.log", [f"run_dir='{room / what}'", *TINY, "wandb.mode=online"],
                {"WANDB_BASE_URL": address, "WANDB_API_KEY": "0" * 40},
            )
            for what, address in addresses.items()
        }  # fmt: skip
        for what, child in children.items():
            status = child.wait(200.0)
            bad = (
                ""
                if status in (0, 2) and "Traceback" not in child.text
                else f"status {status}: {child.text[-300:]}"
            )
            suite.count((f"a wandb server that {what}, status {status}", bad))


def free_port() -> int:
    """Return a port where nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def silent_server() -> Iterator[str]:
    """Give the address of a server that takes connections and says nothing."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(64)
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


@contextlib.contextmanager
def answering_server(status: int) -> Iterator[str]:
    """Give the address of a server that answers every request with an error."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def answer(self) -> None:
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        do_GET = do_POST = do_PUT = answer  # noqa: N815 (names of the standard library)

        def log_message(self, *_: object) -> None:
            """Print nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


KINDS: dict[str, Callable[[Suite, Path, random.Random, bool], None]] = {
    "kills": kills,
    "damage": damage,
    "disk": disk,
    "environments": environments,
    "owner": owner,
    "signals": signals,
    "wandb": wandb,
}

if __name__ == "__main__":
    os.environ["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
    sys.exit(main())
