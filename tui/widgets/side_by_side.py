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
from tui.widgets.run_cells import Piece, fit

GAP: Final = 2
_MARGIN: Final = 2
_LABEL_LEAST: Final = 18
"""Cells that labels keep, their margin included."""
_MORE: Final = 4
"""Cells of «+12» where runs have no column."""
_NAME_LEAST: Final = 8
"""Less of a name says nothing."""
_NAME_MOST: Final = 24
"""More of a name is cut."""
_SIGNS: Final = 5
"""Cells of `■=07 ` before a name."""


def head_width(jobs: Sequence[Job]) -> int:
    """Cells of the widest head."""
    return _SIGNS + max((min(_NAME_MOST, cell_len(clean(job.name))) for job in jobs), default=0)


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


@dataclass(frozen=True, slots=True)
class Sizes:
    """How many cells a run's column must, should and may have."""

    least: int
    wanted: int
    most: int


def grid(width: int, runs: int, label: int, sizes: Sizes) -> Grid:
    """Share a width out: labels give way to useful columns, runs without room are counted.

    Args:
        width: Cells in all.
        runs: How many runs want a column.
        label: Cells that the longest label takes.
        sizes: How wide a run's column must, should and may be.
    """
    spare = width - runs * (GAP + sizes.wanted)
    left = min(_MARGIN + label, spare if spare >= _LABEL_LEAST else max(width // 4, _LABEL_LEAST))
    room = max(0, width - left)
    shown = max(1, min(runs, room // (GAP + sizes.least)))
    if shown < runs:
        room -= _MORE
        shown = max(1, room // (GAP + sizes.least))
    return Grid(left, max(1, min(sizes.most, room // shown - GAP)), shown, runs - shown)


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
