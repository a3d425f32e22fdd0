"""The Comparison screen, key by key, on made-up runs that the real comparison judges."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest
from rich.cells import cell_len
from textual.pilot import Pilot
from textual.widgets import Static

from engine.analysis.comparison import Cell, Row, compare
from engine.analysis.snapshot import Question, Snapshot
from engine.job.events import Status
from engine.records import Job
from tests.tui import runs as made
from tests.tui.fabricated import FakeDesk
from tests.tui.steps import press, settled
from tests.tui.test_history import HOSTILE
from tui.app import PodiumApp
from tui.screens.comparison import PANES, ComparisonScreen
from tui.widgets.chart import Chart
from tui.widgets.difference_table import DifferenceTable, apart, written
from tui.widgets.line_list import LineList
from tui.widgets.metric_cells import delta, metric_line
from tui.widgets.metric_table import MetricTable
from tui.widgets.overlay_pane import OverlayPane
from tui.widgets.recommendation import RecommendationPanel, losers
from tui.widgets.run_heads import RunHeads
from tui.widgets.run_picker import RunPicker
from tui.widgets.side_by_side import Grid, Sizes, grid
from tui.widgets.title_line import TitleLine

Answer = Callable[[Question], Snapshot]


@pytest.fixture(autouse=True)
def utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Dates are shown in local time."""
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


class Stage:
    """The Comparison screen on a fake desk, and what it says."""

    def __init__(self, app: PodiumApp, desk: FakeDesk, pilot: Pilot[None]) -> None:
        self.app, self.desk, self.pilot = app, desk, pilot

    @property
    def screen(self) -> ComparisonScreen:
        front = self.app.screen_stack[0]
        assert isinstance(front, ComparisonScreen)
        return front

    @property
    def table(self) -> MetricTable:
        return self.screen.query_one(MetricTable)

    @property
    def picker(self) -> RunPicker:
        return self.screen.query_one(RunPicker)

    @property
    def pane(self) -> OverlayPane:
        return self.screen.query_one(OverlayPane)

    def lines(self, kind: type[LineList]) -> list[str]:
        widget = self.screen.query_one(kind)
        return [widget.render_line(y).text.rstrip() for y in range(widget.size.height)]

    def heads(self) -> str:
        return str(self.screen.query_one("#metrics RunHeads", RunHeads).render())

    def facts(self, pane: str) -> str:
        return str(self.screen.query_one(f"#{pane} TitleLine", TitleLine).facts)

    @property
    def advice(self) -> str:
        return str(self.screen.query_one(RecommendationPanel).query_one(Static).render())

    @property
    def front(self) -> str:
        return next(name for name in PANES if self.screen.query_one(f"#{name}").has_class("-front"))

    async def press(self, *keys: str) -> None:
        await press(self.pilot, *keys)


@asynccontextmanager
async def stage(answer: Answer = made.compared, size: tuple[int, int] = (120, 40)) -> AsyncIterator[Stage]:
    desk = FakeDesk(answer)
    app = PodiumApp(desk, "comparison")
    async with app.run_test(size=size) as pilot:
        await settled(pilot)
        yield Stage(app, desk, pilot)


# ---- the table


async def test_the_best_of_each_metric_and_the_deltas_against_the_reference_are_shown() -> None:
    async with stage() as it:
        lines = it.lines(MetricTable)
        assert " ".join(lines[0].split()) == "best eval loss 0.6686 0.9041 +35 % 1.1267 +69 %"
        assert "2.4 / 3" in lines[1]
        assert "2 h 15 min" in lines[2] and "-3 %" in lines[2]
        assert "■=07" in it.heads() and "■ 05" in it.heads() and "■ 03" in it.heads()


async def test_every_metric_can_be_shown_and_those_alone_that_differ() -> None:
    async with stage() as it:
        assert it.facts("metrics") == "7 of 30"
        await it.press("m")
        assert it.facts("metrics") == "30 of 30"
        await it.press("o")
        assert "only what differs" in it.facts("metrics")
        assert len(it.table.rows) < 30 and all(row.differs for row in it.table.rows)
        await it.press("o", "m")
        assert it.facts("metrics") == "7 of 30"


