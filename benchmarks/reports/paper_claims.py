"""The paper's claims one by one, and the one rule that decides what the runs say about each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rows.curves import Estimate, FloatArray, markdown, mean_difference, verdict

Samples = Mapping[str, Mapping[str, FloatArray]]
"""Task -> learner -> one value a seed."""

UNTRAINED = "untrained"
"""What the policy that was never trained is called among the learners."""
LEARNT = 0.05
RANGE = {"walker2d": 5_000.0}
"""What a good policy returns; dm_control's tasks return 1,000 at most."""
HUMANOID = ("dmc/humanoid-stand",)
ABLATIONS = ("paper_no_trust_region", "paper_no_sdn", "paper_no_retrace", "paper_no_truncation")


@dataclass(frozen=True)
class Claim:
    """That in each pair of learners the first has the larger area under its learning curve."""

    text: str
    pairs: tuple[tuple[str, str], ...]
    tasks: tuple[str, ...] | None = None


CLAIMS = (
    Claim("ACER is above A3C", (("paper", "a3c"),)),
    Claim("ACER is above TIS", (("paper", "tis"),)),
    Claim("ACER is above both with a trust region", (("paper", "trust_a3c"), ("paper", "trust_tis"))),
    Claim("the trust region helps ACER", (("paper", "paper_no_trust_region"),)),
    Claim("the trust region helps A3C", (("trust_a3c", "a3c"),)),
    Claim("the trust region helps TIS", (("trust_tis", "tis"),)),
    Claim("Retrace helps", (("paper", "paper_no_retrace"),)),
    Claim(
        "Retrace matters most",
        tuple((other, "paper_no_retrace") for other in ABLATIONS if other != "paper_no_retrace"),
    ),
    Claim("the SDN helps", (("paper", "paper_no_sdn"),)),
    Claim("truncation with bias correction matters in high d", (("paper", "paper_no_truncation"),), HUMANOID),
)

RULE = f"""Each claim says that one learner's area under its learning curve (the mean evaluated return over the run) is
larger than another's. Areas are divided by the task's scale, the best learner's mean area minus the untrained
policy's, and the difference of the two learners' means is averaged over the tasks, each alike. Its 95 % interval is
Welch's t interval over seeds (a bootstrap of three seeds has too few distinct resamples). A task counts where both
learners have at least two seeds and where anybody learnt: where its scale is at least {LEARNT * 100:.0f} % of its range
(1,000 in dm_control, 5,000 for walker2d).

- **Reproduced**: the interval lies above 0, for every pair where a claim has several.
- **Not reproduced**: it lies below 0 for any pair; the opposite was found.
- **Not resolved at this budget**: anything else."""


def scales(areas: Samples) -> dict[str, float]:
    """Return the scale of every task that somebody learnt."""
    known = {}
    for task, learners in areas.items():
        if UNTRAINED not in learners:
            continue
        best = max(float(sample.mean()) for sample in learners.values())
        scale = best - float(learners[UNTRAINED].mean())
        if scale >= LEARNT * RANGE.get(task, 1_000.0):
            known[task] = scale
    return known


def compare(
    areas: Samples, pair: tuple[str, str], tasks: Sequence[str] | None = None
) -> tuple[Estimate, list[str]]:
    """Return the normalised difference of a pair of learners, and the tasks that it is of."""
    known = scales(areas)
    used = [
        task
        for task in known
        if (tasks is None or task in tasks) and all(len(areas[task].get(name, ())) > 1 for name in pair)
    ]
    first, second = pair
    pairs = [(areas[task][first] / known[task], areas[task][second] / known[task]) for task in used]
    return mean_difference(pairs), used


def claims_among(learners: Sequence[str]) -> list[Claim]:
    """Return the claims that compare none but these learners."""
    return [claim for claim in CLAIMS if {name for pair in claim.pairs for name in pair} <= set(learners)]


def decide(claim: Claim, areas: Samples) -> tuple[str, list[str]]:
    """Return the verdict on a claim, and for each of its pairs the numbers in words."""
    estimates, numbers = [], []
    for pair in claim.pairs:
        estimate, used = compare(areas, pair, claim.tasks)
        interval = f"{estimate.mean:+.2f} [{estimate.low:+.2f}, {estimate.high:+.2f}]"
        tasks = ", ".join(task.removeprefix("dmc/") for task in used)
        estimates.append(estimate)
        numbers.append(f"{' - '.join(pair)}: {f'{interval} on {tasks}' if used else 'no task counts'}")
    return verdict(estimates), numbers


def claims_table(areas: Samples, claims: Sequence[Claim] = CLAIMS) -> str:
    """Return each of `claims` with its verdict and the numbers it rests on."""
    lines = []
    for claim in claims:
        decision, numbers = decide(claim, areas)
        lines.append([claim.text, f"**{decision}**", "<br>".join(numbers)])
    return markdown(("claim", "verdict", "difference of normalised areas [95 % interval]"), lines)
