"""How a run's checkpoints stand among each other, by the scorer and by nothing else.

The scorer is loaded when there is something to choose from: the app starts without it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from engine.records import Checkpoint
from engine.store.examples import Losses

if TYPE_CHECKING:
    from scorer import Score, Selection


def best_of(checkpoints: Sequence[Checkpoint]) -> Checkpoint | None:
    """The checkpoint that the score prefers of those that are there; None when none has numbers to go by."""
    if not checkpoints:
        return None
    best = selection_of(checkpoints).best
    return next((item for item in checkpoints if best is not None and item.score is best), None)


def selection_of(checkpoints: Sequence[Checkpoint], losses: Losses | None = None) -> Selection:
    """What the scorer chooses, and why: among the checkpoints that are there, else among all.

    Args:
        checkpoints: The checkpoints.
        losses: Of single eval examples, by step; with them, ties are told by pairs.
    """
    from scorer import select

    there = [item for item in checkpoints if item.path is not None]
    return select(comparable(there or checkpoints), per_example=losses)


def with_standing(checkpoints: Sequence[Checkpoint], losses: Losses | None = None) -> list[Checkpoint]:
    """The checkpoints, each told whether it is the best, has the lowest eval loss, or ties with the best."""
    if not checkpoints:
        return []
    from scorer import select

    selection, lowest = selection_of(checkpoints, losses), select(comparable(checkpoints)).lowest_eval_loss
    return [
        replace(
            item,
            is_best=item.score is not None and item.score is selection.best,
            is_lowest_eval_loss=item.score is not None and item.score is lowest,
            tied=any(item.score is score for score in selection.tied),
        )
        for item in checkpoints
    ]


def comparable(checkpoints: Sequence[Checkpoint]) -> list[Score]:
    """The scores that can be compared with each other.

    Scores of another formula or other weights than the newest one (a job whose weights were changed
    before a resume) are left out.
    """
    scores = [item.score for item in checkpoints if item.score is not None]
    if not scores:
        return []
    kind = (scores[-1].formula, scores[-1].weights)
    return [score for score in scores if (score.formula, score.weights) == kind]
