"""The columns of the run list: what each shows, how wide it is, and which give way first."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from operator import is_
from typing import Final

from rich.cells import cell_len, set_cell_size
from textual.content import Content

from engine.analysis.configuration import setting
from engine.analysis.history import ModelRuns, by_model, model_of
from engine.job.events import Status
from engine.records import Job
from tui import words
from tui.themes import run_style
from tui.widgets.clean import clean

Piece = tuple[str, str]
"""A text and its style."""

STATUS: Final[Mapping[Status, Piece]] = {
    Status.QUEUED: ("◌", "$text-muted"),
    Status.PENDING: ("◌", "$accent"),
    Status.RUNNING: ("●", "$accent"),
    Status.PAUSED: ("‖", "$warning"),
    Status.COMPLETED: ("✓", "$text-muted"),
    Status.FAILED: ("✗", "$warning"),
    Status.CANCELLED: ("–", "$text-muted"),
}
"""The icon of each status. Red is kept for what costs money or quality."""

_OUT_OF_MEMORY: Final = ("out of memory", "outofmemory", "oom")


@dataclass(frozen=True, slots=True)
class Scene:
    """What a row is drawn against.

    Args:
        now: Dates are shown against it.
        models: All runs of each model, by its name.
        digits: How wide run numbers are.
        warn_above: A run worse than the best by more than this fraction is warned of.
        archive_above: One that is worse by more than this is offered for archiving.
    """

    now: datetime
    models: Mapping[str, ModelRuns]
    digits: int = 2
    warn_above: float = 0.25
    archive_above: float = 0.5

    @classmethod
    def of(cls, jobs: Iterable[Job], now: datetime, before: Scene | None = None) -> Scene:
        """The scene that some runs make; models whose runs are those of before are not judged anew."""
        members: dict[str, list[Job]] = {}
        for job in jobs:
            members.setdefault(model_of(job), []).append(job)
        known = before.models if before else {}
        models = {
            model: known[model] if model in known and same(known[model].jobs, runs) else by_model(runs)[0]
            for model, runs in members.items()
        }
        greatest = max((job.number for runs in models.values() for job in runs.jobs), default=0)
        return cls(now, models, max(2, len(str(greatest))))

    def is_best(self, job: Job) -> bool:
        """Has it the lowest eval loss of its model's runs?"""
        runs = self.models.get(model_of(job))
        return runs is not None and runs.best is not None and runs.best.id == job.id

    def worse(self, job: Job) -> float | None:
        """How much higher its best eval loss is than its model's best, as a fraction; None when unknown."""
        runs = self.models.get(model_of(job))
        return runs.worse.get(job.id) if runs else None


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


def same(one: Sequence[Job], other: Sequence[Job]) -> bool:
    """Are these the very same objects? The store hands out the same ones until they change."""
    return len(one) == len(other) and all(map(is_, one, other))


def finite(value: float | None) -> bool:
    """Is it a number that can be compared?"""
    return value is not None and math.isfinite(value)


def failed_of(job: Job) -> str:
    """What a failed run failed of, in a few words."""
    said = clean((job.error_message or "").strip().partition("\n")[0])
    folded = said.casefold()
    reason = "OOM" if any(sign in folded.replace(" ", " ") for sign in _OUT_OF_MEMORY) else said
    where = f" at step {words.count(job.current_step)}" if job.current_step and len(reason) < 40 else ""
    return f"{reason or 'no reason known'}{where}"


def status(job: Job) -> Piece:
    """The status in words, with its icon: how far a live run is, what a failed one failed of."""
    icon, style = STATUS[job.status]
    if job.archived or job.deleted:
        return f"{icon} {'in trash' if job.deleted else 'archived'}", "$text-muted"
    if job.status is Status.RUNNING and job.progress is not None:
        return f"{icon} running {words.percent(job.progress)}", style
    if job.status is Status.FAILED:
        return f"{icon} {failed_of(job)}", style
    return f"{icon} {'replay' if job.replay and job.status is Status.COMPLETED else job.status.value}", style


def standing(job: Job, scene: Scene) -> Piece:
    """★ for the best of its model, else how much worse it is; red from where it is not worth keeping."""
    worse = scene.worse(job)
    if worse is None:
        return "", "$text-muted"
    if scene.is_best(job):
        return "★ best", "bold $accent"
    return words.change(worse) if worse >= 0.01 else f"{worse * 100:+.1f} %", alarm(worse, scene)


