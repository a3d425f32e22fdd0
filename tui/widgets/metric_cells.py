"""One metric of all compared runs as a line: values, the best, deltas against the reference. Pure."""

from __future__ import annotations

from typing import Final

from textual.content import Content

from engine.analysis import format as words
from engine.analysis.comparison import Cell, Row, Unit
from engine.analysis.export import written
from tui.widgets.run_cells import Piece, fit
from tui.widgets.side_by_side import GAP, Grid, label_cell

VALUE: Final = 10
"""Cells of the longest usual value, `2 h 18 min`."""

DELTA: Final = 7
"""Cells of a delta with its gap, ` +35 %`."""

_COSTS: Final = frozenset({"loss", "dollars", "number"})
"""The units whose deltas may be red: quality (losses, scores, perplexity) and money."""

_WARN, _ALARM = 0.25, 0.5


def value_of(value: float | None, unit: Unit, of: float | None, room: int) -> str:
    """A value in its unit, with the total that it is shown against, in so many cells where it can be."""
    text = written(value, unit)
    if of is None or value is None:
        return text
    whole = f"{text} / {written(of, unit)}"
    return whole if len(whole) <= room else whole.replace(" / ", "/")


def metric_line(row: Row, order: tuple[int, ...], plan: Grid) -> Content:
    """The line of a metric.

    Args:
        row: The metric, its cells in the order of the comparison.
        order: Which cell each column shows.
        plan: The columns; with room for deltas they get one.
    """
    parts: list[Piece] = [label_cell(row.label, plan)]
    for index in order[: plan.shown]:
        cell = row.cells[index]
        deltas = plan.cell >= VALUE + DELTA
        room = plan.cell - (DELTA if deltas else 0)
        text = fit(value_of(cell.value, row.unit, cell.of, room), room, right=True)
        parts += [(" " * GAP, ""), (text, _value_style(cell, row))]
        if deltas:
            parts.append(delta(row, cell))
    return Content.assemble(*parts)


def _value_style(cell: Cell, row: Row) -> str:
    """The best stands out, unless nobody is worse."""
    if cell.value is None:
        return "$text-muted"
    return "bold $accent" if cell.best and row.differs else "$foreground"


def delta(row: Row, cell: Cell) -> Piece:
    """How far a value is from the reference's; only quality and money get a colour."""
    if not cell.delta or cell.value is None:
        return " " * DELTA, ""
    text = words.change(cell.delta) if abs(cell.delta) >= 0.01 else f"{cell.delta * 100:+.1f} %"
    if len(text) > DELTA - 1:
        text = f"×{cell.delta + 1:.0f}" if cell.delta > 0 else "<-99 %"
    worse = cell.delta if row.direction == "low" else -cell.delta if row.direction == "high" else 0.0
    style = "$text-muted"
    if row.unit in _COSTS and worse > _WARN:
        style = "$error" if worse > _ALARM else "$warning"
    return " " + fit(text, DELTA - 1), style
