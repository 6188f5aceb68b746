"""Runs that are killed, starved, lied to and overwritten: what was injected, and what was lost.

    python benchmarks/faults.py [--short] [--seed 0] [--only kills|damage|disk|environments|wandb|owner|signals|options]

Each line is one kind of incident; a line that begins with FAILED shows what was lost. The last line counts them. The
exit status is 1 if one failed. It needs Linux. `--short` does ten incidents.
"""

from __future__ import annotations

import argparse
import contextlib
import http.server
import multiprocessing
import os
import random
import resource
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from fuzz_options import COMMANDS, faults, tiny_run
from incidents.faulty_runs import TINY, Child, command, difference

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

FAULTS = ("raise", "none", "wide", "text", "word", "undefined", "infinite", "spike")
"""What an environment may do that a run in one process survives to say."""
OF_THE_REPORT = ("evaluation.json", "POLICY_CARD.md")
"""Files that only the report reads."""
HAND_OVER = ["hand_over=true", "eval_episodes=1"]
SECONDS = 600.0
"""Seconds that a run of TINY options may take on a busy machine; then it counts as hanging."""


@dataclass(frozen=True)
class Incident:
    """Something that was done to a run."""

    what: str
    """What was injected."""
    why: str = ""
    """What was lost: nothing, if it is empty."""
    times: int = 1
    """How many incidents of the kind were tried."""
    lost: int | None = None
    """How many of them lost something; None: one, if `why` says so."""

    @property
    def failed(self) -> int:
        """How many of them lost something."""
        return bool(self.why) if self.lost is None else self.lost


Job = Callable[[], list[Incident]]
"""Incidents that are done one after the other, beside those of other jobs."""


