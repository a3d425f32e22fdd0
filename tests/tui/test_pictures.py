"""Pictures of the Job screen in its states, compared to the last ones that somebody looked at.

After a wanted change, look at the report and then run pytest with --snapshot-update.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from textual.pilot import Pilot

from tests.tui.fabricated import STATES, FakeDesk, a_log
from tests.tui.steps import press, settled
from tui.app import PodiumApp

SMALL, USUAL, LARGE = (80, 24), (120, 40), (200, 50)

Compare = Callable[..., bool]


@pytest.fixture
def log(tmp_path: Path) -> str:
    path = tmp_path / "train.log"
    path.write_bytes(a_log())
    return str(path)


def after(*keys: str) -> Callable[[Pilot[None]], object]:
    async def run(pilot: Pilot[None]) -> None:
        await settled(pilot)
        for key in keys:
            await press(pilot, key)

    return run


@pytest.mark.parametrize("size", [SMALL, USUAL], ids=["80x24", "120x40"])
@pytest.mark.parametrize("state", STATES)
def test_states(snap_compare: Compare, log: str, state: str, size: tuple[int, int]) -> None:
    app = PodiumApp(FakeDesk(STATES[state], log))
    assert snap_compare(app, terminal_size=size, run_before=after())


@pytest.mark.parametrize("state", STATES)
def test_a_large_terminal(snap_compare: Compare, log: str, state: str) -> None:
    assert snap_compare(PodiumApp(FakeDesk(STATES[state], log)), terminal_size=LARGE, run_before=after())


PANES = ["checkpoints", "machine", "verdict", "log", "predictions", "events"]


@pytest.mark.parametrize("tabs", range(1, 7), ids=PANES)
def test_panes_of_a_small_terminal(snap_compare: Compare, log: str, tabs: int) -> None:
    app = PodiumApp(FakeDesk(STATES["live"], log))
    assert snap_compare(app, terminal_size=SMALL, run_before=after(*["tab"] * tabs))


LOOKS = {
    "crosshair": ("left", "shift+left", "shift+left"),
    "zoomed": ("plus", "plus"),
    "log_y": ("Y",),
    "dollars": ("X", "X", "X", "X"),
    "grid": ("M",),
    "band": ("E", "plus"),
    "metrics": ("m", "down", "space", "space"),
    "predictions": ("p",),
    "events": ("v",),
    "one_pane": ("o", "F"),
    "jump": ("o", "J", "5", "0", "percent_sign"),
    "no_times": ("o", "t"),
    "filtered_log": ("o", "slash", "w", "a", "r", "n", "enter"),
    "help": ("question_mark",),
    "confirm": ("s",),
}


@pytest.mark.parametrize("look", LOOKS)
def test_looks(snap_compare: Compare, log: str, look: str) -> None:
    app = PodiumApp(FakeDesk(STATES["live"], log))
    assert snap_compare(app, terminal_size=USUAL, run_before=after(*LOOKS[look]))


@pytest.mark.parametrize("theme", ["podium-light", "podium-colour-blind"])
def test_themes(snap_compare: Compare, log: str, theme: str) -> None:
    desk = FakeDesk(STATES["live"], log)
    desk.settings["theme"] = theme
    assert snap_compare(PodiumApp(desk), terminal_size=USUAL, run_before=after())
