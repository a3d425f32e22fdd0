"""A run's checkpoints with their scores and their standing: what `podium score` shows."""

from __future__ import annotations

import math
from dataclasses import dataclass

from engine.foreign.run import ForeignCheckpoint, ForeignRun
from scorer import CheckpointMetrics, Score, Selection, Validity, Weights, mean_of_three, score, select
from scorer.rules import DEFAULT_RULE


@dataclass(frozen=True, slots=True)
class Row:
    """A checkpoint with its score and its standing."""

    checkpoint: ForeignCheckpoint
    score: Score
    is_best: bool
    is_lowest_eval_loss: bool
    tied: bool
    problem: str


@dataclass(frozen=True, slots=True)
class Ranking:
    """A run's checkpoints by step, and what was chosen among them.

    Args:
        run: The run.
        rows: One for each checkpoint.
        selection: The choice among those that could be loaded, or among all where none could.
        reason: One or two sentences for a person.
        average: The steps whose weights are worth averaging, best first; empty with fewer than three.
    """

    run: ForeignRun
    rows: tuple[Row, ...]
    selection: Selection
    reason: str
    average: tuple[int, ...] = ()


def rank(run: ForeignRun, rule: str = DEFAULT_RULE, weights: Weights | None = None) -> Ranking:
    """Score and rank a run's checkpoints.

    Stored scores are used as they are. Asking for weights scores every checkpoint with them, from the
    numbers that were stored with it. A checkpoint that can't be loaded is chosen only when none can.

    Args:
        run: The run.
        rule: The rule that chooses, one of `scorer.RULES`.
        weights: None takes the stored scores, or the default weights where there are none.

    Raises:
        ValueError: The rule is unknown.
    """
    scores, problems = _scores(run, weights)
    comparable = [item for item, problem in zip(scores, problems, strict=True) if problem != _OTHER_KIND]
    loadable = [
        item
        for checkpoint, item, problem in zip(run.checkpoints, scores, problems, strict=True)
        if checkpoint.complete and problem != _OTHER_KIND
    ]
    selection = select(loadable or comparable, per_example=run.losses, rule=rule)
    reason = selection.reason
    if 0 < len(loadable) < len(comparable):
        reason += _passed_over(select(comparable, rule=rule), selection)
    tied = {id(item) for item in selection.tied}
    rows = tuple(
        Row(
            checkpoint,
            item,
            item is selection.best,
            item is selection.lowest_eval_loss,
            id(item) in tied,
            checkpoint.problem or problem,
        )
        for checkpoint, item, problem in zip(run.checkpoints, scores, problems, strict=True)
    )
    average = tuple(item.metrics.step for item in mean_of_three(loadable))
    return Ranking(run, rows, selection, reason, average)


_OTHER_KIND = "scored by another formula or with other weights"


def _scores(run: ForeignRun, weights: Weights | None) -> tuple[list[Score], list[str]]:
    """Each checkpoint's score, and why it can't be compared with the newest; empty where it can."""
    stored = [item.stored for item in run.checkpoints if item.stored is not None]
    if not stored or weights is not None:
        scores = [score(item.metrics, weights, run.formula) for item in run.checkpoints]
        return scores, [item.reason for item in scores]
    newest = stored[-1]
    scores, problems = [], []
    for item in run.checkpoints:
        found = item.stored or _unscored(item.metrics, newest)
        scores.append(found)
        same = (found.formula, found.weights) == (newest.formula, newest.weights)
        problems.append(found.reason if same else _OTHER_KIND)
    return scores, problems


def _unscored(metrics: CheckpointMetrics, like: Score) -> Score:
    """The score of a checkpoint that has none stored: it never wins."""
    nan, reason = math.nan, "no score was stored with it"
    return Score(metrics, nan, nan, nan, nan, nan, Validity.MISSING, reason, like.formula, like.weights)


def _passed_over(of_all: Selection, chosen: Selection) -> str:
    """What would have won if it could be loaded."""
    if of_all.best is None or of_all.best is chosen.best:
        return ""
    return f" Step {of_all.best.metrics.step} would have won, but it can't be loaded."
