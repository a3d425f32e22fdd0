"""`podium metrics` and `podium checkpoints`: the numbers of a run."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import click

from engine.analysis import format as words
from engine.records import Checkpoint
from scorer import Score
from tui.cli.options import job_argument, json_option
from tui.cli.output import emit, line, table
from tui.cli.workplace import up_to_date


@click.command()
@job_argument
@click.option("--last", type=click.IntRange(min=1), metavar="N", help="Show the last N rows alone.")
@json_option
def metrics(job: str, last: int | None, as_json: bool) -> None:
    """Show what a run has logged, step by step."""
    with up_to_date() as store:
        rows = store.metric_rows(store.find(job).id, limit=last)
    if as_json:
        emit("metrics", rows)
    elif rows:
        head = ("STEP", "EPOCH", "TRAIN LOSS", "EVAL LOSS", "LEARNING RATE", "GRAD NORM", "TOKENS/S")
        table(head, map(_metric_row, _by_step(rows)), right=head)
    else:
        line("Nothing was logged yet.")


def _by_step(rows: Iterable[dict[str, Any]]) -> Iterable[dict[str, Any]]:
    """One row a step: what training and the eval of a step logged, together."""
    steps: dict[Any, dict[str, Any]] = {}
    for row in rows:
        known = {name: value for name, value in row.items() if value is not None}
        steps.setdefault(row.get("step"), {}).update(known)
    return steps.values()


def _metric_row(row: dict[str, Any]) -> tuple[str, ...]:
    return (
        words.count(row.get("step")),
        words.short(row.get("epoch")),
        words.loss(row.get("train_loss")),
        words.loss(row.get("eval_loss")),
        words.short(row.get("learning_rate")),
        words.short(row.get("grad_norm")),
        words.short(row.get("tokens_per_second")),
    )


@click.command()
@job_argument
@json_option
def checkpoints(job: str, as_json: bool) -> None:
    """Show a run's checkpoints and what their scores are made of."""
    with up_to_date() as store:
        found = store.checkpoints(store.find(job).id)
    if as_json:
        emit("checkpoints", [checkpoint_json(checkpoint) for checkpoint in found])
    elif found:
        head = ("STEP", "EPOCH", "EVAL", "TRAIN", "SCORE", "=EVAL", "+GAP", "+PPL", "+BONUS", "SIZE", "")
        table(head, map(_checkpoint_row, found), right=head[:-1])
    else:
        line("No checkpoint yet.")


def checkpoint_json(checkpoint: Checkpoint) -> dict[str, Any]:
    """A checkpoint as every command prints it."""
    return {
        "step": checkpoint.step,
        "epoch": checkpoint.epoch,
        "eval_loss": checkpoint.eval_loss,
        "train_loss": checkpoint.train_loss,
        "score": score_json(checkpoint.score),
        "is_best": checkpoint.is_best,
        "is_lowest_eval_loss": checkpoint.is_lowest_eval_loss,
        "tied": checkpoint.tied,
        "path": checkpoint.path,
        "size_bytes": checkpoint.size_bytes,
        "verified": checkpoint.verified,
    }


def score_json(score: Score | None) -> dict[str, Any] | None:
    """A score and its parts as every command prints them; lower is better."""
    if score is None:
        return None
    return {
        name: getattr(score, name) for name in ("total", "eval_loss", "gap", "perplexity", "bonus", "formula")
    }


def _checkpoint_row(checkpoint: Checkpoint) -> tuple[str, ...]:
    score = checkpoint.score
    parts = (score.total, score.eval_loss, score.gap, score.perplexity, score.bonus) if score else (None,) * 5
    return (
        words.count(checkpoint.step),
        words.short(checkpoint.epoch),
        words.loss(checkpoint.eval_loss),
        words.loss(checkpoint.train_loss),
        *(words.loss(part) for part in parts),
        words.size(checkpoint.size_bytes) if checkpoint.path else "removed",
        standing(checkpoint),
    )


def standing(checkpoint: Checkpoint) -> str:
    """Where it stands among the others of its run, in words."""
    if checkpoint.is_best:
        return "★ best, lowest eval" if checkpoint.is_lowest_eval_loss else "★ best"
    if checkpoint.is_lowest_eval_loss:
        return "lowest eval"
    return "tied with the best" if checkpoint.tied else ""
