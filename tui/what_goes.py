"""What runs hold, and what a deletion takes away: run by run, in words, sizes and dollars. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from rich.cells import cell_len, set_cell_size

from engine.analysis import format as words
from engine.analysis.history import best_of, model_of
from engine.analysis.holding import Holding, size_of
from engine.records import Job
from tui.widgets.clean import clean

_MOST: Final = 6
"""How many runs are listed one by one."""
_CHECKPOINTS: Final = 6
"""How many checkpoints of a single run are listed."""
_NAME: Final = 20
"""Cells of a name: a line then fits the dialog."""


def what_goes(
    going: Sequence[Job], every: Iterable[Job], back: str = "z", holdings: Sequence[Holding] = ()
) -> str:
    """The question, then a line a run, then the sum and what speaks against it; empty when nothing goes.

    Args:
        going: The runs that would go.
        every: All runs, to tell whether a model loses its best one.
        back: What brings them back.
        holdings: Their checkpoints, here and elsewhere, where somebody has looked.
    """
    if not going:
        return ""
    what = _name(going[0]) if len(going) == 1 else f"these {len(going)} runs"
    lines = [f"Delete {what}?", *_table(going[:_MOST])]
    if len(going) > _MOST:
        rest = going[_MOST:]
        lines.append(f"and {len(rest)} more")
    if len(holdings) == 1:
        lines += _checkpoint_lines(holdings[0])
    lines.append("")
    if len(going) > 1 and (sum_of_all := held(going)):
        lines.append(f"In all {sum_of_all}.")
    if best := _best_among(going, every):
        verb, of = ("is", "its model") if len(best) == 1 else ("are", "their models")
        lines.append(f"{words.listed((_name(job) for job in best), 2)} {verb} the best of {of}.")
        only = [held.job for held in holdings if held.only_best and held.job in best]
        if only:
            whose = words.listed((_name(job) for job in only), 2)
            lines.append(f"Nowhere else is the best checkpoint of {whose}.")
    lines += _elsewhere(holdings)
    lines.append(f"To the trash, files and all: {back} brings them back.")
    return "\n".join(lines)


def _checkpoint_lines(held: Holding) -> list[str]:
    """The checkpoints of one run, each with its size and place."""
    lines = []
    for item in sorted((*held.here, *held.there), key=lambda item: item.step):
        place = "here" if item in held.here else held.where or "gone with its pod"
        size = words.size(item.size_bytes)
        lines.append(f"   step {words.count(item.step):>7}{size:>9}  {place}{'  ★' if item.is_best else ''}")
    best = [line for line in lines[:-_CHECKPOINTS] if line.endswith("★")]
    earlier = len(lines) - _CHECKPOINTS - len(best)
    more = [f"   and {earlier} earlier ones"] if earlier > 0 else []
    return [*best, *lines[-_CHECKPOINTS:], *more]


def _elsewhere(holdings: Sequence[Holding]) -> list[str]:
    """What is kept elsewhere and stays there."""
    places: dict[str, list[Holding]] = {}
    for held in holdings:
        if held.where:
            places.setdefault(held.where, []).append(held)
    lines = []
    for where, members in list(places.items())[:_MOST]:
        there = [item for held in members for item in held.there]
        what = f"{len(there)} checkpoints, {words.size(size_of(there))}," if there else "What is"
        lines.append(f"{what} {clean(where)} stay{'' if there else 's'} there, and may bill.")
    return lines


def _table(jobs: Sequence[Job]) -> list[str]:
    width = max(cell_len(_name(job)) for job in jobs)
    return [_line(job, width) for job in jobs]


def _line(job: Job, width: int) -> str:
    name = set_cell_size(_name(job), width)
    spent = words.dollars(job.cost_total) if job.cost_total else ""
    return f"{job.number:02} {name}  {_checkpoints(job):14}{words.size(job.size_bytes):>9}{spent:>9}"


def _name(job: Job) -> str:
    name = clean(job.name)
    return name if cell_len(name) <= _NAME else set_cell_size(name, _NAME - 1) + "…"


def _checkpoints(job: Job) -> str:
    count = job.checkpoint_count
    return "" if count is None else f"{count:3} checkpoint{'s' if count != 1 else ''}"


def held(jobs: Sequence[Job]) -> str:
    """What some runs hold: `28.4 GB here · $8.70 of training`; empty when nothing is known of it."""
    sizes = [job.size_bytes for job in jobs if job.size_bytes is not None]
    spent = sum(job.cost_total or 0 for job in jobs)
    parts = []
    if sizes:
        least = "at least " if len(sizes) < len(jobs) else ""
        parts.append(f"{least}{words.size(sum(sizes))} here")
    if spent:
        parts.append(f"{words.dollars(spent)} of training")
    return " · ".join(parts)


def _best_among(going: Sequence[Job], every: Iterable[Job]) -> list[Job]:
    """Those that are the best of their model among all that are not hidden."""
    gone = {job.id for job in going}
    models: dict[str, list[Job]] = {}
    for job in every:
        if not (job.archived or job.deleted):
            models.setdefault(model_of(job), []).append(job)
    best = [best_of(jobs) for jobs in models.values() if len(jobs) > 1]
    return [job for job in best if job is not None and job.id in gone]