def main() -> int:
    """Do all incidents, or those that were asked for; return the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--short", action="store_true")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", choices=list(KINDS))
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    passed = total = 0
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="acer-faults-") as folder:
        # Forks of this process, which has loaded all modules, two at a time: one for each core.
        with ProcessPoolExecutor(2, multiprocessing.get_context("fork")) as pool:
            pending = []
            for name, kind in KINDS.items():
                if chosen.only in (None, name):
                    room = Path(folder) / name
                    room.mkdir()
                    pending.append(
                        pool.submit(kind, room, random.Random(f"{chosen.seed} {name}"), chosen.short)
                    )
            jobs = [job for kind in pending for job in kind.result()]
            for done in as_completed([pool.submit(job) for job in jobs]):
                for incident in done.result():
                    total, passed = total + incident.times, passed + incident.times - incident.failed
                    print(f"FAILED {incident.what}: {incident.why}" if incident.failed else
                          f"ok     {incident.what}: nothing lost", flush=True)  # fmt: skip
        print(f"{passed:,} of {total:,} incidents passed in {time.monotonic() - begun:.0f} s")
    return 0 if passed == total else 1


def kills(room: Path, chance: random.Random, short: bool) -> list[Job]:
    """Kill a run at random moments, or while it writes, go on with it, and compare it with one that was left alone."""
    jobs: list[Job] = []
    moments = {
        "at any time": 2 if short else 32,
        "latest.new.tmp": 1 if short else 6,
        "*.rows.tmp": 0 if short else 6,
    }
    for more, kinds in (([], moments), (HAND_OVER, {"in the export": 0 if short else 6})):
        if not sum(kinds.values()):
            continue
        whole = room / f"whole{len(more)}"
        alone = command(room / "whole.log", [f"run_dir='{whole}'", *TINY, *more])
        if alone.wait(SECONDS) != 0:
            return [partial(list, [Incident("a run that nobody disturbs", alone.text[-300:])])]
        seconds = time.monotonic() - alone.begun
        for kind, count in kinds.items():
            for number in range(count):
                folder = room / f"{kind.replace('*', '').replace(' ', '_')}{number}"
                part = chance.uniform(0.4, 1.0) if more else chance.uniform(0.05, 0.95)
                jobs.append(partial(one_kill, folder, whole, more, kind, seconds * part))
    return jobs


def one_kill(folder: Path, whole: Path, more: list[str], kind: str, seconds: float) -> list[Incident]:
    """Kill one run after some seconds, or while a file of this kind is written if it is one; then it goes on."""
    log = folder.with_suffix(".log")
    child = command(log, [f"run_dir='{folder}'", *TINY, *more])
    if ".tmp" not in kind:
        time.sleep(seconds)
    elif folder.name[-1] in "13579":  # not the first one
        while child.is_running() and not (folder / "checkpoints" / "latest.pt").is_file():
            time.sleep(0.01)
    while ".tmp" in kind and child.is_running() and not any((folder / "checkpoints").rglob(kind)):
        time.sleep(0.0002)  # a file is there for some milliseconds
    child.send(signal.SIGKILL)
    child.wait()
    left = sorted(path.name for path in folder.rglob("*") if path.name.endswith((".tmp", ".new")))
    at = f"kill -9 {kind}, after {time.monotonic() - child.begun:.2f} s"
    at += f", half-written: {', '.join(left)}" if left else ""
    again: Child
    if (folder / "checkpoints" / "latest.pt").is_file():
        at += f", at step {newest_point(folder).step}"
        if read_status(folder) == "finished":
            return [Incident(f"{at}, after its end", difference(whole, folder))]
        again = command(log, [f"resume='{folder}'"])
    else:
        again = command(log, [f"run_dir='{folder}'", *TINY, *more, "resume=auto"])
    if again.wait(SECONDS) != 0:
        return [Incident(at, f"it does not go on: {log.read_text()[-300:]}")]
    if left := [path.name for path in folder.rglob("*") if path.name.endswith((".tmp", ".new"))]:
        return [Incident(at, f"files are left over: {left}")]
    if more and not (folder / "export" / "policy.pt").is_file():
        return [Incident(at, "there is no exported policy")]
    why = difference(whole, folder)
    if not why:
        shutil.rmtree(folder)
    return [Incident(at, why)]


def damage(room: Path, chance: random.Random, short: bool) -> list[Job]:
    """Damage each file of a run folder in many ways; each is refused in one line, or does no harm."""
    folder, failed = room / "run", room / "failed"
    more = ["checkpoint.every_minutes=5", *([] if short else HAND_OVER)]
    children = [command(room / "run.log", [f"run_dir='{folder}'", *TINY, *more])]
    if not short:
        children.append(command(room / "failed.log", failing(failed, "raise")))
    if [child.wait(SECONDS) for child in children] not in ([0], [0, 1]):
        why = " ".join(child.text[-300:] for child in children)
        return [partial(list, [Incident("runs whose files are damaged", why)])]
    if not short:  # what a run that failed leaves
        shutil.copytree(failed / "incidents", folder / "incidents")
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and reader_of(folder, path)]
    slow = [path for path in files if path.name in OF_THE_REPORT]
    # A report takes a second or so, every other reader some milliseconds.
    many = -(-(1000 - 10 * len(slow)) // (len(files) - len(slow)))
    jobs: list[Job] = []
    for path in files:
        times = 3 if short else 10 if path in slow else many
        if not short or path.name == "latest.pt":
            jobs.append(partial(damage_file, folder, path.relative_to(folder), times, chance.random()))
    return jobs


def damage_file(original: Path, name: Path, times: int, seed: float) -> list[Incident]:
    """Damage one file of a copy of a run folder `times` times, and read it with what reads it."""
    chance, folder = random.Random(seed), original.parent / f"copy of {str(name).replace('/', ' ')}"
    shutil.copytree(original, folder)
    path, lost = folder / name, []
    good, others = path.read_bytes(), sorted(path for path in folder.rglob("*") if path.is_file())
    reader = reader_of(folder, path)
    for _ in range(times):
        kind, data = damaged(good, chance, chance.choice(others).read_bytes())
        path.write_bytes(data)
        if reader and (reason := outcome(reader)):
            lost.append(f"{kind}: {reason}")
    path.write_bytes(good)
    shutil.rmtree(folder)
    return [Incident(f"{name} damaged {times} times", "; ".join(lost[:3]), times, len(lost))]


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


def disk(room: Path, chance: random.Random, short: bool) -> list[Job]:
    """Fill the disk that the run folder lies on, at several sizes."""
    sizes = chance.sample([4, 12, 40, 72, 110, 150, 200, 300, 500], 1 if short else 9)
    return [partial(full_disk, room, size) for size in sizes]


def full_disk(room: Path, size: int) -> list[Incident]:
    """Train on a disk of some KiB; without the right to mount one, with files of at most that size."""
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
        status, text = child.wait(SECONDS), child.text
        newest = place / "run" / "checkpoints" / "latest.pt"
        broken = outcome(lambda: newest_point(place / "run")) if newest.is_file() else ""
        at = (
            f", newest checkpoint of step {newest_point(place / 'run').step}"
            if newest.is_file() and not broken
            else ""
        )
    finally:
        if mounted:
            subprocess.run(["umount", str(place)], check=False)
    what = f"a disk of {size} KiB{'' if mounted else ' (limit of a file)'}, status {status}{at}"
    bad = "a traceback" if "Traceback" in text else broken
    if not bad and status != 0 and "the disk is full" not in text and "File too large" not in text:
        bad = text[-200:]
    return [Incident(what, bad or ("" if status in (0, 1, 2) else f"status {status}: {text[-200:]}"))]


def environments(room: Path, _chance: random.Random, short: bool) -> list[Job]:
    """Train in environments that fail; each is named, and a run that may rebuild them goes on."""
    jobs: list[Job] = [
        partial(failing_run, room, fault) for fault in (("raise", "undefined") if short else FAULTS)
    ]
    if not short:
        jobs += [partial(failing_run, room, fault, True) for fault in ("hang", "die")]
    return jobs


def failing_run(room: Path, fault: str, in_process: bool = False) -> list[Incident]:
    """Train in an environment with a fault, in this process or one of its own."""
    more = ["task.workers=1", "step_timeout=20", "eval_every=5000"] if in_process else []
    child = command(room / f"{fault}.log", failing(room / fault, fault, *more))
    status, wanted = child.wait(2 * SECONDS), 0 if fault == "spike" else 1
    named = "environment 0 of" in child.text or fault == "spike"
    bad = "" if status == wanted and named and "Traceback" not in child.text else child.text[-300:]
    own = " in a process of its own" if in_process else ""
    return [Incident(f"an environment{own} that gives {fault}, status {status}", bad)]


def failing(folder: Path, fault: str, *more: str) -> list[str]:
    """Return a command line that trains in an environment with a fault."""
    kept = [option for option in TINY if not option.startswith(("task.id", "+task.kwargs"))]
    task = ["task.id='incidents.faulty_runs:Faulty-v0'", f"+task.kwargs.fault={fault}"]
    return [f"run_dir='{folder}'", *kept, *task, "steps=400", *more]


def owner(room: Path, _chance: random.Random, _short: bool) -> list[Job]:
    """Start two processes on one folder: one trains, the other is refused."""
    return [partial(two_processes, room)]


def two_processes(room: Path) -> list[Incident]:
    """Start both at the same time."""
    both = [
        command(room / f"{name}.log", [f"run_dir='{room / 'run'}'", *TINY, "steps=1500"]) for name in "ab"
    ]
    statuses = sorted(child.wait(SECONDS) for child in both)
    texts = " ".join(child.text[-200:] for child in both)
    bad = "" if statuses == [0, 2] else f"statuses {statuses}: {texts}"
    return [Incident("two processes on one folder, of which one trains and one is refused", bad)]


PHASES: dict[str, tuple[list[str], str]] = {
    "learning": ([], "checkpoints take"),
    "an evaluation": (["eval_every=20"], "evaluation at step 20"),
    "the export": (HAND_OVER, "checkpoint of environment step 600"),
    "compiling": (["learner.compile=true"], "checkpoints take"),
}
"""Phase -> options, and words after which it begins."""


def signals(room: Path, chance: random.Random, short: bool) -> list[Job]:
    """Send signals in each phase: each ends within 10 s with 128 + its number, and the run goes on the same."""
    whole = room / "whole"
    command(room / "whole.log", [f"run_dir='{whole}'", *TINY]).wait(SECONDS)
    numbers = [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2]
    jobs: list[Job] = []
    for phase in ("learning",) if short else PHASES:
        other = signal.SIGINT if short else chance.choice(numbers[1:])
        for number in (signal.SIGTERM, other):
            jobs.append(partial(one_signal, room, whole, phase, number, chance.uniform(0.2, 0.4)))
    return jobs[:1] if short else jobs


def one_signal(room: Path, whole: Path, phase: str, number: signal.Signals, seconds: float) -> list[Incident]:
    """Send one signal some time after a phase has begun."""
    (more, words), name = PHASES[phase], signal.Signals(number).name
    folder = room / f"{name} {phase}".replace(" ", "_")
    log = folder.with_suffix(".log")
    child = command(log, [f"run_dir='{folder}'", *TINY, *more])
    child.wait_for(words, SECONDS)
    time.sleep(seconds + (2.0 if phase == "compiling" else 0.0))
    child.send(number)
    sent = time.monotonic()
    status, took = child.wait(SECONDS), time.monotonic() - sent
    bad = (
        ""
        if took < 10.0 and status == 128 + number
        else f"status {status} after {took:.1f} s: {child.text[-200:]}"
    )
    if not bad and not more and (folder / "checkpoints").exists():
        status = command(log, [f"resume='{folder}'"]).wait(SECONDS)
        bad = difference(whole, folder) if status == 0 else log.read_text()[-300:]
    return [Incident(f"{name} while {phase}, which ends after {took:.1f} s", bad)]


def wandb(room: Path, _chance: random.Random, short: bool) -> list[Job]:
    """Report to servers that refuse, stall, or answer 401 and 500."""
    return [partial(bad_server, room, what) for what in (("refuses",) if short else SERVERS)]


def bad_server(room: Path, what: str) -> list[Incident]:
    """Report to one of them: training goes on to its end, or is refused before its start."""
    with SERVERS[what]() as address:
        environment = {"WANDB_BASE_URL": address, "WANDB_API_KEY": "0" * 40}
        arguments = [f"run_dir='{room / what}'", *TINY, "wandb.mode=online"]
        child = command(room / f"{what}.log", arguments, environment)
        status = child.wait(200.0)
    good = status in (0, 2) and "Traceback" not in child.text
    return [Incident(f"a wandb server that {what}, status {status}", "" if good else child.text[-300:])]


@contextlib.contextmanager
def no_server() -> Iterator[str]:
    """Give an address where nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    yield f"http://127.0.0.1:{port}"


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


