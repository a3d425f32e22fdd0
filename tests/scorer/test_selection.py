"""Choosing among many scores: one strict order, ties, and a reason that a person can read."""

from __future__ import annotations

import json
import math
import random
from itertools import pairwise, permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scorer import (
    RULES,
    CheckpointMetrics,
    Score,
    Validity,
    Weights,
    mean_of_three,
    order_key,
    ordering,
    score,
    select,
)
from tests.scorer import transcription

maybe_loss = st.one_of(st.none(), st.floats(-1, 10), st.floats(), st.sampled_from([0.5, 0.6]))
some_metrics = st.builds(
    CheckpointMetrics,
    step=st.integers(0, 5),
    eval_loss=maybe_loss,
    train_loss=maybe_loss,
    improved=st.booleans(),
)
some_scores = st.lists(st.builds(score, some_metrics), max_size=8)
rules = st.sampled_from(sorted(RULES))


def checkpoints(*losses: tuple[float, float | None]) -> list[Score]:
    """Scores at steps 100, 200, … of (eval loss, train loss) pairs."""
    improved = transcription.improvements([loss for loss, _ in losses])
    return [
        score(CheckpointMetrics(100 * (i + 1), loss, train, improved[i]))
        for i, (loss, train) in enumerate(losses)
    ]


@given(some_scores, st.randoms(use_true_random=False), rules)
def test_any_permutation_gives_the_same_choice(scores: list[Score], rng: random.Random, rule: str) -> None:
    shuffled = list(scores)
    rng.shuffle(shuffled)
    ours, theirs = select(scores, rule=rule), select(shuffled, rule=rule)
    assert ours.reason == theirs.reason
    for name in ("best", "lowest_eval_loss"):
        assert key(getattr(ours, name)) == key(getattr(theirs, name))
    assert [*map(order_key, ours.tied)] == [*map(order_key, theirs.tied)]


@given(some_scores)
def test_the_order_is_a_strict_total_order(scores: list[Score]) -> None:
    order = ordering(scores)
    keys = [order_key(item) for item in order]
    assert keys == sorted(keys)
    assert len(set(keys)) == len(keys)
    for left, right in pairwise(keys):
        assert left < right and not right < left


