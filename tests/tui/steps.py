"""What tests of the screens do again and again."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic

from textual.events import Key
from textual.keys import _character_to_key, key_to_character
from textual.pilot import Pilot

from tui.app import PodiumApp
from tui.screens.launch import LaunchDialog
from tui.widgets.chart import Chart
from tui.widgets.curves_pane import CurvesPane
from tui.widgets.log_view import LogView

PATIENCE = 30
"""How long anything may take, seconds; far more than it does."""

_ROUNDS = 50
"""How often a screen that never comes to rest is waited for."""


async def until(pilot: Pilot[None], condition: Callable[[], object]) -> None:
    """Wait until something is so."""
    deadline = monotonic() + PATIENCE
    while not condition():
        assert monotonic() < deadline, "waited in vain"
        await pilot.pause(0.02)
    await pilot.pause()
    await drained(pilot)


async def drained(pilot: Pilot[None]) -> None:
    """Wait until what is on its way was received, and what follows from it, and what follows from that."""
    quiet = 0
    for _ in range(_ROUNDS):
        await pilot._wait_for_screen()
        waiting = (node for node in (pilot.app, *pilot.app.screen.walk_children(with_self=True)))
        quiet = quiet + 1 if all(node._message_queue.empty() for node in waiting) else 0
        if quiet == 3:
            return


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
    """Press keys, each when the one before has done what it does, and wait for what comes of them.

    Textual guesses by the time that the processor takes whether a key has done it: on a busy machine a letter
    then comes before the dialog that it is for, and on a quiet one each key costs 40 ms of sleep.
    """
    await drained(pilot)
    for key in keys:
        name = _character_to_key(key) if len(key) == 1 and not key.isalnum() else key
        event = Key(name, _text_of(key, name))
        event.set_sender(pilot.app)
        pilot.app.post_message(event)
        await drained(pilot)
    await settled(pilot)


def _text_of(key: str, name: str) -> str | None:
    """What the key writes."""
    if len(key) == 1:
        return key
    text = key_to_character(name)
    return text if text is not None and text.isprintable() else {"slash": "/"}.get(name)
