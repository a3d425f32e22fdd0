"""The columns of the run list: how wide they are, which give way first, and a run as a line."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from rich.cells import cell_len
from textual.content import Content

from engine.analysis import format as words
from engine.job.events import Status
from engine.records import Job
from tui.themes import run_style
from tui.widgets.clean import clean
from tui.widgets.run_cells import (
    Piece,
    best_epoch,
    cost,
    data,
    eval_loss,
    fit,
    gpu,
    learning_rate,
    note,
    plain,
    standing,
    status,
    when,
)
from tui.widgets.run_scene import Scene, finite


@dataclass(frozen=True, slots=True)
class Column:
    """One column.

    Args:
        name: What `run_lines.SORTS` calls it; a name that is not in there can't be sorted by.
        title: Its heading.
        width: Cells.
        cell: What it shows of a run.
        right: Is it aligned to the right?
        rank: The greater, the sooner it gives way; 0 never does.
    """

    name: str
    title: str
    width: int
    cell: Callable[[Job, Scene], Piece]
    right: bool = True
    rank: int = 0


COLUMNS: Final = (
    Column("status", "status", 14, lambda job, _: status(job), right=False),
    Column("eval", "eval loss", 9, eval_loss),
    Column("standing", "vs best", 7, standing, rank=1),
    Column("score", "score", 7, lambda job, _: plain(words.loss(job.best_checkpoint_score)), rank=5),
    Column("epoch", "best epoch", 10, lambda job, _: best_epoch(job), rank=7),
    Column("lr", "lr", 7, lambda job, _: plain(words.short(learning_rate(job))), rank=6),
    Column("gpu", "gpu", 14, lambda job, _: gpu(job), right=False, rank=8),
    Column("time", "time", 10, lambda job, _: plain(words.duration(job.elapsed_seconds)), rank=3),
    Column("cost", "cost", 7, lambda job, _: cost(job), rank=2),
    Column("size", "size", 8, lambda job, _: plain(words.size(job.size_bytes)), rank=4),
    Column("newest", "date", 7, lambda job, scene: (when(job.created_at, scene.now), "$text-muted"), rank=2),
    Column("method", "method", 8, lambda job, _: plain(clean(job.method) or words.UNKNOWN), False, 9),
    Column("train", "train loss", 10, lambda job, _: plain(words.loss(job.loss)), rank=9),
    Column("perplexity", "perplexity", 10, lambda job, _: plain(words.short(job.perplexity)), rank=9),
    Column("speed", "tokens/s", 8, lambda job, _: plain(words.short(job.tokens_per_second)), rank=9),
    Column("checkpoints", "checkpoints", 11, lambda job, _: plain(words.count(job.checkpoint_count)), rank=9),
    Column("provider", "provider", 8, lambda job, _: plain(clean(job.provider) or words.UNKNOWN), False, 9),
    Column("data", "data", 16, lambda job, _: data(job), False, 9),
    Column("note", "note", 24, lambda job, _: note(job), False, 9),
)
"""What may follow mark, number and name."""

USUAL: Final = tuple(column.name for column in COLUMNS[:11])
"""The names of those that are shown when nobody has chosen."""

INDENT: Final = 4
"""Where the number begins: after the margin and the mark."""

GAP: Final = 2
"""Cells between columns."""

_NAME_LEAST: Final = 16
_NAME_MOST: Final = 44
_LUXURY: Final = 6
"""Columns of this rank or more are shown only where no name must be cut for them."""
_CHOSEN: Final = 99
"""No column that the user asked for is one of those."""
_SPANS: Final = ("eval", "standing", "score")
"""The columns that a failed run's reason may spread over when it has nothing to show in them."""


@dataclass(frozen=True, slots=True)
class Plan:
    """The columns that fit into some width.

    Args:
        columns: From left to right.
        number: Cells of the run's number.
        name: Cells of the name with its tags.
    """

    columns: tuple[Column, ...]
    number: int
    name: int

    def starts(self) -> list[tuple[int, Column]]:
        """Where each column begins, with its gap."""
        at = INDENT + self.number + 1 + self.name
        found = []
        for column in self.columns:
            found.append((at, column))
            at += GAP + column.width
        return found


def plan(width: int, digits: int, longest: int, chosen: Sequence[str] = ()) -> Plan:
    """Choose the columns for a width: the least important give way, the name gets what is left.

    Args:
        width: Cells of the list.
        digits: Cells of the greatest run number.
        longest: Cells of the longest name with its tags.
        chosen: The names of the columns that the user wants; none for the usual ones.
    """
    columns = [column for column in COLUMNS if column.name in (chosen or USUAL)]
    luxury = _CHOSEN if chosen else _LUXURY
    wanted = max(4, min(longest, _NAME_MOST))

    def left() -> int:
        return width - INDENT - digits - 1 - sum(GAP + column.width for column in columns)

    while columns and (least := max(columns, key=lambda column: column.rank)).rank:
        if left() >= (wanted if least.rank >= luxury else min(wanted, _NAME_LEAST)):
            break
        columns.remove(least)
    return Plan(tuple(columns), digits, max(0, min(left(), wanted)))


def heading(plan: Plan, sort: str, backwards: bool) -> Content:
    """The titles of the columns; the one that the list is sorted by is marked."""
    arrow = "↑" if backwards else "↓"

    def title(text: str, name: str) -> Piece:
        return (f"{text} {arrow}", "$accent") if name == sort else (text, "$text-muted")

    text, style = title("name", "name")
    number = fit("#", plan.number, right=True)
    parts: list[Piece] = [(" " * INDENT + number + " ", "$text-muted"), (fit(text, plan.name), style)]
    for column in plan.columns:
        text, style = title(column.title, column.name)
        text = text if cell_len(text) <= column.width else column.title[: column.width - 2] + f" {arrow}"
        parts += [(" " * GAP, ""), (fit(text, column.width, column.right), style)]
    return Content.assemble(*parts)


def row(job: Job, plan: Plan, scene: Scene, marked: bool) -> Content:
    """One run as a line."""
    colour = run_style(job.number)
    quiet = job.archived or job.deleted
    parts: list[Piece] = [
        (" ■  " if marked else "    ", f"bold {colour}"),
        (fit(f"{job.number:0{min(2, plan.number)}}", plan.number, right=True), colour),
        *_name(job, plan.name, "$text-muted" if quiet else "bold" if marked else "$foreground"),
    ]
    span = 0
    for index, column in enumerate(plan.columns):
        if span:
            span -= 1
            continue
        text, style = column.cell(job, scene)
        width = column.width
        if column.name == "status" and job.status is Status.FAILED and not quiet:
            span = _free_after(job, plan.columns[index + 1 :])
            width += sum(GAP + later.width for later in plan.columns[index + 1 : index + 1 + span])
        parts += [(" " * GAP, ""), (fit(text, width, column.right), "$text-muted" if quiet else style)]
    return Content.assemble(*parts)


def _name(job: Job, width: int, style: str) -> list[Piece]:
    """The name, and behind it the tags as far as they fit."""
    name = clean(job.name)
    room = width - cell_len(name)
    tags = " ".join(f"#{clean(tag)}" for tag in job.tags)
    if not tags or room < 4:
        return [(" " + fit(name, width), style)]
    return [(f" {name} ", style), (fit(tags, room - 1), "$secondary")]


def _free_after(job: Job, columns: tuple[Column, ...]) -> int:
    """How many columns after the status have nothing to show of a failed run."""
    if finite(job.rank_value) or job.best_checkpoint_score is not None:
        return 0
    count = 0
    for column in columns:
        if column.name not in _SPANS:
            break
        count += 1
    return count
