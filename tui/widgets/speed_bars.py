"""How fast and how dear the compared runs were, as bars: a block a metric, a bar a run. Pure."""

from __future__ import annotations

import math
from typing import Final

from textual.content import Content

from engine.analysis.comparison import Comparison, Row
from engine.analysis.export import written
from tui.themes import run_style
from tui.widgets.bars import share
from tui.widgets.run_cells import Piece

METRICS: Final = (
    "tokens_per_second", "samples_per_second", "elapsed_seconds", "improvement_per_hour", "cost_total",
)  # fmt: skip
_SIGNS: Final = 8
"""Cells of a run's number with its margins."""
_VALUE: Final = 12
"""Cells of a value behind its bar."""


def speed_bars(comparison: Comparison, width: int) -> Content:
    """A block for each metric that any run has, each bar as long as its share of the longest."""
    rows = {row.name: row for row in comparison.rows}
    blocks = [_block(comparison, rows[name], width) for name in METRICS if name in rows]
    return Content("\n").join([block for block in blocks if block is not None])


def _block(comparison: Comparison, row: Row, width: int) -> Content | None:
    values = [_known(cell.value) for cell in row.cells]
    longest = max(values)
    if longest <= 0:
        return None
    lines = [Content.styled(row.label, "$text-muted")]
    room = max(4, width - _SIGNS - _VALUE)
    for job, cell, value in zip(comparison.jobs, row.cells, values, strict=True):
        style = run_style(job.number)
        pieces: list[Piece] = [
            (f"  ■ {job.number:02} ", style),
            (share(value / longest, room), style),
            (f" {written(cell.value, row.unit)}", "bold $accent" if cell.best and row.differs else ""),
        ]
        lines.append(Content.assemble(*pieces))
    return Content("\n").join(lines)


def _known(value: float | None) -> float:
    return value if value is not None and math.isfinite(value) else 0.0
