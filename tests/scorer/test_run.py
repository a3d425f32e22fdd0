"""A run's checkpoints are scored the same whether or not the run was interrupted."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scorer import RunScorer, Score, Weights, select
from tests.scorer.transcription import improvements

number = st.one_of(st.floats(0, 10), st.sampled_from([math.nan, math.inf, "NaN", None, "x", 2]))
happenings = st.lists(st.tuples(st.sampled_from(["train", "eval"]), number), max_size=30)


def play(scorer: RunScorer, happenings: list[tuple[str, object]], first_step: int = 0) -> list[Score]:
    found = []
    for step, (kind, value) in enumerate(happenings, start=first_step):
        if kind == "train":
            scorer.add_train(step, value)
        else:
            found.append(scorer.add_eval(step, value))
    return found


def reloaded(scorer: RunScorer) -> RunScorer:
    return RunScorer.from_json(json.loads(json.dumps(scorer.to_json(), allow_nan=False)))


@given(happenings, st.integers(0, 30))
def test_split_anywhere_persist_reload_and_continue_equals_one_pass(
    happenings: list[tuple[str, object]], cut: int
) -> None:
    whole = play(RunScorer(), happenings)
    first = RunScorer()
    parts = play(first, happenings[:cut])
    parts += play(reloaded(first), happenings[cut:], first_step=len(happenings[:cut]))
    assert [item.to_json() for item in parts] == [item.to_json() for item in whole]
    assert select(parts).reason == select(whole).reason


@given(st.lists(st.floats(0, 10), min_size=1, max_size=20))
def test_an_eval_is_improved_when_it_is_the_first_or_below_the_one_before(losses: list[float]) -> None:
    scorer = RunScorer()
    found = [scorer.add_eval(step, loss).metrics.improved for step, loss in enumerate(losses)]
    assert found == improvements(losses)


def test_an_eval_that_is_nan_neither_improves_nor_counts_as_the_one_before() -> None:
    scorer = RunScorer()
    found = [
        scorer.add_eval(step, loss).metrics.improved for step, loss in enumerate([2.0, math.nan, 2.5, 1.9])
    ]
    assert found == [True, False, False, True]


def test_the_train_loss_is_the_newest_at_or_before_the_eval() -> None:
    scorer = RunScorer()
    assert scorer.add_eval(5, 1.0).metrics.train_loss is None
    for step, loss in [(10, 0.9), (20, 0.8), (30, 0.7)]:
        scorer.add_train(step, loss)
    assert scorer.add_eval(20, 1.0).metrics.train_loss == 0.8
    assert scorer.add_eval(35, 1.0).metrics.train_loss == 0.7


def test_a_resumed_attempt_forgets_what_came_after_its_checkpoint() -> None:
    scorer = RunScorer()
    play(scorer, [("train", 3.0), ("eval", 3.0), ("train", 1.0), ("eval", 0.5)])
    scorer.add_train(2, 2.0)
    again = scorer.add_eval(3, 2.5)
    assert (again.metrics.improved, again.metrics.train_loss) == (True, 2.0)


def test_weights_and_formula_survive_a_restart() -> None:
    scorer = RunScorer(Weights(gap=0.5), "multi-metric/1-dpo")
    again = reloaded(scorer).add_eval(1, 0.5, accuracy=0.75)
    assert (again.weights.gap, again.formula, again.perplexity) == (0.5, "multi-metric/1-dpo", 0.025)


@pytest.mark.parametrize(
    "state",
    [
        None,
        [],
        {"train": 1, "evals": []},
        {"train": [[1]], "evals": []},
        {"train": [[1, None]], "evals": []},
        {"train": [["x", 1.0]], "evals": []},
        {"train": [[2, 1.0], [1, 1.0]], "evals": []},
        {"train": [], "evals": [], "formula": 7},
        {"train": [], "evals": [], "weights": {"gap": "much"}},
    ],
)
def test_a_broken_state_is_refused(state: object) -> None:
    with pytest.raises(ValueError):
        RunScorer.from_json(state)
