"""How much of an update's policy gradient is signal, and how large the importance ratios are, on a run's own replay.

    python benchmarks/gradient_noise.py RUN .. [--batches 400] [--report FILE.md]

Every batch is drawn from the replay of the run's newest checkpoint, and gives one gradient of the same networks. The
mean of these gradients is the signal, and their scatter about it the noise. The run's own update is compared with the
one without the projection onto the trust region, and with the gradient of the critic alone (c = 0): by the score
function at a fresh action, and by the pathwise derivative. Each is measured with the run's segments and with 16.
"""

from __future__ import annotations

import argparse
import dataclasses
import math
from collections.abc import Iterable, Sequence
from pathlib import Path

import torch
from rows.command_line import in_one_line, positive
from rows.curves import markdown
from rows.runs import revision, versions
from torch import Tensor

from acer_robot.errors import InputError
from acer_robot.experience.replay import Replay
from acer_robot.learner.learner import Learner
from acer_robot.provenance import cpu_model
from acer_robot.schema import LearnerConfig
from acer_robot.training.parts import Run
from acer_robot.training.resume import newest_point, recorded_config, restore_run
from acer_robot.training.run import prepare

MORE_SEGMENTS = 16
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


@dataclasses.dataclass
class Gradients:
    """The sums over gradients from which their signal and noise follow."""

    count: int = 0
    total: Tensor | float = 0.0
    squares: float = 0.0

    def add(self, gradient: Tensor) -> None:
        """Count one more gradient [P]."""
        gradient = gradient.double()
        self.count += 1
        self.total = self.total + gradient
        self.squares += float(gradient.square().sum())

    def squared(self) -> float:
        """Return the mean squared length of a gradient, `E |g|^2`."""
        return self.squares / self.count

    def signal(self) -> float:
        """Return the squared length of the gradients' mean, `|E g|^2`, without bias: the mean of g_i . g_j over i != j.

        The estimate is negative where the noise hides a small signal.
        """
        pairs = float(torch.as_tensor(self.total).square().sum()) - self.squares
        return pairs / (self.count * (self.count - 1))


@dataclasses.dataclass(frozen=True)
class Ratios:
    """log rho of replayed actions and log rho' of actions of the current policy, one entry a state."""

    log_rho: Tensor
    log_rho_sampled: Tensor

    def lines(self, c: float) -> list[list[str]]:
        """Return the rows of a table: what is measured, and its value."""
        rho = self.log_rho.double().exp()
        beyond = (self.log_rho_sampled > math.log(c)).double().mean() if c > 0.0 else torch.ones(())
        quantiles = torch.quantile(rho, torch.tensor(QUANTILES, dtype=torch.float64))
        shares = "/".join(f"{100 * share:.0f}" for share in QUANTILES)
        return [
            [f"rho, quantiles of {shares} %", " ".join(f"{value:.2g}" for value in quantiles)],
            ["effective share of the states, (mean rho)^2 / mean rho^2", f"{effective_share(rho):.1g}"],
            [f"share of states with rho' > c = {c:g}", f"{float(beyond):.3f}"],
        ]


def effective_share(rho: Tensor) -> float:
    """Return `(mean rho)^2 / mean rho^2`, which is 1 if all weights are equal and 1/N if a single one counts.

    Source: Kong 1992, the effective sample size of importance sampling.
    """
    return float(rho.mean().square() / rho.square().mean())


def measure(
    learner: Learner, replay: Replay, segments: int, batches: int
) -> tuple[tuple[Gradients, Gradients], Ratios]:
    """Return the policy gradients of two halves of `batches` batches, and the ratios in all of them.

    The learner is put back into its present state before every update, and only the noise differs.
    """
    state, halves = learner.checkpoint_state(), (Gradients(), Gradients())
    log_rho, log_rho_sampled = [], []
    for number in range(batches):
        learner.restore(state)
        if learner.generator is not None:
            learner.generator.manual_seed(number)
        seen = learner.update(replay.sample(segments))
        assert learner.flat_actor.values.grad is not None
        halves[number % 2].add(learner.flat_actor.values.grad)
        log_rho.append(seen.ascent.log_rho.flatten())
        log_rho_sampled.append(seen.ascent.log_rho_sampled.flatten())
    learner.restore(state)
    return halves, Ratios(torch.cat(log_rho), torch.cat(log_rho_sampled))


