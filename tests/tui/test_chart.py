"""The chart under its keys: what it asks for, what it draws, what it says."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

from textual.pilot import Pilot

from engine.analysis.snapshot import ChartView, Question, Snapshot
from engine.records import Curve, CurvePoint
from tests.tui.fabricated import FakeDesk, live
from tests.tui.steps import press, settled, until
from tui.app import PodiumApp
from tui.widgets.chart import Chart
from tui.widgets.curves_pane import CurvesPane


@asynccontextmanager
async def looking_at_the_chart(app: PodiumApp) -> AsyncIterator[Pilot[None]]:
    async with app.run_test(size=(120, 40)) as pilot:
        await settled(pilot)
        assert chart(pilot).has_focus
        yield pilot


def chart(pilot: Pilot[None]) -> Chart:
    return pilot.app.screen.query_one(Chart)


def facts(pilot: Pilot[None]) -> str:
    return pilot.app.screen.query_one(CurvesPane)._title.facts.plain


def reading(pilot: Pilot[None]) -> str:
    return str(pilot.app.screen.query_one("#reading").render())


def asked(desk: FakeDesk) -> ChartView:
    return desk.questions[-1].view


async def test_it_asks_for_as_many_points_as_it_has_columns_of_dots(app: PodiumApp, desk: FakeDesk) -> None:
    async with looking_at_the_chart(app) as pilot:
        assert asked(desk).columns == 2 * chart(pilot).size.width
        await pilot.resize_terminal(200, 50)
        await settled(pilot)
        assert asked(desk).columns == 2 * chart(pilot).size.width > 200


async def test_smoothing_goes_round(app: PodiumApp) -> None:
    async with looking_at_the_chart(app) as pilot:
        assert "smooth 2/3" in facts(pilot)
        await press(pilot, "S")
        assert "smooth 3/3" in facts(pilot)
        await press(pilot, "S")
        assert "smooth" not in facts(pilot)


async def test_every_axis_is_asked_for_in_turn(app: PodiumApp, desk: FakeDesk) -> None:
    async with looking_at_the_chart(app) as pilot:
        seen = []
        for _ in range(5):
            await press(pilot, "X")
            assert chart(pilot).lines[0].curve.axis == asked(desk).axis
            assert f"x {asked(desk).axis}" in facts(pilot)
            seen.append(asked(desk).axis)
        assert seen == ["epoch", "tokens", "hours", "dollars", "step"]


async def test_the_best_checkpoint_is_marked_on_every_axis(app: PodiumApp) -> None:
    async with looking_at_the_chart(app) as pilot:
        for _ in range(5):
            [mark] = [mark for mark in chart(pilot).marks if mark.sign == "★"]
            low, high = chart(pilot).picture.x
            assert mark.label == "900"
            assert abs((mark.x - low) / (high - low) - 900 / 1220) < 0.02
            await press(pilot, "X")


async def test_zooming_in_and_out_and_back(app: PodiumApp, desk: FakeDesk) -> None:
    async with looking_at_the_chart(app) as pilot:
        await press(pilot, "plus")
        assert asked(desk).low is not None
        assert abs(asked(desk).low - 610) < 15
        assert asked(desk).high is None, "the right edge stays with a run that goes on"
        assert "zoomed" in facts(pilot)
        await press(pilot, "plus")
        assert abs(asked(desk).low - 915) < 15
        await press(pilot, "minus", "minus", "minus")
        assert (asked(desk).low, asked(desk).high) == (None, None)
        await press(pilot, "plus", "equals_sign")
        assert (asked(desk).low, asked(desk).high) == (None, None)
        assert "zoomed" not in facts(pilot)


async def test_panning_stops_at_the_ends(app: PodiumApp, desk: FakeDesk) -> None:
    async with looking_at_the_chart(app) as pilot:
        await press(pilot, "plus", "left_square_bracket")
        low, high = asked(desk).low, asked(desk).high
        assert low is not None
        assert high is not None
        assert abs((high - low) - 610) < 20
        await press(pilot, *["left_square_bracket"] * 6)
        assert asked(desk).low is None
        assert asked(desk).high is not None
        await press(pilot, *["right_square_bracket"] * 7)
        assert asked(desk).high is None
        assert asked(desk).low is not None


async def test_zooming_is_about_the_crosshair(app: PodiumApp, desk: FakeDesk) -> None:
    async with looking_at_the_chart(app) as pilot:
        await press(pilot, "left", *["shift+left"] * 4)
        cross = chart(pilot).cross
        await press(pilot, "plus")
        view = asked(desk)
        assert view.low is not None
        assert view.high is not None
        assert view.low < cross < view.high
        assert chart(pilot).cross == cross


async def test_the_crosshair_reads_every_curve(app: PodiumApp) -> None:
    async with looking_at_the_chart(app) as pilot:
        assert reading(pilot) == ""
        await press(pilot, "left")
        assert reading(pilot).startswith("▏step 1 2")
        for word in ("train 0.", "lr ", "grad "):
            assert word in reading(pilot)
        await press(pilot, "escape")
        assert reading(pilot) == ""


async def test_where_there_is_no_value_the_crosshair_reads_a_dash(app: PodiumApp) -> None:
    async with looking_at_the_chart(app) as pilot:
        await press(pilot, "right")
        assert "eval —" in reading(pilot), "the first eval is at step 100"


async def test_the_crosshair_stays_on_the_picture(app: PodiumApp) -> None:
    async with looking_at_the_chart(app) as pilot:
        await press(pilot, *["shift+left"] * 8)
        left = chart(pilot).cross
        await press(pilot, "left")
        assert chart(pilot).cross == left
        await press(pilot, *["shift+right"] * 8)
        right = chart(pilot).cross
        await press(pilot, "l", "right")
        assert chart(pilot).cross == right > left


async def test_a_click_puts_the_crosshair_there(app: PodiumApp) -> None:
    async with looking_at_the_chart(app) as pilot:
        picture = chart(pilot).picture
        await pilot.click(Chart, offset=(picture.gutter + 10, 5))
        await settled(pilot)
        assert picture.column(chart(pilot).cross) == 10


async def test_logarithmic_axes_and_outliers_are_told_in_the_title(app: PodiumApp) -> None:
    async with looking_at_the_chart(app) as pilot:
        assert "train 0." in facts(pilot)
        await press(pilot, "Y")
        assert chart(pilot).picture.plot.log_y
        assert "log y" in facts(pilot)
        await press(pilot, "Y", "O")
        assert "no outliers" in facts(pilot)
        await press(pilot, "O", "x")
        assert "outliers" not in facts(pilot)
        assert "log x" in facts(pilot)
        # With no room for all, the last values are left out.
        await press(pilot, "O", "Y", "E", "plus")
        assert "train" in facts(pilot)
        assert "0." not in facts(pilot).split("x step")[0]
        assert "no outliers · log x" in facts(pilot)


async def test_any_recorded_metric_can_be_drawn(app: PodiumApp, desk: FakeDesk) -> None:
    async with looking_at_the_chart(app) as pilot:
        seen = []
        for _ in range(4):
            seen.append([line.label for line in chart(pilot).lines])
            await press(pilot, "full_stop")
        assert seen == [["train", "eval"], ["lr"], ["grad"], ["tok/s"]]
        await press(pilot, *["comma"] * 4)
        assert asked(desk).metrics[:2] == ("loss", "eval_loss")


async def test_an_answer_to_an_older_question_is_not_drawn(app: PodiumApp) -> None:
    """Steps must never be taken for dollars, not even for a moment."""
    async with looking_at_the_chart(app) as pilot:
        lines = chart(pilot).lines
        await press(pilot, "X")
        chart(pilot).show(lines)
        await settled(pilot)
        assert all(line.curve.axis == "epoch" for line in chart(pilot).lines)


async def test_another_run_is_shown_whole(app: PodiumApp, desk: FakeDesk) -> None:
    async with looking_at_the_chart(app) as pilot:
        await press(pilot, "left", "plus")
        before = desk.answer

        def another(question: Question) -> Snapshot:
            snapshot = before(question)
            job = replace(snapshot.job.job, id="job-99")
            return replace(snapshot, job=replace(snapshot.job, job=job))

        desk.answer = another
        desk.changed()
        await until(pilot, lambda: app.snapshot.job.job.id == "job-99")
        await settled(pilot)
        assert (asked(desk).low, asked(desk).high) == (None, None)
        assert chart(pilot).cross is None


def holed(question: Question) -> Snapshot:
    """A run whose loss was NaN in the middle, with a wild gradient."""
    snapshot = live(question)
    points = tuple(CurvePoint(float(x), 1.0, 1.0, 1.0, 1) for x in range(100) if not 40 <= x < 60)
    curve = Curve("job-07", "loss", question.view.axis, points, 100, tuple(float(x) for x in range(40, 60)))
    return replace(snapshot, job=replace(snapshot.job, curves={"loss": curve}))


async def test_numbers_that_are_none_are_marked_not_hidden() -> None:
    async with looking_at_the_chart(PodiumApp(FakeDesk(holed))) as pilot:
        picture = chart(pilot).picture
        bottom = chart(pilot).render_line(picture.rows - 1).text[picture.gutter :]
        assert bottom[picture.columns // 2] == "×"
        assert bottom[2] != "×"


async def test_no_points_say_so(app: PodiumApp, desk: FakeDesk) -> None:
    desk.answer = lambda question: replace(live(question), job=replace(live(question).job, curves={}))
    async with looking_at_the_chart(app) as pilot:
        lines = [chart(pilot).render_line(y).text for y in range(chart(pilot).size.height)]
        assert any("no points yet" in line for line in lines)
        await press(pilot, "X")
        assert "no epoch known: X goes on" in "".join(
            chart(pilot).render_line(y).text for y in range(chart(pilot).size.height)
        )
        await press(
            pilot, "left", "right", "plus", "minus", "left_square_bracket", "equals_sign", "S", "Y", "O"
        )


async def test_no_place_is_taken_from_a_picture_of_another_axis(app: PodiumApp) -> None:
    async with looking_at_the_chart(app) as pilot:
        chart(pilot).on_cycle_axis()
        chart(pilot).on_cross_left()  # at once: the picture still shows steps
        assert chart(pilot).cross is None
        await settled(pilot)
        await press(pilot, "left")
        assert 0 < chart(pilot).cross <= 1.02 * chart(pilot).lines[0].curve.points[-1].x


def free(question: Question) -> Snapshot:
    """A run on a machine that costs nothing."""
    snapshot = live(question)
    curves = {
        name: replace(curve, points=tuple(replace(point, x=0.0) for point in curve.points))
        for name, curve in snapshot.job.curves.items()
    }
    return replace(snapshot, job=replace(snapshot.job, curves=curves)) if dollars(question) else snapshot


def dollars(question: Question) -> bool:
    return question.view.axis == "dollars"


async def test_a_free_run_is_not_drawn_along_the_dollars() -> None:
    async with looking_at_the_chart(PodiumApp(FakeDesk(free))) as pilot:
        await press(pilot, "X", "X", "X", "X")
        assert not chart(pilot).picture.canvas
        middle = chart(pilot).render_line(chart(pilot).size.height // 2).text
        assert "$0.00: X goes on" in middle
        await press(pilot, "X")
        assert chart(pilot).picture.canvas
