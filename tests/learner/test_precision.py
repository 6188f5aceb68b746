"""Precision of the update's products: what it changes, what it leaves alone, and where it is refused."""

import pytest
import torch
from learner_cases import random_batch, small_learner

from acer_robot.errors import InputError
from acer_robot.learner import learner, precision
from acer_robot.learner.gradients import update_gradients
from acer_robot.learner.precision import choose_precision, products

CPU = torch.device("cpu")
needs_onednn = pytest.mark.skipif(precision._obstacle(CPU) is not None, reason="oneDNN is of no use here")


@needs_onednn
def test_products_of_onednn_round_only_where_that_is_said():
    torch.manual_seed(0)
    a, b = torch.randn(2, 128, 256), torch.randn(2, 256, 256)
    exact = (a.double() @ b.double()).float()
    with products("onednn"):
        product = a @ b
    largest = float((product - exact).abs().max())
    assert largest > 0.01 if precision._rounds() else largest < 1e-3


def test_precision_is_restored_after_an_error():
    torch.backends.mkldnn.matmul.fp32_precision = "ieee"  # whatever a test before this one has left
    with pytest.raises(ZeroDivisionError), products("onednn"):
        _ = 1 / 0
    assert torch.backends.mkldnn.matmul.fp32_precision == "ieee"


@pytest.mark.parametrize(("choice", "expected"), [("float32", False), ("onednn", True), ("bf16", True)])
def test_an_update_gives_its_products_to_onednn(monkeypatch, choice, expected):
    seen = []

    def looked_at(*arguments):
        seen.append(torch.backends.mkldnn.matmul.fp32_precision == "bf16")
        return update_gradients(*arguments)

    monkeypatch.setattr(learner, "update_gradients", looked_at)
    trained = small_learner(precision=choice)
    trained.update(random_batch(trained, 5, 4, seed=0))
    assert seen == [expected]


@pytest.mark.parametrize(("ratio", "expected"), [(1.1, "float32"), (2.0, "onednn")])
def test_auto_takes_what_is_faster(monkeypatch, ratio, expected):
    monkeypatch.setattr(precision, "_obstacle", lambda device: None)
    monkeypatch.setattr(precision, "_rounds", lambda: False)
    monkeypatch.setattr(precision, "_seconds", lambda name: 1.0 if name == "onednn" else ratio)
    assert choose_precision("auto", CPU) == expected


def test_auto_never_rounds(monkeypatch):
    monkeypatch.setattr(precision, "_obstacle", lambda device: None)
    monkeypatch.setattr(precision, "_rounds", lambda: True)
    assert choose_precision("auto", CPU) == "float32"
    assert choose_precision("bf16", CPU) == "bf16"
    with pytest.raises(InputError, match="needs a processor on which oneDNN does not round"):
        choose_precision("onednn", CPU)


def test_what_cannot_be_had_is_refused(monkeypatch):
    with pytest.raises(InputError, match="precision=bf16 needs device=cpu, and the device is cuda; set"):
        choose_precision("bf16", torch.device("cuda"))
    assert choose_precision("auto", torch.device("cuda")) == "float32"
    monkeypatch.setattr(precision, "_obstacle", lambda device: None)
    monkeypatch.setattr(precision, "_rounds", lambda: False)
    with pytest.raises(InputError, match="needs a processor on which oneDNN rounds"):
        choose_precision("bf16", CPU)