async def test_the_runs_are_ordered_by_a_metric_turned_round_and_put_back() -> None:
    async with stage(lambda question: made.compared(question, "job-05", "job-02", "job-03", "job-07")) as it:
        assert _order(it) == ["05", "02", "03", "07"]
        await it.press("s")
        assert _order(it) == ["07", "05", "03", "02"]
        assert "by best eval loss" in it.facts("metrics")
        await it.press("s")
        assert _order(it) == ["03", "05", "07", "02"]
        await it.press("s")
        assert _order(it) == ["05", "02", "03", "07"]


async def test_the_differences_follow_the_order_of_the_runs() -> None:
    async with stage(lambda question: made.compared(question, "job-03", "job-07")) as it:
        assert it.lines(DifferenceTable)[1].split() == ["lora.r", "8", "16"]
        await it.press("s")
        assert it.lines(DifferenceTable)[1].split() == ["lora.r", "16", "8"]


def test_a_value_that_nobody_knows_is_a_dash_and_has_no_delta() -> None:
    row = Row("loss", "loss", "loss", "low", (Cell(0.5, best=True), Cell(None)))
    line = str(metric_line(row, (0, 1), Grid(10, 17, 2)))
    assert line.split() == ["loss", "0.5000", "—"]


def test_ties_are_all_best_and_nobody_is_where_all_are_alike() -> None:
    def styles(*cells: Cell) -> list[str]:
        row = Row("loss", "loss", "loss", "low", cells)
        spans = metric_line(row, tuple(range(len(cells))), Grid(10, 10, len(cells))).spans
        return [str(span.style) for span in spans][1:]

    assert styles(Cell(0.5, best=True), Cell(0.5, best=True), Cell(0.6)).count("bold $accent") == 2
    assert "bold $accent" not in styles(Cell(0.5, best=True), Cell(0.5, best=True))


@pytest.mark.parametrize(
    ("unit", "direction", "change", "style"),
    [
        ("loss", "low", 0.2, "$text-muted"),
        ("loss", "low", 0.3, "$warning"),
        ("loss", "low", 0.6, "$error"),
        ("loss", "low", -0.6, "$text-muted"),
        ("dollars", "low", 0.6, "$error"),
        ("seconds", "low", 0.6, "$text-muted"),
        ("rate", "high", -0.9, "$text-muted"),
        ("number", "none", 0.9, "$text-muted"),
    ],
)
def test_red_is_only_for_quality_and_money_that_got_worse(
    unit: Any, direction: Any, change: float, style: str
) -> None:
    cell = Cell(1.0, delta=change)
    assert delta(Row("x", "x", unit, direction, (cell,)), cell)[1] == style


@pytest.mark.parametrize("change", [1e-9, -0.5, 0.005, 12.3, 1e6, -1.0, -0.999])
def test_a_delta_never_breaks_its_column(change: float) -> None:
    cell = Cell(1.0, delta=change)
    assert cell_len(delta(Row("x", "x", "loss", "low", (cell,)), cell)[0]) == 7


@pytest.mark.parametrize("width", [40, 60, 78, 119, 199])
@pytest.mark.parametrize("runs", [2, 3, 5, 8, 12])
def test_the_columns_fit_the_width_and_those_that_do_not_are_counted(width: int, runs: int) -> None:
    plan = grid(width, runs, 30, Sizes(9, 17, 25))
    more = 4 if plan.hidden else 0
    assert plan.label + plan.shown * (2 + plan.cell) + more <= width
    assert plan.shown + plan.hidden == runs and plan.shown >= 1


# ---- choosing runs


async def test_space_takes_runs_in_and_out_but_leaves_two() -> None:
    async with stage() as it:
        it.picker.focus()
        it.picker.go_to("job-10")
        await it.press("space")
        assert it.app.question.compared == ("job-07", "job-05", "job-03", "job-10")
        it.picker.go_to("job-05")
        await it.press("space")
        assert it.app.question.compared == ("job-07", "job-03", "job-10")
        assert it.picker.key == "job-05"
        for key in ("job-03", "job-10", "job-07"):
            it.picker.go_to(key)
            await it.press("space")
        assert len(it.app.question.compared) == 2