def alarm(worse: float, scene: Scene) -> str:
    """The style of a run that is so much worse than the best."""
    return (
        "$error" if worse > scene.archive_above else "$warning" if worse > scene.warn_above else "$text-muted"
    )


def when(moment: datetime | None, now: datetime) -> str:
    """A date in at most seven cells: `14:05`, `Dec 2`, `2025-12`."""
    text = words.day(moment, now)
    return text if len(text) <= 6 or moment is None else f"{moment.astimezone():%Y-%m}"


def _plain(value: str, style: str = "$foreground") -> Piece:
    return value, "$text-muted" if value == words.UNKNOWN else style


def _loss(job: Job, scene: Scene) -> Piece:
    return _plain(words.loss(job.best_eval_loss), "bold" if scene.is_best(job) else "$foreground")


def _gpu(job: Job, _: Scene) -> Piece:
    return _plain(clean(job.gpu_type) or words.UNKNOWN)


def _cost(job: Job, _: Scene) -> Piece:
    return _plain(words.dollars(job.cost_total))


def learning_rate(job: Job) -> float | None:
    """The one that was set; else the newest that was logged."""
    rate = setting(job, "training", "learning_rate")
    return float(rate) if isinstance(rate, (int, float)) else job.learning_rate


def _best_epoch(job: Job, _: Scene) -> Piece:
    if job.best_epoch is None:
        return words.UNKNOWN, "$text-muted"
    return f"{job.best_epoch:.3g}" + (f" / {job.total_epochs:.3g}" if job.total_epochs else ""), "$foreground"


COLUMNS: Final = (
    Column("status", "status", 14, lambda job, _: status(job), right=False),
    Column("eval", "eval loss", 9, _loss),
    Column("standing", "vs best", 7, standing, rank=1),
    Column("score", "score", 7, lambda job, _: _plain(words.loss(job.best_checkpoint_score)), rank=5),
    Column("epoch", "best epoch", 10, _best_epoch, rank=7),
    Column("lr", "lr", 7, lambda job, _: _plain(words.short(learning_rate(job))), rank=6),
    Column("gpu", "gpu", 14, _gpu, right=False, rank=8),
    Column("time", "time", 10, lambda job, _: _plain(words.duration(job.elapsed_seconds)), rank=3),
    Column("cost", "cost", 7, _cost, rank=2),
    Column("size", "size", 8, lambda job, _: _plain(words.size(job.size_bytes)), rank=4),
    Column("newest", "date", 7, lambda job, scene: (when(job.created_at, scene.now), "$text-muted"), rank=2),
)
"""What follows mark, number and name."""

INDENT: Final = 4
"""Where the number begins: after the margin and the mark."""

GAP: Final = 2
"""Cells between columns."""

_NAME_LEAST: Final = 16
_NAME_MOST: Final = 44
_LUXURY: Final = 6
"""Columns of this rank or more are shown only where no name must be cut for them."""
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


def plan(width: int, digits: int, longest: int) -> Plan:
    """Choose the columns for a width: the least important give way, the name gets what is left.

    Args:
        width: Cells of the list.
        digits: Cells of the greatest run number.
        longest: Cells of the longest name with its tags.
    """
    columns = list(COLUMNS)
    wanted = max(4, min(longest, _NAME_MOST))

    def left() -> int:
        return width - INDENT - digits - 1 - sum(GAP + column.width for column in columns)

    while (least := max(columns, key=lambda column: column.rank)).rank:
        if left() >= (wanted if least.rank >= _LUXURY else min(wanted, _NAME_LEAST)):
            break
        columns.remove(least)
    return Plan(tuple(columns), digits, max(0, min(left(), wanted)))


def fit(text: str, width: int, right: bool = False) -> str:
    """A text of exactly `width` cells, cut with an ellipsis or filled up with spaces."""
    if width <= 0:
        return ""
    if (length := cell_len(text)) > width:
        return set_cell_size(text, width - 1) + "…"
    return " " * (width - length) + text if right else text + " " * (width - length)


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
    if finite(job.best_eval_loss) or job.best_checkpoint_score is not None:
        return 0
    count = 0
    for column in columns:
        if column.name not in _SPANS:
            break
        count += 1
    return count
