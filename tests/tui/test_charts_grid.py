"""Several charts: which metrics stand together, walking through a grid, one window, one crosshair."""

from __future__ import annotations

from dataclasses import replace

import pytest
from textual.pilot import Pilot

from engine.analysis.panels import Panel
from engine.analysis.snapshot import Question, Snapshot
from engine.records import Curve, CurvePoint
from tests.tui.fabricated import PANELS, STATES, FakeDesk, live
from tests.tui.steps import press, settled, until
from tui.app import PodiumApp
from tui.widgets.chart import Chart
from tui.widgets.curve_words import legend
from tui.widgets.curves_pane import CurvesPane
from tui.widgets.log_view import LogView
from tui.widgets.machine import MachinePane
from tui.widgets.metric_groups import Group, groups
from tui.widgets.plot import Line, Plot, draw
from tui.widgets.window import Window


def charts(pilot: Pilot[None]) -> list[Chart]:
    return list(pilot.app.screen.query(Chart))


def names(pilot: Pilot[None]) -> list[str]:
    return [group.name for group in pane(pilot).drawn]


def pane(pilot: Pilot[None]) -> CurvesPane:
    return pilot.app.screen.query_one(CurvesPane)


def test_metrics_stand_together_that_belong_together() -> None:
    found = {
        group.name: group.metrics
        for group in groups(
            [
                "grad_norm", "loss", "rewards/chosen", "rewards/rejected", "eval_loss", "eval_rewards/chosen",
                "accuracy", "eval_accuracy", "gpu0_power_w", "gpu1_power_w", "mine/a", "other/x",
            ],
            [Panel("asked", ("mine/a", "other/x"))],
        )
    }  # fmt: skip
    assert found == {
        "loss": ("loss", "eval_loss"),
        "asked": ("mine/a", "other/x"),
        "grad": ("grad_norm",),
        "rewards": ("rewards/chosen", "rewards/rejected", "eval_rewards/chosen"),
        "accuracy": ("accuracy", "eval_accuracy"),
        "gpu power w": ("gpu0_power_w", "gpu1_power_w"),
    }


def test_more_curves_than_can_be_told_apart_are_several_charts() -> None:
    found = groups([f"gradient_stats/layer{index:02}" for index in range(19)])[1:]
    assert [group.name for group in found] == [f"gradient_stats {part}/3" for part in (1, 2, 3)]
    assert [len(group.metrics) for group in found] == [8, 8, 3]


@pytest.mark.parametrize(
    ("asked", "labels"),
    [
        (("loss", "eval_loss"), ["train", "eval"]),
        (("accuracy", "eval_accuracy"), ["train", "eval"]),
        (("rewards/chosen", "eval_rewards/chosen", "rewards/margin"), ["chosen", "eval chosen", "margin"]),
        (("gpu0_power_w", "gpu3_power_w"), ["gpu 0", "gpu 3"]),
        (("a/train/loss_ptr", "a/val/loss_ptr", "a/val/loss_end"), ["train ptr", "val ptr", "val end"]),
        (("w/a_b", "w/a_b_c", "w/d"), ["a b", "a b c", "d"]),
        (("w/a", "w/a_b"), ["a", "a b"]),
    ],
)
def test_a_legend_says_what_tells_its_curves_apart(asked: tuple[str, ...], labels: list[str]) -> None:
    group = Group("any", asked)
    assert [group.label(name) for name in asked] == labels


async def test_a_grid_shows_all_metrics_and_the_losses_come_back(app: PodiumApp, desk: FakeDesk) -> None:
    async with app.run_test(size=(200, 50)) as pilot:
        await settled(pilot)
        await press(pilot, "M")
        assert names(pilot) == [
            "loss",
            "lr",
            "grad",
            "tok/s",
            "gpu utilization percent",
            "gpu memory used gb",
        ]
        assert all(chart.picture and chart.picture.canvas for chart in charts(pilot))
        assert set(desk.questions[-1].view.metrics) >= {"loss", "tokens_per_second", "gpu0_memory_used_gb"}
        await press(pilot, "M")
        assert names(pilot) == ["loss"]
        assert len(charts(pilot)) == 1


async def test_a_grid_that_is_too_large_is_turned_page_by_page(app: PodiumApp) -> None:
    async with app.run_test(size=(120, 40)) as pilot:
        await settled(pilot)
        await press(pilot, "M")
        first = names(pilot)
        assert len(first) == 4
        await press(pilot, "full_stop")
        assert names(pilot) == ["gpu utilization percent", "gpu memory used gb"]
        await press(pilot, "full_stop")
        assert names(pilot) == ["gpu utilization percent", "gpu memory used gb"], "there are no more"
        await press(pilot, "comma")
        assert names(pilot) == first


async def test_tab_goes_through_the_charts_and_enter_shows_one_alone(app: PodiumApp) -> None:
    async with app.run_test(size=(120, 40)) as pilot:
        await settled(pilot)
        await press(pilot, "M", "tab", "tab")
        assert charts(pilot)[2].has_focus
        await press(pilot, "enter")
        assert names(pilot) == ["grad"]
        await press(pilot, "enter")
        assert len(names(pilot)) == 4
        charts(pilot)[3].focus()
        await press(pilot, "tab")
        assert app.screen.front == "checkpoints"


