"""Draw the pictures of the_paper.md from the package's own functions: `python docs/make_pictures.py`."""

from __future__ import annotations

from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import torch
from matplotlib.axes import Axes
from torch import Tensor

from acer_robot import acer

FOLDER = Path(__file__).parent / "pictures"
SHIFT = 0.5
"""How far every joint's mean has moved since the action was stored, in std."""
BLUE, ORANGE, GREEN, RED, GREY = "#0072b2", "#e69f00", "#009e73", "#d55e00", "#777777"


def log_ratios(d: int, samples: int = 200_000) -> Tensor:
    """Return log rho [samples, 1] of actions drawn from mu = N(0, 1), for pi = N(SHIFT, 1), in d joints."""
    generator = torch.Generator().manual_seed(d)
    action = torch.randn(samples, 1, d, generator=generator, dtype=torch.float64)
    unit = torch.zeros_like(action)
    log_pi = acer.gaussian_log_prob(action, unit + SHIFT, unit)
    return acer.importance_log_ratio(log_pi, acer.gaussian_log_prob(action, unit, unit))


def draw_distributions(axes: Axes) -> None:
    """Histogram rho for few and many joints on a logarithmic axis."""
    edges = torch.linspace(-6.0, 3.0, 121, dtype=torch.float64)
    for d, colour in ((1, BLUE), (6, ORANGE), (21, GREEN)):
        log_rho = log_ratios(d)
        decades = log_rho.flatten() / torch.log(torch.tensor(10.0))
        median = log_rho.exp().median().item()
        label = f"d = {d}: median {median:.2f}"
        axes.hist(
            decades, bins=edges.tolist(), density=True, histtype="step", color=colour, lw=1.8, label=label
        )
    axes.axvline(0.0, color=GREY, lw=0.8)
    axes.set_xticks(range(-6, 4), [f"$10^{{{i}}}$" for i in range(-6, 4)])
    axes.set_xlim(-5.5, 2.5)
    axes.set_yticks([])
    axes.set_xlabel(r"joint ratio $\rho$ of one state")
    axes.set_title(
        f"Every joint moved by {SHIFT:g} std: the mean ratio is 1 for every d,\nits typical value is not"
    )
    axes.legend(frameon=False)


def draw_trace_lengths(axes: Axes) -> None:
    """Draw how many steps a Retrace return looks ahead, against d, for four exponents of the ratio."""
    axes.set_yscale("log")
    dimensions = [1, 2, 3, 4, 6, 9, 13, 17, 21, 30, 40]
    exponents = (
        ("$1/d$ (the paper)", lambda d: 1.0 / d, BLUE, "o"),
        (r"$1/\sqrt{d}$ (a mistake)", lambda d: d**-0.5, GREEN, "s"),
        ("1 (plain Retrace)", lambda d: 1.0, ORANGE, "^"),
        ("$d$ (a mistake)", lambda d: float(d), RED, "v"),
    )
    for label, exponent, colour, marker in exponents:
        means = [acer.trace_coefficients(log_ratios(d), d, exponent(d)).mean().item() for d in dimensions]
        lengths = [mean / (1.0 - mean) for mean in means]
        axes.plot(dimensions, lengths, color=colour, marker=marker, ms=4)
        axes.text(41.5, lengths[-1], label, color=colour, va="center")
    axes.set_yticks([0.1, 0.3, 1.0, 3.0, 10.0], ["0.1", "0.3", "1", "3", "10"])
    axes.minorticks_off()
    axes.set_ylim(0.04, 15.0)
    axes.set_xlim(0, 61)
    axes.set_xticks([1, 10, 20, 30, 40])
    axes.set_xlabel("action dimension d")
    axes.set_ylabel("steps")
    axes.set_title(
        "Expected trace length  $E[c_1 + c_1c_2 + …]$\nof the same two policies, for four exponents"
    )


# One joint: phi = (mean, log std). The average policy, the current one, and a gradient that leads away.
AVERAGE = torch.tensor([0.0, 0.0], dtype=torch.float64)
CURRENT = torch.tensor([0.55, -0.15], dtype=torch.float64)
GRADIENT = torch.tensor([0.9, 0.1], dtype=torch.float64)
DELTA = 0.25


def divergence(phi: Tensor) -> Tensor:
    """Return KL[average || current] of one joint at statistics [.., 2]."""
    average = AVERAGE.expand_as(phi)
    return acer.gaussian_kl(average[..., :1], average[..., 1:], phi[..., :1], phi[..., 1:])


def projected() -> tuple[Tensor, Tensor]:
    """Return k and z of the example."""
    k = torch.cat(acer.gaussian_kl_gradient(AVERAGE[:1], AVERAGE[1:], CURRENT[:1], CURRENT[1:]))
    return k, acer.trust_region_projection(GRADIENT, k, DELTA)


