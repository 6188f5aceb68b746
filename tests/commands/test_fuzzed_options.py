"""Senseless values of options are refused in one line; `make faults` tries all values of all commands."""

from __future__ import annotations

import re

import fuzz_options
import pytest

from acer_robot.commands.error_lines import one_line
from acer_robot.commands.sweep import REFUSALS
from acer_robot.tasks import make_task


@pytest.fixture(scope="module")
def train_options(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("fuzz"))
        yield fuzz_options.Fuzzed("train")


def test_every_fifteenth_senseless_value_is_refused(train_options):
    cases = fuzz_options.cases("train")
    assert len(cases) > 800
    faults = {case: fault for case in cases[::15] if (fault := train_options.fault(*case))}
    assert not faults


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("task.kwargs=[1]", r"task\.kwargs takes no list; .* in braces"),
        ("learner.hidden={a: 1}", r"learner\.hidden takes a list"),
        ("learner.hidden=[[]]", r"learner\.hidden=\[\] is out of range"),
        ("task.slew_rate=nan", "task.slew_rate is nan; expected a positive number"),
        ("task.model=''", "task.model='' is empty"),
        ("task.command_delay=lots", "task.command_delay='lots' needs a tensor task"),
        ("wandb.tags=[[]]", r"wandb\.tags=\[\[\]\] holds \[\]"),
        ("wandb.project=''", "wandb.project='' is empty"),
        ("resume=''", "resume='' is empty"),
    ],
)
def test_refusal_says_what_the_option_takes(train_options, override, words):
    name, _, value = override.partition("=")
    assert not train_options.fault(name, value)
    with pytest.raises(REFUSALS) as refused:
        train_options.body(train_options._composed(override))
    assert re.search(words, one_line(refused.value))


def test_one_slew_rate_for_all_commands_of_a_task_without_joints(train_options):
    config = train_options._composed("task.slew_rate=4")
    task = make_task(config.task, 1, 0)
    assert task.spec.slew_rate == (4.0,)
    task.close()
