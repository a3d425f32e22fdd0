"""`podium score`: which checkpoint of a run to keep, whichever tool trained it."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from engine.errors import BadInput
from scorer import DEFAULT_RULE, RULES, Score, Weights
from tui.cli.options import json_option
from tui.cli.output import emit, line, one_line, table

if TYPE_CHECKING:
    from engine.foreign import Ranking, Row

_NUMBERS = ("step", "epoch", "train", "eval", "score", "loss part", "gap", "perplexity", "bonus", "size")


@click.command()
@click.argument("path", type=click.Path(path_type=Path))
@json_option
@click.option(
    "--rule",
    type=click.Choice(sorted(RULES)),
    default=DEFAULT_RULE,
    show_default=True,
    help="The rule that chooses.",
)
@click.option(
    "--weights",
    metavar="LOSS,GAP,PERPLEXITY,BONUS",
    help="The weights of the four parts; by default those of the stored scores, or 0.5,0.3,0.1,0.1.",
)
def score(path: Path, as_json: bool, rule: str, weights: str | None) -> None:
    """Say which checkpoint to keep.

    PATH is an output folder of transformers, TRL, Axolotl or LLaMA-Factory with its checkpoint-*, one
    trainer_state.json, a Podium job's folder, or a CSV or JSONL file with step, loss and eval_loss.
    """
    from engine.foreign import rank, read_run

    try:
        ranking = rank(read_run(path), rule, _weights(weights))
    except ValueError as error:
        raise BadInput(f"{path}: {error}") from None
    if as_json:
        _print_json(ranking)
    else:
        _print_table(ranking)


def _weights(text: str | None) -> Weights | None:
    """The weights that the user wrote."""
    if text is None:
        return None
    try:
        given = [float(item) for item in text.split(",")]
        if len(given) != 4:
            raise ValueError(f"there are {len(given)}")
        return Weights(*given)
    except ValueError as error:
        raise BadInput(f"--weights takes four numbers such as 0.5,0.3,0.1,0.1 ({error})") from None


def _print_json(ranking: Ranking) -> None:
    best, lowest = ranking.selection.best, ranking.selection.lowest_eval_loss
    emit(
        "checkpoints",
        [_record(row) for row in ranking.rows],
        name=ranking.run.name,
        path=str(ranking.run.path),
        source=ranking.run.source,
        rule=ranking.selection.rule,
        best_step=best.metrics.step if best else None,
        lowest_eval_loss_step=lowest.metrics.step if lowest else None,
        reason=ranking.reason,
        average_steps=ranking.average,
    )


def _record(row: Row) -> dict[str, Any]:
    """A checkpoint as the design's section 8 has it."""
    checkpoint, stored = row.checkpoint, row.score.to_json()
    metrics = stored.pop("metrics")
    return {
        "step": checkpoint.step,
        "epoch": checkpoint.epoch,
        "eval_loss": metrics["eval_loss"],
        "train_loss": metrics["train_loss"],
        "score": stored,
        "is_best": row.is_best,
        "is_lowest_eval_loss": row.is_lowest_eval_loss,
        "tied": row.tied,
        "path": str(checkpoint.path) if checkpoint.path else None,
        "size_bytes": checkpoint.size_bytes,
        "verified": checkpoint.verified,
        "complete": checkpoint.complete,
        "problem": row.problem,
    }


def _print_table(ranking: Ranking) -> None:
    names = ["", *_NUMBERS, "note"]
    sized = any(row.checkpoint.size_bytes is not None for row in ranking.rows)
    dropped = set() if sized else {"size"}
    if all(row.checkpoint.epoch is None for row in ranking.rows):
        dropped.add("epoch")
    keep = [at for at, name in enumerate(names) if name not in dropped]
    rows = [[cells[at] for at in keep] for cells in map(_cells, ranking.rows)]
    table([names[at] for at in keep], rows, right=_NUMBERS)
    line()
    line(one_line(ranking.reason))
    if ranking.average:
        steps = ", ".join(map(str, sorted(ranking.average)))
        line(f"The mean of the weights of steps {steps} may well beat any one of them.", dim=True)


def _cells(row: Row) -> list[str]:
    """One line of the table."""
    checkpoint, scored = row.checkpoint, row.score
    metrics = scored.metrics
    size = checkpoint.size_bytes
    return [
        "★" if row.is_best else "≈" if row.tied else "",
        str(checkpoint.step),
        _figure(checkpoint.epoch, 2),
        _figure(metrics.train_loss),
        _figure(metrics.eval_loss),
        *(_figure(part) for part in _parts(scored)),
        "—" if size is None else _size(size),
        "; ".join(filter(None, [_standing(row), row.problem])),
    ]


def _parts(scored: Score) -> tuple[float | None, ...]:
    """The total and its parts; unknown where the score is not valid."""
    parts = (scored.total, scored.eval_loss, scored.gap, scored.perplexity, scored.bonus)
    return tuple(None if math.isnan(part) else part for part in parts)


def _figure(value: float | None, places: int = 4) -> str:
    return "—" if value is None else f"{value:.{places}f}"


def _size(count: int) -> str:
    """Bytes as people read them: kB below a million."""
    return f"{count / 1e6:,.1f} MB" if count >= 1e6 else f"{count / 1e3:.1f} kB"


def _standing(row: Row) -> str:
    """What the marks stand for."""
    standing = "best" if row.is_best else "tied with the best" if row.tied else ""
    return ", ".join(filter(None, [standing, "lowest eval loss" if row.is_lowest_eval_loss else ""]))
