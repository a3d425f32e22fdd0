"""Log lines that tell figures, the user's own patterns, and lines that want to do harm."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.script.figures import Names
from engine.script.lines import STRIKES, Reader


def told(line: str, **options: Any) -> tuple[Any, Any, dict[str, float], dict[str, float]] | None:
    row = Reader(**options).read(line)
    if row is None:
        return None
    sides = ({name: figure.value for name, figure in side.items()} for side in (row.train, row.eval))
    return (row.step, row.epoch, *sides)


def test_the_baselines_line_is_read_whole() -> None:
    spans = "span_F1=0.000, span_P=0.000, span_R=0.000"
    line = f"Epoch   1/100: train_loss=8.5065, val_loss=17.6855, {spans}, time=6.2s"
    train, evaluated = (
        {"loss": 8.5065, "epoch_time": 6.2},
        {"eval_loss": 17.6855, "span_f1": 0.0, "span_p": 0.0, "span_r": 0.0},
    )
    assert told(line) == (None, 1.0, train, evaluated)
    row = Reader().read(line)
    assert row is not None and row.epochs == 100


@pytest.mark.parametrize(
    ("line", "step", "epoch", "train", "evaluated"),
    [
        ("{'loss': 0.51, 'grad_norm': 1.25, 'learning_rate': 1e-05, 'epoch': 0.1}", None, 0.1,
         {"loss": 0.51, "grad_norm": 1.25, "learning_rate": 1e-5}, {}),
        ("step 100/1000 | loss 2.345 | lr 3e-4", 100, None, {"loss": 2.345, "learning_rate": 3e-4}, {}),
        ('{"step": 7, "train_loss": 0.5, "val/loss": 0.75}', 7, None, {"loss": 0.5}, {"eval_loss": 0.75}),
        ("\x1b[32mEpoch 2\x1b[0m loss: 0.25", None, 2.0, {"loss": 0.25}, {}),
        ("Epoch 3:  50%|##  | 1/2 [loss=0.9]\rEpoch 3: 100%| [loss=0.5]", None, 3.0, {"loss": 0.5}, {}),
        ("[10:00:00] epoch=3 step=120 loss=-0.4 val_acc=0.9", 120, 3.0, {"loss": -0.4}, {"eval_acc": 0.9}),
    ],
)  # fmt: skip
def test_lines_of_many_tools_are_read(
    line: str, step: int | None, epoch: float | None, train: dict[str, float], evaluated: dict[str, float]
) -> None:
    assert told(line) == (step, epoch, train, evaluated)


@pytest.mark.parametrize(
    "line",
    [
        "", "loading data", "Saved checkpoint at epoch 3 to x, size=12", "loss=0.5", "epoch 3 is over",
        "v1.2.3 step-by-step guide: loss of generality", "2026-01-01 10:00:00 INFO started",
    ],
)  # fmt: skip
def test_lines_that_only_look_like_it_are_left_alone(line: str) -> None:
    assert told(line) is None


def test_a_loss_that_is_no_number_is_told_as_such() -> None:
    found = told("epoch 4: loss=nan")
    assert found is not None and math.isnan(found[2]["loss"])


def test_own_patterns_go_before_ours_and_names_are_the_users() -> None:
    patterns = [
        r"^T(?P<step>\d+)/(?P<steps>\d+) nll (?P<nll>[\d.]+)",
        r"^T(?P<step>\d+) (?P<name>\w+) is (?P<value>\S+)",
    ]
    options = {"patterns": patterns, "names": Names({"nll": "eval_loss"})}
    assert told("T12/90 nll 3.5", **options) == (12, None, {}, {"eval_loss": 3.5})
    assert told("T13 BLEU is 0.25", **options) == (13, None, {"bleu": 0.25}, {})
    assert told("epoch 2: loss=1.5", **options) == (None, 2.0, {"loss": 1.5}, {})


def test_a_pattern_that_takes_for_ever_is_given_up_and_the_others_go_on() -> None:
    said: list[str] = []
    reader = Reader(patterns=[r"(?P<loss>(a+)+)b$"], complain=said.append, patience=0.02)
    for step in range(STRIKES + 2):
        row = reader.read("a" * 60 + f" epoch {step}: loss=0.5")
        assert row is not None and row.epoch == step
    assert len(said) == 1 and "tried no more" in said[0]


@given(st.text(max_size=300))
def test_no_line_does_harm(line: str) -> None:
    Reader().read(line)
    Reader().read("epoch 1 loss=" + line)


@pytest.mark.parametrize("piece", ["epoch ", "loss=1 ", "a=1", "\x1b[", "epoch 1/", "='", "1e9", "loss\t"])
def test_long_lines_of_one_piece_come_to_an_end(piece: str) -> None:
    Reader().read(piece * 200_000)
