"""docs/metrics.md is what the table in the package says."""

from pathlib import Path

import pytest

from acer_robot.metrics import METRICS, healthy_range, metric, table

DOCS = Path(__file__).resolve().parents[1] / "docs"


def test_the_page_is_the_table():
    remedy = "python -m acer_robot.metrics > docs/metrics.md"
    assert (DOCS / "metrics.md").read_text() == table(), f"write the page again: {remedy}"


@pytest.mark.parametrize("name", METRICS)
def test_every_number_is_explained(name):
    metric = METRICS[name]
    assert len(metric.formula) > 10
    assert len(metric.healthy) > 10
    assert not metric.healthy.endswith(".")


def test_each_term_of_a_reward_is_known():
    assert metric("reward/velocity") is METRICS["reward/TERM"]
    assert metric("acer/std") is METRICS["acer/std"]
    assert metric("acer/of_another_version") is None


def test_loss_of_q_is_judged_by_the_scale_of_advantages():
    high = healthy_range("loss/q", {"critics": 2}, {"acer/advantage_scale": 0.1})[1]
    assert high == pytest.approx(0.02)
