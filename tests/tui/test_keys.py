"""Every key of the Job screen does what it says: the bindings are walked, and one without a case fails."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Final

import pytest
from textual.pilot import Pilot

from engine.job.events import Status
from tests.tui.fabricated import FakeDesk
from tests.tui.steps import press, settled, until
from tui import wishes
from tui.app import PodiumApp
from tui.commands import Commanding
from tui.screens.job import JobScreen
from tui.widgets.chart import Chart
from tui.widgets.checkpoints import CheckpointPane
from tui.widgets.curves_pane import CurvesPane
from tui.widgets.log_pane import LogPane
from tui.widgets.predictions import PredictionsPane

Probe = Callable[[PodiumApp], Any]


@dataclass(frozen=True)
class Case:
    """What a command changes.

    Args:
        probe: Reads what another press of the key must change.
        before: Keys that make it mean something.
        then: Keys that go on where it opened something.
        after: Keys that clear up.
    """

    probe: Probe
    before: tuple[str, ...] = ()
    then: tuple[str, ...] = ()
    after: tuple[str, ...] = ()


def on_top(app: PodiumApp) -> str:
    return type(app.screen).__name__


def wished(app: PodiumApp) -> list[str]:
    assert isinstance(app.desk, FakeDesk)
    return [type(wish).__name__ for wish in app.desk.wishes]


def copied(app: PodiumApp) -> str:
    """What was copied; it is forgotten when it was read."""
    text, app._clipboard = app.clipboard, ""
    return text


def chart(read: Callable[[Chart], Any]) -> Probe:
    return lambda app: read(app.screen.query(Chart).first())


def of(kind: type[Any], name: str) -> Probe:
    return lambda app: getattr(app.screen.query_one(kind), name)


def view(name: str) -> Probe:
    return lambda app: getattr(app.screen.query_one(LogPane)._view, name)


def screen(name: str) -> Probe:
    return lambda app: getattr(app.screen_stack[0], name)


def moment(app: PodiumApp) -> Any:
    return app.question.moment


def looked_for(app: PodiumApp) -> Any:
    """Where a search went, or that it was told in vain."""
    return app.screen.query_one(LogPane)._view.here, len(app._notifications)


LOOK: Final = chart(lambda chart: chart.view)
CROSS: Final = chart(lambda chart: chart.cross)

SCREEN: Final[dict[str, Case]] = {
    "GoToCheckpoints": Case(screen("front"), after=("tab",)),
    "GoToPredictions": Case(screen("front"), after=("c",)),
    "GoToEvents": Case(screen("front"), after=("c",)),
    "NextPane": Case(screen("front")),
    "PreviousPane": Case(screen("front"), after=("v",)),
    "FillScreen": Case(screen("filled")),
    "GoToLog": Case(screen("front"), before=("p",)),
    "StopJob": Case(wished, then=("y",)),
    "PauseJob": Case(wished),
    "SaveNow": Case(wished),
    "ChangeLearningRate": Case(wished, then=("1", "enter")),
    "ChangeLimits": Case(wished, then=("7", "enter", "1", "enter", "y")),
    "LaunchAgain": Case(on_top),
    "NextRun": Case(lambda app: app.question.job_id),
    "PreviousRun": Case(lambda app: app.question.job_id),
    "CopyId": Case(copied, before=("p",)),
    "CopySSH": Case(copied),
    "ResumeJob": Case(wished),
}
APP: Final[dict[str, Case]] = {
    "NewRun": Case(on_top),
    "ShowHelp": Case(on_top),
    "ShowPalette": Case(on_top),
    "ShowJobScreen": Case(lambda app: app.current_mode, before=("2",)),
    "ShowComparisonScreen": Case(lambda app: app.current_mode, after=("1",)),
    "ShowHistoryScreen": Case(lambda app: app.current_mode, after=("1",)),
    "ChangeTheme": Case(on_top),
}
CHARTS: Final[dict[str, Case]] = {
    "Smooth": Case(chart(lambda chart: chart.smoothing)),
    "LogY": Case(chart(lambda chart: chart.log_y)),
    "LogX": Case(chart(lambda chart: chart.log_x)),
    "ClipOutliers": Case(chart(lambda chart: chart.clipped)),
    "ShowBand": Case(chart(lambda chart: chart.banded)),
    "FocusNextCurve": Case(chart(lambda chart: chart.focused_curve)),
    "FocusPreviousCurve": Case(chart(lambda chart: chart.focused_curve)),
    "ZoomIn": Case(LOOK),
    "ZoomOut": Case(LOOK, before=("plus", "plus")),
    "PanLeft": Case(LOOK, before=("plus", "plus")),
    "PanRight": Case(LOOK, before=("left_square_bracket", "left_square_bracket")),
    "ResetView": Case(LOOK, before=("plus",)),
    "CycleAxis": Case(LOOK),
    "CrossLeft": Case(CROSS),
    "CrossFarLeft": Case(CROSS),
    "CrossRight": Case(CROSS),
    "CrossFarRight": Case(CROSS),
    "NextMetric": Case(of(CurvesPane, "chosen")),
    "PreviousMetric": Case(of(CurvesPane, "chosen")),
    "ToggleGrid": Case(of(CurvesPane, "chosen")),
    "ShowAlone": Case(of(CurvesPane, "chosen")),
    "ChooseMetrics": Case(on_top),
}
LOG: Final[dict[str, Case]] = {
    "ToggleFollow": Case(view("following")),
    "ToggleWrap": Case(view("wrap")),
    "ToggleTimes": Case(view("times")),
    "EditFilter": Case(of(LogPane, "pattern"), then=("l", "r"), after=("escape",)),
    "InvertFilter": Case(of(LogPane, "inverted")),
    "ClearFilter": Case(of(LogPane, "pattern"), before=("slash", "s", "t", "enter")),
    "CopyLine": Case(copied),
    "PointChart": Case(moment),
    "NextError": Case(looked_for),
    "JumpTo": Case(view("following"), before=("G",), then=("5", "0", "percent_sign", "enter")),
    "NextMachine": Case(of(LogPane, "node")),
}
CHECKPOINTS: Final[dict[str, Case]] = {
    "CopyPath": Case(copied),
    "DownloadCheckpoint": Case(wished),
    "SortCheckpoints": Case(of(CheckpointPane, "best_first")),
    "ShowCheckpoint": Case(moment),
}
PREDICTIONS: Final[dict[str, Case]] = {
    "NextSample": Case(of(PredictionsPane, "sample")),
    "PreviousSample": Case(of(PredictionsPane, "sample")),
    "CompareAnswers": Case(of(PredictionsPane, "against")),
    "NewestFirst": Case(of(PredictionsPane, "newest_first")),
}
EVENTS: Final[dict[str, Case]] = {"CopyEvent": Case(copied), "ShowEvent": Case(moment, before=("k",))}

QUITTING: Final = ("Back", "QuitNow")
"""These end the app; they have a test of their own."""

PANES: Final[dict[str, tuple[str, dict[str, Case]]]] = {
    "screen": ("", SCREEN),
    "app": ("", APP),
    "charts": ("", CHARTS),
    "log": ("o", LOG),
    "checkpoints": ("c", CHECKPOINTS),
    "predictions": ("p", PREDICTIONS),
    "events": ("v", EVENTS),
}
"""Where the keys are pressed: how one gets there, and what they do there."""


def offered(app: PodiumApp) -> Iterator[tuple[Commanding, Any]]:
    """Every command of the screen, with the pane that has it."""
    for pane in (app, *app.screen_stack[0].walk_children(with_self=True)):
        if isinstance(pane, Commanding):
            yield from ((pane, command) for command in pane.commands())


async def test_every_command_of_the_screen_has_a_case(app: PodiumApp) -> None:
    async with app.run_test(size=(140, 50)) as pilot:
        await settled(pilot)
        await press(pilot, "p")
        await press(pilot, "v")
        names = {command.__name__ for _, command in offered(app)}
    cases = [name for _, table in PANES.values() for name in table]
    assert len(cases) == len(set(cases))
    assert names == {*cases, *QUITTING}


async def prepare(app: PodiumApp, command: Any) -> None:
    """Make the run one of which this can be asked."""
    front = app.screen_stack[0]
    if not isinstance(front, JobScreen) or front.detail is None:
        return
    if command is wishes.ResumeJob:
        front.detail = replace(front.detail, job=replace(front.detail.job, status=Status.PAUSED))
    if command.__name__ == "NextMachine":
        front.detail = replace(front.detail, node_logs=("0.log", "1.log"))
    if command.__name__ == "CopySSH":
        pod = {"provider": "ssh", "host": "gpu-1", "user": "root", "port": 2222}
        job = replace(front.detail.job, provider="ssh", config={"pod": pod})
        front.detail = replace(front.detail, job=job)


async def do(pilot: Pilot[None], pane: Commanding, command: Any, key: str, case: Case) -> None:
    """Press the key, or choose the command in the palette, and see that something comes of it."""
    app = pilot.app
    assert isinstance(app, PodiumApp)
    for step in case.before:
        await press(pilot, step)
    await prepare(app, command)
    before = case.probe(app)
    if key:
        await press(pilot, key)
    else:
        pane.action_command(command.__name__)
        await settled(pilot)
    for step in case.then:
        await press(pilot, step)
    await until(pilot, lambda: case.probe(app) != before)
    while len(app.screen_stack) > 1:
        await press(pilot, "escape")
    for step in case.after:
        await press(pilot, step)


@pytest.mark.parametrize("name", PANES)
async def test_every_key_does_something(app: PodiumApp, name: str) -> None:
    there, cases = PANES[name]
    async with app.run_test(size=(140, 50)) as pilot:
        await settled(pilot)
        if there:
            await press(pilot, there)
        known = {command.__name__: (pane, command) for pane, command in reversed(list(offered(app)))}
        for title, case in cases.items():
            pane, command = known[title]
            for key in command.KEYS.split(",") if command.KEYS else [""]:
                try:
                    await do(pilot, pane, command, key, case)
                except AssertionError as error:
                    raise AssertionError(f"{title} ({key or 'palette'}): {error}") from error


@pytest.mark.parametrize("key", ["q", "ctrl+q", "ctrl+c"])
async def test_these_quit(app: PodiumApp, desk: FakeDesk, key: str) -> None:
    async with app.run_test() as pilot:
        await settled(pilot)
        await pilot.press(key)
        await pilot.pause()
    assert desk.closed and not app.is_running