def options(room: Path, _chance: random.Random, short: bool) -> list[Job]:
    """Give every option of every command values that make no sense."""
    if short:
        return [partial(fuzzed, room, "train", 12)]
    tiny_run(room)
    return [partial(fuzzed, room, name) for name in COMMANDS]


def fuzzed(room: Path, name: str, every: int = 1) -> list[Incident]:
    """Try one command, or each `every`-th value of it."""
    with contextlib.chdir(room):
        found = list(faults(name, every))
    lost = [f"{case}: {fault}" for case, fault in found if fault]
    what = f"acer-{name} with {len(found)} senseless values"
    return [Incident(what, "; ".join(lost[:3]), len(found), len(lost))]


SERVERS: dict[str, Callable[[], contextlib.AbstractContextManager[str]]] = {
    "refuses": no_server,
    "stalls": silent_server,
    "answers 401": partial(answering_server, 401),
    "answers 500": partial(answering_server, 500),
}
KINDS: dict[str, Callable[[Path, random.Random, bool], list[Job]]] = {
    "wandb": wandb,
    "signals": signals,
    "kills": kills,
    "damage": damage,
    "disk": disk,
    "environments": environments,
    "owner": owner,
    "options": options,
}

if __name__ == "__main__":
    os.environ["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
    sys.exit(main())