def variants(options: LearnerConfig) -> Iterable[tuple[str, LearnerConfig]]:
    """Yield what is compared: its name and the learner's options."""
    kinds = {f"the run's own (c = {options.c:g}, {options.correction})": options}
    if options.trust_region:
        kinds["the same, not projected"] = dataclasses.replace(options, trust_region=False)
    kinds |= {
        "the critic's, score function": dataclasses.replace(
            options, c=0.0, correction="score", trust_region=False
        ),
        "the critic's, pathwise": dataclasses.replace(
            options, c=0.0, correction="pathwise", trust_region=False
        ),
    }
    for segments in dict.fromkeys((options.segments, max(MORE_SEGMENTS, options.segments))):
        for name, changed in kinds.items():
            yield name, dataclasses.replace(changed, segments=segments, compile=False)


def table(run: Run, batches: int) -> list[str]:
    """Return the lines that are printed."""
    state, rows, ratios = run.learner.checkpoint_state(), [], None
    sizes = (run.task.spec.input_size, run.task.spec.action_size)
    for name, options in variants(run.config.learner):
        learner = Learner(options, *sizes, run.device)
        learner.restore(state)
        run.replay.reseed(0)
        halves, seen = measure(learner, run.replay, options.segments, batches)
        ratios = ratios or seen
        rows.append([name, f"{options.segments} of {options.segment_length}", *cells(halves)])
    assert ratios is not None
    header = (
        "policy gradient", "segments", "length, root mean square", "length of the mean", "signal", "signal, each half",
        "updates until signal = noise",
    )  # fmt: skip
    steps, updates = run.collector.env_steps, run.learner.updates
    title = f"{run.config.task.id}, step {steps:,}, {updates:,} updates, {batches} batches"
    return [
        title,
        "",
        markdown(header, rows),
        "",
        markdown(("ratio", "value"), ratios.lines(run.config.learner.c)),
    ]


def cells(halves: tuple[Gradients, Gradients]) -> list[str]:
    """Return a row's numbers: lengths, the signal's share of the mean squared length, and how many updates it takes."""
    squared = sum(half.squared() for half in halves) / 2
    signal = sum(half.signal() for half in halves) / 2
    if squared == 0.0:
        return ["0", "0", "", "", ""]
    each = " and ".join(f"{100 * half.signal() / half.squared():.2g} %" for half in halves)
    hidden = signal <= 0.0
    return [
        f"{squared**0.5:.3g}",
        "hidden" if hidden else f"{signal**0.5:.2g}",
        "hidden" if hidden else f"{100 * signal / squared:.2g} %",
        each,
        "hidden" if hidden else rounded((squared - signal) / signal),
    ]


def rounded(value: float) -> str:
    """Return a number of at least 0 with two digits, or more where it is 100 or larger."""
    return f"{value:,.0f}" if value >= 10.0 else f"{max(value, 0.0):.2g}"


def load(folder: Path) -> Run:
    """Return the run as it was at its newest checkpoint, with its replay.

    Raises:
        InputError: if there is no such run, its estimator has no correction, or its replay was freed.
    """
    config = dataclasses.replace(recorded_config(folder), run_dir=str(folder))
    if config.learner.estimator != "acer":
        raise InputError(
            f"{folder} was trained with learner.estimator={config.learner.estimator}, which has no correction to "
            "compare; give a run of learner.estimator=acer"
        )
    point = newest_point(folder)
    run = prepare(config, resuming=True)
    restore_run(run, point)
    if run.replay.size < run.replay.segment_length:
        run.close()
        raise InputError(f"{folder} has no replay any more (acer-runs free=..); train it again")
    return run


def page(sections: Sequence[str], command: str) -> str:
    """Return the page that `--report` writes."""
    made = f"`{command}` wrote this page at revision {revision()}."
    about = f"Each section is a run; the name is that of its folder. {versions('acer')}; {cpu_model()}."
    return "\n\n".join(["# Signal and noise of the policy gradient", f"{made} {about}", *sections]) + "\n"


def main() -> None:
    """Load, measure and print each run."""
    parser = argparse.ArgumentParser(description="Signal and noise of a run's policy gradient.")
    parser.add_argument(
        "runs", nargs="+", type=Path, metavar="RUN", help="the folder of a run with its replay"
    )
    parser.add_argument(
        "--batches", type=positive, default=400, help="how many gradients are compared, at least 4"
    )
    parser.add_argument("--report", type=Path, help="Markdown file that gets the results")
    options = parser.parse_args()
    if options.batches < 4:
        raise InputError(f"--batches {options.batches} are too few; give at least 4, two for each half")
    sections = []
    for folder in options.runs:
        run = load(folder)
        try:
            sections.append("\n".join([f"## {folder.name}", "", *table(run, options.batches)]))
        finally:
            run.close()
        print(sections[-1], flush=True)
    if options.report is not None:
        names = " ".join(folder.name for folder in options.runs)
        command = f"python benchmarks/gradient_noise.py {names} --batches {options.batches}"
        options.report.write_text(page(sections, command), encoding="utf-8")


if __name__ == "__main__":
    in_one_line(main)
