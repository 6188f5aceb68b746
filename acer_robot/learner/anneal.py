"""Options that change as updates go by: limit of the std, entropy target, averaging of the exported policy."""

from __future__ import annotations

from acer_robot.schema import LearnerConfig


def annealed(updates: int, start: int, length: int) -> float:
    """Return f, how much of the way to its final value an annealed option has gone, from 0 to 1.

    `f = (updates - start) / length`, clipped. Not in the paper, whose std is a constant.
    """
    return min(1.0, max(0.0, (updates - start) / length))


def std_min_after(options: LearnerConfig, updates: int) -> float:
    """Return the lower limit of a learned standard deviation after so many updates.

    `std_min^(1 - f) std_min_final^f`: wide noise finds a gait, narrow noise refines it.
    """
    if options.std_min_final is None:
        return options.std_min
    f = annealed(updates, options.annealing_start, options.annealing_updates)
    return float(options.std_min ** (1.0 - f) * options.std_min_final**f)


def entropy_target_after(options: LearnerConfig, updates: int) -> float | None:
    """Return the entropy in nats per joint that the temperature is tuned towards after so many updates, if any.

    `(1 - f) entropy_target + f entropy_target_final`.
    """
    if options.entropy_target is None or options.entropy_target_final is None:
        return options.entropy_target
    f = annealed(updates, options.annealing_start, options.annealing_updates)
    return (1.0 - f) * options.entropy_target + f * options.entropy_target_final


def exported_alpha_after(options: LearnerConfig, updates: int) -> float:
    """Return alpha of the policy that is evaluated and exported, after so many updates.

    `min(deployed_alpha, (1 + n) / (10 + n))`, or the paper's constant alpha. An average over thousands of updates would
    for as long be mostly the untrained start; so it looks back on some tenth of the training at first.

    Source: the rule of TensorFlow's `ExponentialMovingAverage` with `num_updates`.
    """
    if options.deployed_alpha is None:
        return options.alpha
    return min(options.deployed_alpha, (1 + updates) / (10 + updates))