async def test_what_is_done_to_one_chart_is_done_to_all(app: PodiumApp, desk: FakeDesk) -> None:
    async with app.run_test(size=(120, 40)) as pilot:
        await settled(pilot)
        await press(pilot, "M", "Y", "X")
        await press(pilot, "left", "shift+left", "plus", "O", "S")
        first, *others = charts(pilot)
        assert first.view.low is not None
        for chart in others:
            assert chart.cross == first.cross is not None
            assert (chart.view.axis, chart.view.low) == ("epoch", first.view.low)
            assert (chart.log_y, chart.clipped, chart.smoothing) == (True, True, 3)
        await press(pilot, "escape")
        assert all(chart.cross is None and chart.view.low is None for chart in charts(pilot))


async def test_metrics_are_found_by_name_marked_and_drawn(app: PodiumApp) -> None:
    async with app.run_test(size=(120, 40)) as pilot:
        await settled(pilot)
        await press(pilot, "m", *"grad", "enter")
        assert names(pilot) == ["grad"]
        await press(pilot, "m", "down", "space", "space", "enter")
        assert names(pilot) == ["lr", "grad"]
        await press(pilot, "m", "escape")
        assert names(pilot) == ["lr", "grad"]
        await press(pilot, "m", "ctrl+a", "enter")
        assert len(pane(pilot).chosen) == len(pane(pilot).groups)


async def test_a_run_with_panels_shows_them_at_once(log_file: object) -> None:
    app = PodiumApp(FakeDesk(STATES["criteria"]))
    async with app.run_test(size=(200, 50)) as pilot:
        await settled(pilot)
        assert names(pilot) == ["loss", *(panel.name for panel in PANELS)]
        gradients = charts(pilot)[-1]
        assert gradients.picture.plot.log_y
        assert not charts(pilot)[0].picture.plot.log_y
        await press(pilot, "Y")
        assert not gradients.picture.plot.log_y


# One cursor


@pytest.mark.parametrize("axis", ["step", "epoch", "tokens", "hours", "dollars"])
async def test_the_crosshair_moves_log_and_machine_on_every_axis(
    app: PodiumApp, desk: FakeDesk, axis: str
) -> None:
    async with app.run_test(size=(160, 44)) as pilot:
        await settled(pilot)
        while pane(pilot).view.axis != axis:
            await press(pilot, "X")
        await press(pilot, "left", "shift+left")
        moment = desk.questions[-1].moment
        assert moment is not None
        assert moment.axis == axis
        step = app.snapshot.job.pointed.place.step
        assert 0 < step < 1220
        log = app.screen.query_one(LogView)
        await until(pilot, lambda: log.told("step") == step)
        assert (
            f"at step {step}".replace("1", "1", 1)[:7] in app.screen.query_one(MachinePane)._title.facts.plain
        )
        reading = str(app.screen.query_one("#reading").render())
        assert ("$" in reading) and ("step" in reading)


async def test_a_log_line_moves_the_crosshair_on_any_axis(app: PodiumApp) -> None:
    async with app.run_test(size=(120, 40)) as pilot:
        await settled(pilot)
        await press(pilot, "X", "o", "g", "j", "j", "enter")
        chart = charts(pilot)[0]
        await until(pilot, lambda: chart.cross is not None)
        assert chart.cross == pytest.approx(823 * 3 / 2000)


async def test_alerts_and_checkpoints_are_marked_on_every_axis(app: PodiumApp) -> None:
    async with app.run_test(size=(120, 40)) as pilot:
        await settled(pilot)
        for _ in range(5):
            signs = [mark.sign for mark in charts(pilot)[0].marks]
            assert signs.count("★") == 1
            assert signs.count("▴") == 3
            assert signs.count("▲") == 1
            await press(pilot, "X")


async def test_a_questions_moment_goes_with_the_crosshair(app: PodiumApp, desk: FakeDesk) -> None:
    async with app.run_test(size=(120, 40)) as pilot:
        await settled(pilot)
        await press(pilot, "left")
        moment = desk.questions[-1].moment
        assert moment is not None
        assert moment.axis == "step"
        assert 1200 < moment.x <= 1220
        await press(pilot, "escape")
        assert desk.questions[-1].moment is None
        assert "at step" not in app.screen.query_one(MachinePane)._title.facts.plain


# The mouse


async def test_dragging_pans_and_a_double_click_shows_everything(app: PodiumApp) -> None:
    async with app.run_test(size=(120, 40)) as pilot:
        await settled(pilot)
        await press(pilot, "plus")
        chart = charts(pilot)[0]
        before = chart.view.low
        await pilot.mouse_down(chart, offset=(20, 5))
        await pilot.hover(chart, offset=(40, 5))
        await pilot.mouse_up(chart, offset=(40, 5))
        await settled(pilot)
        assert before is not None
        assert chart.view.low is not None
        await pilot.click(chart, offset=(30, 5), times=2)
        await settled(pilot)
        assert (chart.view.low, chart.view.high, chart.cross) == (None, None, None)