async def test_the_reference_is_pinned_and_let_go() -> None:
    async with stage() as it:
        it.picker.focus()
        it.picker.go_to("job-03")
        await it.press("equals_sign")
        assert it.app.question.reference == "job-03"
        assert "■=03" in it.heads() and "reference ■ 03" in it.facts("runs")
        assert "-41 %" in it.lines(MetricTable)[0]
        await it.press("equals_sign")
        assert it.app.question.reference is None and "■=07" in it.heads()


async def test_a_run_that_is_not_compared_cannot_be_the_reference() -> None:
    async with stage() as it:
        it.picker.focus()
        it.picker.go_to("job-10")
        await it.press("equals_sign")
        assert it.app.question.reference is None


async def test_runs_keep_their_colour_whatever_is_compared() -> None:
    async with stage() as it:
        it.picker.focus()

        def colours() -> dict[str, str]:
            return {line.label: line.style for line in it.pane.chart.lines}

        before = colours()
        it.picker.go_to("job-10")
        await it.press("space")
        after = colours()
        assert before == {name: after[name] for name in before} and len(after) == 4


async def test_enter_opens_a_run() -> None:
    async with stage() as it:
        it.picker.focus()
        it.picker.go_to("job-05")
        await it.press("enter")
        assert it.app.question.job_id == "job-05" and it.app.current_mode == "job"


# ---- curves


async def test_the_chart_has_a_curve_and_a_star_for_each_run_with_evaluations() -> None:
    async with stage(made.compared_five) as it:
        assert sorted(line.label for line in it.pane.chart.lines) == ["05", "07", "08", "10"]
        assert it.pane.chart.lines[-1].label == "07"
        assert sorted(mark.x for mark in it.pane.chart.marks) == [1400, 1600, 1700, 1900]


async def test_the_chart_obeys_the_keys_of_the_job_screen() -> None:
    async with stage() as it:
        it.pane.chart.focus()
        await it.press("X")
        assert it.app.question.compared_view.axis == "epoch"
        assert len(it.pane.chart.marks) == 3 and all(mark.x <= 3 for mark in it.pane.chart.marks)
        await it.press("m")
        assert it.app.question.compared_view.metrics == ("loss",)
        assert "train loss × epoch" in str(it.screen.query_one("#curves TitleLine", TitleLine).title)
        assert it.pane.chart.marks == ()
        await it.press("left")
        reading = str(it.screen.query_one("#curves .reading", Static).render())
        assert all(number in reading for number in ("03", "05", "07"))


# ---- advice and what follows from it


async def test_the_recommendation_gives_reasons_and_names_the_losers() -> None:
    async with stage() as it:
        assert "Keep support-qwen-07, checkpoint 1600." in it.advice
        assert "26 % below" in it.advice
        assert "a archives 05, 03, d deletes (28.4 GB here" in it.advice


async def test_long_sentences_hang() -> None:
    async with stage(size=(80, 24)) as it:
        await it.press("tab", "tab", "tab")
        lines = it.advice.splitlines()
        assert any(line.startswith("  ") for line in lines)
        assert max(map(len, lines)) <= 80 - 4


async def test_archive_and_delete_take_the_losers_and_delete_asks() -> None:
    async with stage() as it:
        await it.press("a")
        assert _last(it) == ("ArchiveJobs", ("job-05", "job-03"))
        await it.press("d")
        text = " ".join(str(part.render()) for part in it.app.screen.query(Static))
        assert "Delete these 2 runs?" in text and "28.4 GB here" in text
        await it.press("escape")
        assert len(it.desk.wishes) == 1
        await it.press("d", "y", "z")
        assert [type(wish).__name__ for wish in it.desk.wishes[1:]] == ["DeleteJobs", "UndoLast"]


async def test_runs_that_cannot_be_compared_are_not_judged() -> None:
    async with stage(made.not_comparable) as it:
        assert "can't be compared" in it.advice and "2048 tokens" in it.advice
        await it.press("a", "d")
        assert it.desk.wishes == [] and it.app.screen is it.screen


