"""What differs between the configurations of the compared runs: a line a key, a column a run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from textual.content import Content
from textual.reactive import reactive

from engine.analysis import format as words
from engine.analysis.comparison import Comparison, Correlation, Difference
from tui.commands import Commanding
from tui.widgets.clean import clean
from tui.widgets.line_list import LineList
from tui.widgets.run_cells import Piece, fit
from tui.widgets.side_by_side import GAP, Grid, Sizes, grid, label_cell

_SIZES: Final = Sizes(least=7, wanted=10, most=24)
_LABEL: Final = 22
"""More of a key is cut."""


def written(value: Any) -> str:
    """A configuration's value in few characters."""
    if value is None:
        return words.UNKNOWN
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (int, float)):
        return f"{value:g}" if isinstance(value, float) else str(value)
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{clean(str(key))}: {written(item)}" for key, item in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return ", ".join(written(item) for item in value)
    return clean(str(value))


class DifferenceTable(Commanding, LineList):
    """Only the settings that are not the same in all runs, data and code among them; below, after ρ, those
    that went up and down with the eval loss over all runs of the model."""

    TITLE_IN_HELP = "What differs"

    comparison: reactive[Comparison | None] = reactive(None)
    columns: reactive[tuple[int, ...]] = reactive(())
    """Which run of the comparison each column shows."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._differences: tuple[Difference, ...] = ()
        self._together: tuple[Correlation, ...] = ()

    def grid(self) -> Grid:
        """The columns that fit."""
        label = max((len(difference.key) for difference in self._differences), default=8)
        runs = max(1, len(self.columns))
        return grid(self.scrollable_content_region.width, runs, min(label, _LABEL), _SIZES)

    def wanted_width(self) -> int:
        """Cells that it has good use for."""
        return _LABEL + len(self.columns) * (GAP + _SIZES.wanted) + 3

    def watch_comparison(self, comparison: Comparison | None) -> None:
        """Show other differences."""
        self._differences = comparison.differences if comparison else ()
        self._together = comparison.correlations if comparison else ()
        keys: list[tuple[str, int]] = [("differs", at) for at in range(len(self._differences))]
        self.show([*keys, *(("together", at) for at in range(len(self._together)))])

    def watch_columns(self) -> None:
        """Show the runs in another order."""
        self.redraw()

    def draw(self, row: int, width: int) -> Content:
        """One setting; values unlike the reference's stand out. Below them, what went with the result."""
        if row >= len(self._differences):
            return together(self._together[row - len(self._differences)], width)
        difference, plan = self._differences[row], self.grid()
        assert self.comparison is not None
        ids = [job.id for job in self.comparison.jobs]
        reference = difference.values[ids.index(self.comparison.reference)]
        parts: list[Piece] = [label_cell(difference.key, plan)]
        texts = apart([written(value) for value in difference.values], plan.cell)
        for index in self.columns[: plan.shown]:
            style = "$text-muted" if difference.values[index] == reference else "bold"
            parts += [(" " * GAP, ""), (fit(texts[index], plan.cell, right=True), style)]
        return Content.assemble(*parts)


def together(item: Correlation, width: int) -> Content:
    """A setting that went with the result: rank correlation, its n, a warning where that is small."""
    few = (" few", "$warning") if item.few else ""
    line = Content.assemble(
        ("  ρ ", "$accent"), f"{item.rho:+.2f} ", clean(item.key), (f"  {item.runs} runs", "$text-muted"), few
    )
    return line.truncate(width, ellipsis=True)


def apart(texts: list[str], width: int) -> list[str]:
    """Texts that are too long for a column, without what they have in common: that is not what differs."""
    if max(map(len, texts)) <= width:
        return texts
    known = [text for text in texts if text != words.UNKNOWN]
    head = _shared(known)
    tail = _shared([text[:head:-1] for text in known])
    return [text if text == words.UNKNOWN else _middle(text, head, tail) for text in texts]


def _shared(texts: list[str]) -> int:
    """How many characters all of them begin with."""
    shortest = min(map(len, texts), default=0)
    return next((at for at in range(shortest) if len({text[at] for text in texts}) > 1), shortest)


def _middle(text: str, head: int, tail: int) -> str:
    """A text without its first and last characters but for one, which tells where it belongs."""
    start, end = max(0, head - 1), len(text) - max(0, tail - 1)
    return ("…" if start else "") + text[start:end] + ("…" if end < len(text) else "")
