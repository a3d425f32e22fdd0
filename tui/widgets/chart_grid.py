"""Charts side by side that are looked at together: one window, one scale, one crosshair."""

from __future__ import annotations

from typing import Final

from textual.app import ComposeResult
from textual.containers import Grid, Vertical

from engine.analysis.snapshot import ChartView
from tui.widgets.chart import Chart
from tui.widgets.title_line import TitleLine

LEAST: Final = (30, 7)
"""The least width and height of a chart in a grid, cells, its title included."""

MOST: Final = 9
"""Charts at a time."""


class GridCell(Vertical):
    """One chart of a grid with its own title."""

    def __init__(self, view: ChartView) -> None:
        super().__init__()
        self.title = TitleLine()
        self.chart = Chart(view)

    def compose(self) -> ComposeResult:
        """Title, chart."""
        yield self.title
        yield self.chart


class ChartGrid(Grid):
    """At least one chart.

    Args:
        view: What the first one asks to see.
    """

    def __init__(self, view: ChartView) -> None:
        super().__init__()
        self.cells = [GridCell(view)]

    def compose(self) -> ComposeResult:
        """The first chart."""
        yield from self.cells

    @property
    def leading(self) -> int:
        """The number of the chart that has the keys, else 0."""
        return next((index for index, cell in enumerate(self.cells) if cell.chart.has_focus), 0)

    @property
    def lead(self) -> Chart:
        """The chart that has the keys, else the first."""
        return self.cells[self.leading].chart

    @property
    def columns(self) -> int:
        """How many points the widest chart's curves need."""
        return max(cell.chart.view.columns for cell in self.cells)

    def room(self, wanted: int) -> int:
        """How many of so many charts there is room for."""
        across, down = (max(1, size // least) for size, least in zip(self.size, LEAST, strict=True))
        return max(1, min(wanted, across * down, MOST))

    async def hold(self, number: int) -> None:
        """Have so many charts."""
        across = max(1, self.size.width // LEAST[0])
        down = -(-number // across)
        self.styles.grid_size_columns = -(-number // down)
        lead = self.lead
        if self.leading >= number and lead.has_focus:
            self.cells[0].chart.focus()
        gone, self.cells = self.cells[number:], self.cells[:number]
        for cell in gone:
            await cell.remove()
        new = [GridCell(lead.view) for _ in range(number - len(self.cells))]
        self.cells += new
        await self.mount_all(new)
        for cell in new:
            cell.chart.same_as(lead)

    def follow(self, chart: Chart) -> None:
        """Let all charts look where one looks."""
        for cell in self.cells:
            if cell.chart is not chart:
                cell.chart.same_as(chart)

    def go_on(self, by: int) -> bool:
        """Give the keys to the next chart, or the one before; False when there is none."""
        if not self.lead.has_focus or not 0 <= self.leading + by < len(self.cells):
            return False
        self.cells[self.leading + by].chart.focus()
        return True