def test_neither_live_nor_hidden_runs_nor_the_best_are_losers() -> None:
    best, bad = made.ended(7, 5, 0.6), made.ended(5, 9, 0.95)
    live = made.ended(4, 1, 0.95, status=Status.RUNNING)
    hidden = replace(made.ended(3, 9, 0.95), archived_at=made.NOW)
    found = losers(compare([best, bad, live, hidden], {}))
    assert [job.id for job in found] == ["job-05"]
    assert losers(None) == ()


# ---- panes


async def test_tab_goes_round_the_panes_and_back() -> None:
    async with stage() as it:
        order = list(PANES)
        assert it.front == order[0]
        for name in (*order[1:], order[0]):
            await it.press("tab")
            assert it.front == name
            assert it.app.focused in it.screen.query(f"#{name} *")
        await it.press("shift+tab")
        assert it.front == order[-1]


async def test_a_small_terminal_shows_one_pane_at_a_time() -> None:
    async with stage(size=(80, 24)) as it:
        for _ in PANES:
            shown = [name for name in PANES if it.screen.query_one(f"#{name}").region.height > 0]
            assert shown == [it.front]
            assert it.screen.query_one(f"#{it.front}").region.width == 80
            await it.press("tab")
        await it.pilot.click("PaneTabs", offset=(12, 0))
        await settled(it.pilot)
        assert it.front == "curves"


async def test_all_panes_come_back_when_the_terminal_grows() -> None:
    async with stage(size=(80, 24)) as it:
        await it.press("tab", "tab")
        await it.pilot.resize_terminal(120, 40)
        await settled(it.pilot)
        assert all(it.screen.query_one(f"#{name}").region.height > 0 for name in PANES)
        assert it.screen.query_one("#differences").region.width <= 60
        assert it.screen.query_one(Chart).region.width >= 50


# ---- edges


async def test_without_two_runs_the_screen_says_how_to_come_to_a_comparison() -> None:
    async with stage(made.nothing) as it:
        assert "mark two or more with space" in str(it.screen.query_one(".empty", Static).render())
        for key in ("a", "d", "c", "s", "o", "m", "tab", "space", "equals_sign", "enter"):
            await it.press(key)
        assert it.desk.wishes == [] and it.app.question.compared == ()


async def test_with_nothing_chosen_one_key_compares_the_best_run_with_the_newest_others() -> None:
    async with stage(made.history) as it:
        assert "c here compares 3 runs of Qwen/Qwen2.5-7B-Instruct" in str(
            it.screen.query_one(".empty", Static).render()
        )
        it.desk.answer = made.compared
        await it.press("c")
        assert it.app.question.compared == ("job-07", "job-10", "job-09")
        assert it.app.focused is it.table
        await it.press("c")
        assert it.app.question.compared == ("job-07", "job-10", "job-09")


async def test_one_comes_from_history_to_a_comparison_that_is_there_already() -> None:
    desk = FakeDesk(made.compared)
    app = PodiumApp(desk, "history")
    async with app.run_test(size=(120, 40)) as pilot:
        await settled(pilot)
        await press(pilot, "2")
        it = Stage(app, desk, pilot)
        assert "■=07" in it.heads() and "7 of 30" in it.facts("metrics")
        await press(pilot, "3", "2")
        assert "Keep support-qwen-07" in it.advice


async def test_the_comparison_comes_and_goes() -> None:
    async with stage() as it:
        it.desk.answer = made.history
        it.desk.changed()
        await settled(it.pilot)
        assert it.screen.query_one(".empty").display and it.screen.query_one("#panes").region.height == 0
        it.desk.answer = made.compared_five
        it.desk.changed()
        await settled(it.pilot)
        assert "■ 10" in it.heads()


@pytest.mark.parametrize("other", ["job-11", "job-02", "job-09"], ids=["live", "failed", "cancelled"])
async def test_runs_that_did_not_end_well_can_be_compared(other: str) -> None:
    async with stage(lambda question: made.compared(question, "job-07", other)) as it:
        assert it.lines(MetricTable)[0].split()[3] == "0.6686"