def draw_arrow(axes: Axes, vector: Tensor, colour: str, label: str, offset: tuple[float, float]) -> None:
    """Draw a vector in phi from the current statistics."""
    start, end = CURRENT.tolist(), (CURRENT + vector).tolist()
    style = {
        "arrowstyle": "-|>",
        "color": colour,
        "lw": 2.2,
        "shrinkA": 0,
        "shrinkB": 0,
        "mutation_scale": 16,
    }
    axes.annotate("", xy=end, xytext=start, arrowprops=style)
    axes.text(end[0] + offset[0], end[1] + offset[1], label, color=colour, fontsize=13, weight="bold")


def draw_projection(axes: Axes) -> None:
    """Draw g, k and z over the contours of the divergence."""
    mean, log_std = torch.linspace(-0.4, 1.8, 221), torch.linspace(-0.8, 0.6, 141)
    grid = torch.stack(torch.meshgrid(mean, log_std, indexing="xy"), dim=-1).double()
    levels = [0.02, 0.08, 0.17, 0.4, 0.7, 1.1]
    lines = axes.contour(mean, log_std, divergence(grid), levels=levels, colors=GREY, linewidths=0.7)
    axes.clabel(lines, fmt="%g", fontsize=7)
    k, z = projected()
    along = torch.stack([-k[1], k[0]]) / k.norm()
    foot = CURRENT + DELTA * k / k.dot(k)
    ends = torch.stack([foot - 3 * along, foot + 3 * along])
    axes.plot(ends[:, 0], ends[:, 1], color=GREEN, ls="--", lw=1.3)
    between = torch.stack([CURRENT + GRADIENT, CURRENT + z])
    axes.plot(between[:, 0], between[:, 1], color=RED, ls=":", lw=1.3)
    draw_arrow(axes, GRADIENT, RED, "g", (0.03, 0.0))
    draw_arrow(axes, z, BLUE, "z", (0.0, 0.04))
    draw_arrow(axes, 0.45 * k / k.norm(), GREY, "k", (0.03, -0.06))
    for point, name in ((AVERAGE, "average"), (CURRENT, "current")):
        axes.plot(*point.tolist(), "o", color="black", ms=5)
        axes.text(point[0] - 0.05, point[1], name, ha="right", va="center")
    axes.text(1.42, 0.47, r"$k\cdot z=\delta$", color=GREEN, fontsize=12, ha="right")
    axes.set_xlim(-0.4, 1.8)
    axes.set_ylim(-0.8, 0.6)
    axes.set_aspect("equal")
    axes.set_xlabel("mean")
    axes.set_ylabel("log std")
    axes.set_title(
        "One state, one joint: z is g less what it has too much of k\n(contours: KL[average ‖ current])"
    )


def draw_growth(axes: Axes) -> None:
    """Draw how the divergence grows along g and along z, against what delta promises."""
    steps = torch.linspace(0.0, 2.0, 101, dtype=torch.float64)
    _, z = projected()
    start = divergence(CURRENT)
    for direction, colour, name in ((GRADIENT, RED, "g"), (z, BLUE, "z")):
        growth = divergence(CURRENT + steps.unsqueeze(-1) * direction) - start
        axes.plot(steps, growth, color=colour, lw=2, label=f"along {name}")
    axes.plot(steps, DELTA * steps, color=GREEN, ls="--", lw=1.3, label=rf"slope $\delta$ = {DELTA:g}")
    axes.set_xlabel(r"step length $\epsilon$ along the direction, in $\phi$")
    axes.set_ylabel("growth of KL[average ‖ current] in nats")
    axes.set_title("δ bounds the slope at 0, and nothing further out:\nit is a rate and no radius")
    axes.legend(frameon=False)


def save(name: str, left: object, right: object, widths: tuple[float, float]) -> None:
    """Put two drawings side by side into a file."""
    figure, (first, second) = plt.subplots(
        1, 2, figsize=(11.0, 4.4), width_ratios=widths, layout="constrained"
    )
    left(first)  # type: ignore[operator]
    right(second)  # type: ignore[operator]
    for axes in (first, second):
        axes.spines[["top", "right"]].set_visible(False)
        axes.title.set_fontsize(11)
    figure.savefig(FOLDER / name, dpi=110)
    plt.close(figure)


def main() -> None:
    """Write every picture."""
    FOLDER.mkdir(exist_ok=True)
    save("ratios.png", draw_distributions, draw_trace_lengths, (1.0, 1.0))
    save("projection.png", draw_projection, draw_growth, (1.15, 1.0))


if __name__ == "__main__":
    main()