def test_a_window_pans_as_far_as_there_are_points() -> None:
    window = Window(0, 100, 40, 60)
    assert window.panned(0.5) == (50, 70)
    assert window.panned(-10) == (None, 20)
    assert window.panned(10) == (80, None)
    assert Window(0, 100).zoomed(0.5, 30) == (15, 65)
    assert Window(0, 100).zoomed(2) == (None, None)
    assert Window(0, 100, 40, 60).zoomed(1e-9, 50) == (40, 60), "nothing is so near that floats can't tell it"


# What a curve draws


def straight(*points: tuple[float, float], **more: object) -> Curve:
    made = tuple(CurvePoint(x, y, y, y, 1) for x, y in points)
    return Curve("j", "m", "step", made, len(made), **more)  # type: ignore[arg-type]


def drawn(curve: Curve, **look: object) -> list[str]:
    line = Line("m", curve, "$run-0")
    plot = Plot((line,), (((200, 200, 200), (90, 90, 90)),), 40, 12, **look)  # type: ignore[arg-type]
    return [strip.text for strip in draw(plot).canvas]


def columns(rows: list[str]) -> list[bool]:
    return [any(row[at] not in " \u2800" for row in rows) for at in range(len(rows[0]))]


def test_a_sparse_curve_reaches_the_edges_of_a_zoomed_window() -> None:
    before, after = CurvePoint(0, 0, 0, 0, 1), CurvePoint(100, 10, 10, 10, 1)
    curve = straight((50, 5), before=before, after=after)
    assert all(columns(drawn(curve, low=25, high=75)))
    assert all(columns(drawn(replace(curve, points=()), low=40, high=45)))
    assert not all(columns(drawn(replace(curve, before=None), low=25, high=75)))


def test_a_gap_of_bad_numbers_is_not_drawn_over_at_an_edge() -> None:
    curve = straight((60, 5), before=None, after=CurvePoint(100, 10, 10, 10, 1), bad=(30.0, 40.0))
    here = columns(drawn(curve, low=20, high=80))
    assert not any(here[: len(here) // 2])
    assert here[-1]


def test_a_band_reaches_from_the_least_to_the_greatest_value() -> None:
    points = tuple(CurvePoint(x, -10, 0, 10, 5) for x in range(50))
    curve = Curve("j", "m", "step", points, 250)
    assert sum(row.strip(" \u2800") != "" for row in drawn(curve)) == 1
    assert all(row.strip(" \u2800") for row in drawn(curve, banded=0)[1:-1])


async def test_the_band_is_the_focused_curves(app: PodiumApp) -> None:
    async with app.run_test(size=(120, 40)) as pilot:
        await settled(pilot)
        chart = charts(pilot)[0]
        await press(pilot, "E")
        assert chart.picture.plot.banded == 0
        await press(pilot, "j")
        assert chart.picture.plot.banded == 1
        assert "min/max" in pane(pilot)._title.facts.plain
        await press(pilot, "k", "left")
        assert "…" in str(app.screen.query_one("#reading").render())
        await press(pilot, "E")
        assert chart.picture.plot.banded is None


def with_wild_values(question: Question) -> Snapshot:
    snapshot = live(question)
    curve = snapshot.job.curves["loss"]
    wild = tuple(
        replace(point, mean=900.0) if at in (9, 99) else point for at, point in enumerate(curve.points)
    )
    return replace(
        snapshot,
        job=replace(snapshot.job, curves={**snapshot.job.curves, "loss": replace(curve, points=wild)}),
    )


async def test_clipping_says_what_it_hides() -> None:
    app = PodiumApp(FakeDesk(with_wild_values))
    async with app.run_test(size=(160, 40)) as pilot:
        await settled(pilot)
        high = charts(pilot)[0].picture.y[1]
        await press(pilot, "O")
        assert "2 above" in pane(pilot)._title.facts.plain
        assert charts(pilot)[0].picture.y[1] < high / 100


async def test_a_legend_without_room_names_the_focused_curve_first(app: PodiumApp) -> None:
    async with app.run_test(size=(120, 40)) as pilot:
        await settled(pilot)
        chart = charts(pilot)[0]
        [train, evals] = chart.lines
        several = [replace(train, label=f"layer {index}") for index in range(6)]
        chart.show([*several, evals])
        await settled(pilot)
        assert legend(chart, 200).plain.startswith("━ layer 0 0.")
        assert legend(chart, 100).plain.count("layer") == 6 and "0." not in legend(chart, 100).plain
        assert legend(chart, 30).plain == "━ layer 0  ━ layer 1  +5"
        assert legend(chart, 10).plain == "7 curves"
        chart.focused_curve = 4
        assert legend(chart, 30).plain == "━ layer 4  ━ layer 5  +5"