async def test_old_runs_without_best_values_and_exact_ties_are_shown() -> None:
    bare: dict[str, Any] = {
        "best_step": None,
        "best_epoch": None,
        "best_checkpoint_score": None,
        "cost_total": None,
        "elapsed_seconds": None,
        "gpu_utilization_percent": None,
        "total_epochs": None,
        "config": {},
        "metadata": {},
    }
    old, twin = made.ended(1, 3, 0.7, **bare), made.ended(2, 2, 0.7, **bare)
    async with stage(_just(old, twin)) as it:
        lines = it.lines(MetricTable)
        assert lines[0].split()[-2:] == ["0.7000", "0.7000"]
        assert lines[1].split()[-1] == "—"


async def test_hostile_names_tags_settings_and_errors_are_harmless_text() -> None:
    for name in HOSTILE.values():
        bad = made.ended(
            1,
            1,
            0.9,
            name=name,
            base_model=name,
            tags=(name,),
            config={name: name, "dataset": {"path": name + "/a"}},
        )
        worse = made.ended(2, 2, 1.9, name=name, base_model=name, config={name: name * 2})
        async with stage(_just(bad, worse), size=(200, 50)) as it:
            shown = "\n".join(
                line for kind in (MetricTable, RunPicker, DifferenceTable) for line in it.lines(kind)
            )
            shown += it.heads() + it.advice + it.facts("runs")
            assert not set(shown) & set("\x1b\x07\x9b\u202e\u2066\u200b\t")
            if "[" in name:
                assert "[red]" in shown
            assert "owned" not in it.app.export_screenshot()


def _just(*jobs: Job) -> Answer:
    def answer(question: Question) -> Snapshot:
        snapshot = made.snapshot_of(jobs, question)
        checkpoints = {job.id: made.checkpoints_of(job) for job in jobs if job.best_step}
        return replace(snapshot, compared=compare(jobs, checkpoints, reference=question.reference))

    return answer


def test_settings_are_written_shortly() -> None:
    assert [written(value) for value in (None, True, 0, 2e-4, "a\x1b[1mb", ["q", "v"], {"r": 8})] == [
        "—", "yes", "0", "0.0002", "ab", "q, v", "{r: 8}",
    ]  # fmt: skip


def test_long_values_are_cut_to_where_they_differ() -> None:
    assert apart(["/data/support/v1/train.jsonl", "/data/support/v2/train.jsonl"], 10) == ["…v1/…", "…v2/…"]
    assert apart(["cosine", "linear"], 4) == ["cosine", "linear"]
    assert apart(["aaaaaaaa", "aaaaaaaaaa", "—"], 5)[2] == "—"
    assert apart(["8", "16"], 4) == ["8", "16"]


def _order(it: Stage) -> list[str]:
    return [word for word in it.heads().replace("■=", " ").replace("■", " ").split() if word.isdigit()]


def _last(it: Stage) -> tuple[str, tuple[str, ...]]:
    wish = it.desk.wishes[-1]
    return type(wish).__name__, wish.job_ids


# ---- pictures


@pytest.mark.parametrize("size", [(80, 24), (120, 40)], ids=lambda size: f"{size[0]}x{size[1]}")
@pytest.mark.parametrize("answer", [made.compared, made.compared_five], ids=["three", "five"])
def test_the_comparison_looks_as_it_should(snap_compare: Any, answer: Answer, size: tuple[int, int]) -> None:
    app = PodiumApp(FakeDesk(answer), "comparison")
    assert snap_compare(app, terminal_size=size, run_before=settled)


@pytest.mark.parametrize("tabs", range(1, 5), ids=list(PANES)[1:])
def test_each_pane_looks_as_it_should_in_a_small_terminal(snap_compare: Any, tabs: int) -> None:
    async def turn(pilot: Pilot[None]) -> None:
        await settled(pilot)
        await press(pilot, *["tab"] * tabs)

    app = PodiumApp(FakeDesk(made.compared), "comparison")
    assert snap_compare(app, terminal_size=(80, 24), run_before=turn)


def test_a_refusal_looks_as_it_should(snap_compare: Any) -> None:
    app = PodiumApp(FakeDesk(made.not_comparable), "comparison")
    assert snap_compare(app, terminal_size=(120, 40), run_before=settled)
