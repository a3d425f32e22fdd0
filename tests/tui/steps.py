"""What tests of the screens do again and again."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic

from textual.pilot import Pilot

from tui.app import PodiumApp
from tui.screens.launch import LaunchDialog
from tui.widgets.chart import Chart
from tui.widgets.curves_pane import CurvesPane
from tui.widgets.log_view import LogView

PATIENCE = 30
"""How long anything may take, seconds; far more than it does."""


async def until(pilot: Pilot[None], condition: Callable[[], object]) -> None:
    """Wait until something is so."""
    deadline = monotonic() + PATIENCE
    while not condition():
        assert monotonic() < deadline, "waited in vain"
        await pilot.pause(0.02)
    await pilot.pause()


async def settled(pilot: Pilot[None]) -> None:
    """Wait until the snapshot is there, the charts are drawn and the log is read."""
    app = pilot.app
    assert isinstance(app, PodiumApp)

    def still() -> bool:
        front = app.screen_stack[0]
        charts = all(chart.idle for chart in front.query(Chart) if chart.size.width)
        if app.current_mode == "job" and app.snapshot and app.snapshot.job:
            # What a chart wants to see was asked for, and was answered.
            charts = charts and front.query_one(CurvesPane).view == app.question.view == app.snapshot.job.view
        dialogs = all(screen.settled for screen in app.screen_stack if isinstance(screen, LaunchDialog))
        logs = all(view.lines is None or not view.lines.stale for view in front.query(LogView))
        return app.idle and charts and logs and dialogs

    for _ in range(3):  # an answer to one thing may be a question about another
        await until(pilot, still)


async def press(pilot: Pilot[None], *keys: str) -> None:
    """Press keys and wait for what comes of them."""
    await pilot.press(*keys)
    await settled(pilot)
