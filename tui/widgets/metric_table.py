"""The metric table of the Comparison screen: a line a metric, a column a run."""

from __future__ import annotations

import math
from dataclasses import dataclass

from textual.content import Content
from textual.message import Message
from textual.reactive import reactive

from engine.analysis.compared import STATISTICS
from engine.analysis.comparison import Comparison, Row, Statistic
from tui.commands import Command, Commanding
from tui.widgets.line_list import LineList
from tui.widgets.metric_cells import DELTA, VALUE, metric_line
from tui.widgets.metric_filter import matches
from tui.widgets.side_by_side import Grid, Sizes, grid, head_width

_LEAST = 9
"""The narrowest column: `0.6686` and what is about as long."""


class ToggleDiffering(Command):
    """Show only the metrics in which the runs differ."""

    KEYS = "o"
    LABEL = "diff only"
    FOOTER = True


class ToggleMore(Command):
    """Show every metric, or only those that matter most."""

    KEYS = "m"
    LABEL = "more metrics"
    FOOTER = True


class SortByMetric(Command):
    """Order the runs by this metric, best first; again turns the order round, once more restores it."""

    KEYS = "s"
    LABEL = "sort runs"
    FOOTER = True


class NextValue(Command):
    """Take another value of each curve: the last, the lowest, the highest, that at the best checkpoint."""

    KEYS = "t"
    LABEL = "which value"


class FilterMetrics(Command):
    """Show only the metrics whose names hold these words; ! turns a word round."""

    KEYS = "slash"
    LABEL = "filter"
    FOOTER = True


class MetricTable(Commanding, LineList):
    """Metrics of the compared runs: the best of each line stands out, deltas are against the reference."""

    TITLE_IN_HELP = "Metrics"
    COMMANDS = (ToggleDiffering, ToggleMore, SortByMetric, FilterMetrics, NextValue)

    comparison: reactive[Comparison | None] = reactive(None)
    only_differing: reactive[bool] = reactive(False)
    more: reactive[bool] = reactive(False)
    filter: reactive[str] = reactive("")
    """Words that a metric must hold; while there are some, all metrics are searched."""
    sorting: reactive[tuple[str, bool] | None] = reactive(None)
    """The metric that the runs are ordered by, and whether the other way round."""

    class Changed(Message):
        """Other lines are shown, or the runs in another order."""

    class Filtering(Message):
        """The user wants to type a filter."""

    @dataclass
    class Valued(Message):
        """Another value of each curve shall be taken.

        Args:
            statistic: Which.
        """

        statistic: Statistic

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._rows: tuple[Row, ...] = ()
        self._asked: Statistic | None = None
        """The value that was asked for and is not there yet: the next key goes on from it."""

    @property
    def rows(self) -> tuple[Row, ...]:
        """The metrics that are shown."""
        return self._rows

    def columns(self) -> tuple[int, ...]:
        """Which run of the comparison each column shows."""
        if self.comparison is None:
            return ()
        there = range(len(self.comparison.jobs))
        row = next(
            (row for row in self.comparison.rows if self.sorting and row.name == self.sorting[0]), None
        )
        if row is None or self.sorting is None:
            return tuple(there)
        sign = -1 if (row.direction == "high") != self.sorting[1] else 1
        known = [index for index in there if _known(row, index)]
        known.sort(key=lambda index: sign * (row.cells[index].value or 0.0))
        return (*known, *(index for index in there if index not in known))

    def grid(self) -> Grid:
        """The columns that fit."""
        label = max((len(row.label) for row in self._rows), default=8)
        jobs = self.comparison.jobs if self.comparison else ()
        sizes = Sizes(_LEAST, VALUE + DELTA, max(VALUE + DELTA, head_width(jobs)))
        return grid(self.scrollable_content_region.width, max(1, len(jobs)), label, sizes)

    def draw(self, row: int, width: int) -> Content:
        """One metric."""
        return metric_line(self._rows[row], self.columns(), self.grid())

    def watch_comparison(self) -> None:
        """Show other numbers."""
        if self.comparison is not None and self.comparison.statistic == self._asked:
            self._asked = None
        self._select()

    def watch_only_differing(self) -> None:
        """Show other lines."""
        self._select()

    def watch_more(self) -> None:
        """Show other lines."""
        self._select()

    def watch_filter(self) -> None:
        """Show other lines."""
        self._select()

    def watch_sorting(self) -> None:
        """Show the runs in another order."""
        self.redraw()
        self.post_message(self.Changed())

    def _select(self) -> None:
        rows = self.comparison.rows if self.comparison else ()
        every = self.more or bool(self.filter.strip())
        self._rows = tuple(
            row
            for row in rows
            if (every or row.primary)
            and (row.differs or not self.only_differing)
            and matches(self.filter, f"{row.name} {row.label}")
        )
        self.show([row.name for row in self._rows])
        self.post_message(self.Changed())

    def on_toggle_differing(self, command: ToggleDiffering) -> None:
        """Show or hide the metrics in which all runs are alike."""
        command.stop()
        self.only_differing = not self.only_differing

    def on_toggle_more(self, command: ToggleMore) -> None:
        """Show or hide the metrics of second rank."""
        command.stop()
        self.more = not self.more

    def on_filter_metrics(self, command: FilterMetrics) -> None:
        """Somebody else has the line to type in."""
        command.stop()
        self.post_message(self.Filtering())

    def on_next_value(self, command: NextValue) -> None:
        """The next of the four; the metrics that it is about are shown."""
        command.stop()
        if self.comparison is not None:
            names = list(STATISTICS)
            self.more = True
            last = self._asked or self.comparison.statistic
            self._asked = names[(names.index(last) + 1) % len(names)]
            self.post_message(self.Valued(self._asked))

    def on_sort_by_metric(self, command: SortByMetric) -> None:
        """Best first, worst first, as chosen."""
        command.stop()
        name = self.key
        if not isinstance(name, str):
            return
        if self.sorting is None or self.sorting[0] != name:
            self.sorting = (name, False)
        else:
            self.sorting = None if self.sorting[1] else (name, True)


def _known(row: Row, index: int) -> bool:
    value = row.cells[index].value
    return value is not None and math.isfinite(value)