@given(some_scores, some_scores)
def test_merging_two_journals_equals_choosing_from_the_union(left: list[Score], right: list[Score]) -> None:
    shared = left[: len(left) // 2]
    merged = [stored(item) for item in [*left, *shared, *right]]
    union = {order_key(item): item for item in [*right, *left]}.values()
    assert [*map(order_key, ordering(merged))] == [*map(order_key, ordering(union))]
    assert select(merged).reason == select(union).reason


@given(some_scores)
def test_what_is_not_valid_never_wins_over_what_is(scores: list[Score]) -> None:
    best = select(scores).best
    if any(item.validity is Validity.VALID for item in scores):
        assert best is not None and best.validity is Validity.VALID
        assert best.total == min(item.total for item in scores if item.validity is Validity.VALID)
    classes = [item.validity for item in ordering(scores)]
    assert classes == sorted(classes)


@given(some_scores, some_scores)
def test_a_worse_checkpoint_never_replaces_the_best(scores: list[Score], more: list[Score]) -> None:
    before, after = select(scores).best, select([*scores, *more]).best
    if before is not None:
        assert after is not None
        assert order_key(after) <= order_key(before)


def test_five_checkpoints_have_one_winner_in_all_their_orders_of_arrival() -> None:
    scores = checkpoints((2.0, 2.1), (1.6, 1.5), (1.5, 1.2), (1.52, 0.9), (1.6, 0.6))
    winners = {order_key(select(order).best) for order in permutations(scores)}  # type: ignore[arg-type]
    assert len(winners) == 1


def test_equal_totals_are_decided_by_eval_loss_then_by_the_earlier_step() -> None:
    weights = Weights(eval_loss=0, gap=0, perplexity=0, bonus=0)
    high, late, early = (score(CheckpointMetrics(*m), weights) for m in [(1, 0.9), (3, 0.5), (2, 0.5)])
    assert [item.metrics.step for item in ordering([high, late, early])] == [2, 3, 1]


def test_negative_losses_are_ordered_by_eval_loss_alone_and_may_win_among_themselves() -> None:
    scores = [score(CheckpointMetrics(i, loss)) for i, loss in enumerate([-1.0, -3.0, -2.0])]
    assert [item.metrics.step for item in ordering(scores)] == [1, 2, 0]
    selection = select(scores)
    assert selection.best is scores[1]
    assert "below zero" in selection.reason


def test_nothing_to_choose_from_is_said() -> None:
    assert select([]).best is None
    assert select([]).reason == "There are no checkpoints to choose from."


def test_no_best_is_named_where_no_number_can_be_used() -> None:
    selection = select([score(CheckpointMetrics(1, math.nan)), score(CheckpointMetrics(2))])
    assert selection.best is None and selection.lowest_eval_loss is None and selection.tied == ()
    assert selection.reason == "None of the 2 checkpoints has a usable score: the eval loss is NaN."


def test_scores_of_different_formulas_or_weights_are_never_compared() -> None:
    plain = score(CheckpointMetrics(1, 0.5))
    for other in (
        score(CheckpointMetrics(2, 0.5, accuracy=0.5)),
        score(CheckpointMetrics(2, 0.5), Weights(gap=0.4)),
    ):
        with pytest.raises(ValueError, match="different formulas or weights can't be compared"):
            select([plain, other])
        assert select([plain, other], rule="eval-loss").best is not None


def test_an_unknown_rule_is_refused_with_those_that_are_known() -> None:
    with pytest.raises(ValueError, match="no rule is called best; known are multi-metric, eval-loss"):
        select([], rule="best")


def test_each_rule_chooses_by_its_own_number() -> None:
    # The dip at step 300 is one lucky eval; step 500 is smooth; step 600 is overfitted.
    scores = checkpoints((3.0, 3.0), (2.0, 2.0), (1.4, 0.7), (1.9, 1.8), (1.5, 1.45), (1.8, 0.2))
    chosen = {rule: select(scores, rule=rule).best.metrics.step for rule in RULES}  # type: ignore[union-attr]
    assert chosen == {"multi-metric": 500, "eval-loss": 300, "ema": 500, "last": 600}


def test_the_three_best_scores_are_those_to_average() -> None:
    scores = checkpoints((3.0, 3.0), (2.0, 2.0), (1.4, 0.7), (1.9, 1.8), (1.5, 1.45), (1.8, 0.2))
    broken = score(CheckpointMetrics(700, math.nan))
    assert [item.metrics.step for item in mean_of_three([*scores, broken])] == [500, 300, 200]
    assert mean_of_three([*scores[:2], broken]) == ()


def test_the_reason_says_by_how_much_and_why_the_lowest_eval_loss_lost() -> None:
    reason = select(checkpoints((0.5, 0.45), (0.4, 0.1))).reason
    assert reason == (
        "Step 100 has the best score (0.1882), but step 200 has the lowest eval loss: 0.1 nats, 25 % lower; "
        "the train-eval gap decided (0.03 against 0.225)."
    )


def test_the_reason_is_short_where_score_and_eval_loss_agree() -> None:
    reason = select(checkpoints((0.5, 0.45), (0.4, 0.4))).reason
    assert reason == "Step 200 has the best score (0.1075) and the lowest eval loss (0.4 nats)."


def test_the_bonus_can_decide() -> None:
    scores = [score(CheckpointMetrics(1, 1.0, 1.0, True)), score(CheckpointMetrics(2, 0.95, 0.95, False))]
    assert "the improvement bonus decided (-0.1 against 0)" in select(scores).reason


def test_paired_example_losses_say_who_is_tied() -> None:
    rng = random.Random(1)
    hard = [rng.uniform(0.1, 3.0) for _ in range(200)]
    same = [loss + rng.gauss(0, 0.1) for loss in hard]
    # Worse by less than the examples scatter, yet on nearly every one of them: not tied.
    worse = [loss + 0.05 + rng.gauss(0, 0.1) for loss in hard]
    per_example = {1: hard, 2: same, 3: worse}
    scores = [score(CheckpointMetrics(step, sum(x) / len(x))) for step, x in per_example.items()]
    selection = select(scores, per_example=per_example, rule="eval-loss")
    assert {selection.best.metrics.step, *(t.metrics.step for t in selection.tied)} == {1, 2}  # type: ignore[union-attr]
    assert "can't be told from it by eval loss" in selection.reason


@pytest.mark.parametrize("broken", [[0.5], [0.5] * 99, [math.nan] * 100])
def test_example_losses_that_do_not_pair_are_not_used(broken: list[float]) -> None:
    scores = [score(CheckpointMetrics(1, 0.5)), score(CheckpointMetrics(2, 0.51))]
    assert select(scores, per_example={1: [0.5] * 100, 2: broken}).tied == ()
    assert select(scores, per_example={1: [0.5] * 100, 2: broken}, noise=0.1).tied == (scores[1],)


def test_the_noise_of_the_eval_curve_says_who_is_tied() -> None:
    rng = random.Random(3)
    losses = [2.0 + 2.0 * math.exp(-i / 5) + rng.gauss(0, 0.02) for i in range(40)]
    scores = [score(CheckpointMetrics(10 * (i + 1), loss)) for i, loss in enumerate(losses)]
    selection = select(scores, rule="eval-loss")
    tied = {item.metrics.step for item in selection.tied}
    assert selection.best not in selection.tied
    assert len([step for step in tied if step > 250]) >= 8
    assert not any(step < 100 for step in tied)


def test_too_few_evals_claim_no_ties() -> None:
    assert select(checkpoints((0.5, 0.5), (0.5001, 0.5), (0.6, 0.5))).tied == ()


def test_a_smooth_curve_claims_no_ties() -> None:
    scores = [score(CheckpointMetrics(i, 2.0 + 0.01 * (i - 20) ** 2)) for i in range(40)]
    assert select(scores, rule="eval-loss").tied == ()


def key(item: Score | None) -> object:
    return None if item is None else order_key(item)


def stored(item: Score) -> Score:
    return Score.from_json(json.loads(json.dumps(item.to_json(), allow_nan=False)))
