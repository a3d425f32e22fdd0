"""The order of the run list: live runs on top, then newest first, or by a column; by model or flat. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any, Final

from engine.analysis.history import by_model, model_of
from engine.records import Job
from tui.widgets.run_cells import learning_rate


@dataclass(frozen=True, slots=True)
class Group:
    """The header of a model's runs.

    Args:
        model: The model's name.
        shown: How many of its runs pass the filter.
        folded: Are they hidden under the header?
    """

    model: str
    shown: int
    folded: bool = False

    @property
    def key(self) -> str:
        """What the cursor remembers; no job id begins with a NUL."""
        return f"\0{self.model}"


Line = Group | Job

_CREATED: Final = attrgetter("created_at")

NEWEST: Final = "newest"
"""The order that the list begins with: live runs on top, then newest first."""


@dataclass(frozen=True, slots=True)
class Sort:
    """What runs are sorted by.

    Args:
        words: What the title line says.
        value: A run's place; None is unknown and comes last in either direction.
        falling: Do great values come first?
        relative: Is its place told by the other runs of its model? `value` is then not asked.
    """

    words: str
    value: Callable[[Job], Any]
    falling: bool = False
    relative: bool = False


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _folded(text: str | None) -> str | None:
    return text.casefold() if text else None


def _note(job: Job) -> str | None:
    held = job.metadata.get("note")
    return held if isinstance(held, str) else None


SORTS: Final[Mapping[str, Sort]] = {
    NEWEST: Sort("newest first", lambda job: (not job.status.live, -job.created_at.timestamp())),
    "eval": Sort("lowest eval loss first", lambda job: _finite(job.rank_value)),
    "score": Sort("best score first", lambda job: _finite(job.best_checkpoint_score)),
    "time": Sort("longest first", lambda job: _finite(job.elapsed_seconds), falling=True),
    "cost": Sort("dearest first", lambda job: _finite(job.cost_total), falling=True),
    "size": Sort("largest first", lambda job: _finite(job.size_bytes), falling=True),
    "name": Sort("by name", lambda job: job.name.casefold()),
    "status": Sort("by status", lambda job: job.status.value),
    "standing": Sort("nearest to its model's best first", lambda job: None, relative=True),
    "epoch": Sort("earliest best epoch first", lambda job: _finite(job.best_epoch)),
    "lr": Sort("highest learning rate first", lambda job: _finite(learning_rate(job)), falling=True),
    "gpu": Sort("by GPU", lambda job: _folded(job.gpu_type)),
    "method": Sort("by method", lambda job: _folded(job.method)),
    "train": Sort("lowest train loss first", lambda job: _finite(job.loss)),
    "perplexity": Sort("lowest perplexity first", lambda job: _finite(job.perplexity)),
    "speed": Sort("fastest first", lambda job: _finite(job.tokens_per_second), falling=True),
    "checkpoints": Sort("most checkpoints first", lambda job: job.checkpoint_count, falling=True),
    "provider": Sort("by provider", lambda job: _folded(job.provider)),
    "data": Sort("by data", lambda job: _folded(job.dataset_path)),
    "note": Sort("by note", lambda job: _folded(_note(job))),
}
"""In the order that the sort key goes through them, as far as their columns are chosen.

Runs that are equal in it stand newest first.
"""


@dataclass(frozen=True, slots=True)
class Order:
    """How the list is arranged.

    Args:
        sort: A key of `SORTS`.
        backwards: The other way round; unknown values stay last.
        grouped: Under a header for each model?
        folded: The models whose runs are hidden under their headers.
    """

    sort: str = NEWEST
    backwards: bool = False
    grouped: bool = True
    folded: Collection[str] = field(default=frozenset())


def arrange(jobs: Iterable[Job], order: Order) -> list[Line]:
    """The lines of the list, from top to bottom."""
    return under_models(sorted_runs(jobs, order), order)


def sorted_runs(jobs: Iterable[Job], order: Order) -> list[Job]:
    """The runs in their order, whatever their groups."""
    sort = SORTS[order.sort]
    runs = sorted(jobs, key=_CREATED, reverse=True)
    if order.sort == NEWEST and not order.backwards:
        # The order of the list while nobody sorts; each arrival needs it.
        live = [job for job in runs if job.status.live]
        return live + [job for job in runs if not job.status.live] if live else runs
    if sort.relative:
        worse = {job_id: share for each in by_model(runs) for job_id, share in each.worse.items()}
        keyed: list[tuple[Any, Job]] = [(worse.get(job.id), job) for job in runs]
    else:
        keyed = [(sort.value(job), job) for job in runs]
    known = [pair for pair in keyed if pair[0] is not None]
    known.sort(key=lambda pair: pair[0], reverse=sort.falling != order.backwards)
    return [job for _, job in known] + [job for value, job in keyed if value is None]


def under_models(runs: Iterable[Job], order: Order) -> list[Line]:
    """Sorted runs under the headers of their models, if the order says so."""
    if not order.grouped:
        return list(runs)
    groups: dict[str, list[Job]] = {}
    for job in runs:
        groups.setdefault(model_of(job), []).append(job)
    lines: list[Line] = []
    for model, members in groups.items():
        folded = model in order.folded
        lines.append(Group(model, len(members), folded))
        if not folded:
            lines.extend(members)
    return lines


def key_of(line: Line) -> str:
    """What tells a line from the others, whatever its place."""
    return line.key if isinstance(line, Group) else line.id
