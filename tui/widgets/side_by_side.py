"""Runs as columns: how wide labels and cells are, and the heads that name the runs. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from rich.cells import cell_len
from textual.content import Content

from engine.records import Job
from tui.themes import run_style
from tui.widgets.clean import clean
from tui.widgets.run_columns import Piece, fit

GAP: Final = 2
_MARGIN: Final = 2
_LABEL_LEAST: Final = 18
"""Cells that labels keep, their margin included."""
_MORE: Final = 4
"""Cells of «+12» where runs have no column."""
_NAME_LEAST: Final = 8
"""Less of a name says nothing."""


@dataclass(frozen=True, slots=True)
class Grid:
    """The columns that fit into some width.

    Args:
        label: Cells of the labels on the left, their margin included.
        cell: Cells of a run's column, without the gap before it.
        shown: How many runs have a column.
        hidden: How many have none, for want of room.
    """

    label: int
    cell: int
    shown: int
    hidden: int = 0


def grid(width: int, runs: int, label: int, least: int, most: int) -> Grid:
    """Share a width out: labels give way to wide columns, but never below a readable rest.

    Args:
        width: Cells in all.
        runs: How many runs want a column.
        label: Cells that the longest label takes.
        least: Cells that a run's column must have.
        most: Cells that it has use for.
    """
    rest = width - runs * (GAP + most)
    left = min(_MARGIN + label, rest if rest >= _LABEL_LEAST else max(width // 3, _LABEL_LEAST))
    room = max(0, width - left)
    shown = max(1, min(runs, room // (GAP + least)))
    if shown < runs:
        room -= _MORE
        shown = max(1, room // (GAP + least))
    return Grid(left, max(1, min(most, room // shown - GAP)), shown, runs - shown)


def label_cell(text: str, plan: Grid, style: str = "$foreground") -> Piece:
    """A label with its margin."""
    return " " * _MARGIN + fit(clean(text), plan.label - _MARGIN), style


def heads(jobs: Sequence[Job], reference: str, plan: Grid) -> Content:
    """The line that names the runs, each in its colour; the reference is marked with =."""
    parts: list[Piece] = [(" " * plan.label, "")]
    for job in jobs[: plan.shown]:
        number = f"■{'=' if job.id == reference else ' '}{job.number:02}"
        room = plan.cell - cell_len(number) - 1
        name = clean(job.name) if room >= _NAME_LEAST else ""
        name = fit(name, min(room, cell_len(name)))
        before = plan.cell - cell_len(number) - (1 + cell_len(name) if name else 0)
        parts += [(" " * (GAP + max(0, before)), ""), (number, f"bold {run_style(job.number)}")]
        if name:
            parts.append((f" {name}", "$text-muted"))
    if plan.hidden:
        parts.append((f" +{plan.hidden}", "$text-muted"))
    return Content.assemble(*parts)
