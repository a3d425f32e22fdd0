"""The Comparison screen, key by key, on made-up runs that the real comparison judges."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.cells import cell_len
from textual.pilot import Pilot
from textual.widgets import Input, Static

from engine.analysis.comparison import Cell, Correlation, Row, compare
from engine.analysis.snapshot import Question, Snapshot
from engine.home import Home
from engine.job.events import Status
from engine.records import Job, SavedComparison
from engine.store.sqlite import SQLiteStore
from tests.tui import runs as made
from tests.tui.fabricated import FakeDesk
from tests.tui.stages import HOSTILE, Answer, Stage, staged
from tests.tui.steps import press, settled, until
from tui import wishes
from tui.app import PodiumApp
from tui.desk import EngineDesk
from tui.memory import recalled, remembered
from tui.screens.comparison import PANES, ComparisonScreen
from tui.screens.comparison_commands import ChooseThreshold
from tui.screens.dialogs import Confirm
from tui.screens.entry import Entry
from tui.screens.saved import Saved
from tui.widgets.chart import Chart
from tui.widgets.difference_table import DifferenceTable, apart, together, written
from tui.widgets.line_list import LineList
from tui.widgets.metric_cells import delta, metric_line
from tui.widgets.metric_filter import matches
from tui.widgets.metric_table import MetricTable, NextValue
from tui.widgets.overlay_pane import OverlayPane, overlaid
from tui.widgets.recommendation import RecommendationPanel, losers
from tui.widgets.run_heads import RunHeads
from tui.widgets.run_picker import RunPicker, TogglePicked
from tui.widgets.side_by_side import Grid, Sizes, grid
from tui.widgets.title_line import TitleLine


class ComparisonStage(Stage):
    """The Comparison screen on a fake desk, and what it says."""

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


def stage(
    answer: Answer = made.compared, size: tuple[int, int] = (120, 40), desk: FakeDesk | None = None
) -> AbstractAsyncContextManager[ComparisonStage]:
    return staged(ComparisonStage, answer, "comparison", size, desk)


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
        assert it.facts("metrics") == "7 of 32"
        await it.press("m")
        assert it.facts("metrics") == "32 of 32"
        await it.press("o")
        assert "only what differs" in it.facts("metrics")
        assert len(it.table.rows) < 32 and all(row.differs for row in it.table.rows)
        await it.press("o", "m")
        assert it.facts("metrics") == "7 of 32"


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


def test_a_value_and_its_total_move_together_before_either_is_cut() -> None:
    row = Row("best_step", "best step", "number", "none", (Cell(1600, of=2000), Cell(900, of=2000)))
    assert str(metric_line(row, (0, 1), Grid(10, 10, 2))).split()[2:] == ["1600/2000", "900", "/", "2000"]


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
        stars = sorted((mark.x, mark.label) for mark in it.pane.chart.marks)
        assert stars == [(1400, "05"), (1600, "07"), (1700, "08"), (1900, "10")]


def test_at_most_five_runs_are_overlaid_and_the_best_is_among_them() -> None:
    jobs = [made.ended(at, at, loss) for at, loss in enumerate((0.9, 0.8, 0.95, 0.85, 0.99, 1.0, 0.5), 1)]
    ids = [job.id for job in overlaid(compare(jobs, {}))]
    assert ids == ["job-01", "job-02", "job-03", "job-04", "job-07"]
    assert len(overlaid(compare(jobs[:5], {}))) == 5


async def test_the_chart_obeys_the_keys_of_the_job_screen() -> None:
    async with stage() as it:
        it.pane.chart.focus()
        await it.press("X")
        assert it.app.question.compared_view.axis == "epoch"
        assert len(it.pane.chart.marks) == 3 and all(mark.x <= 3 for mark in it.pane.chart.marks)
        await it.press("m")
        assert it.app.question.compared_view.metrics == ("eval_loss", "loss")
        assert len(it.pane.chart.lines) == 6 and len(it.pane.chart.marks) == 3
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
        assert "! 05 is 35 % worse than the best" in it.advice
        assert "03 is 69 % worse than the best: a archives 03, d deletes (14.2 GB here" in it.advice


async def test_long_sentences_hang() -> None:
    async with stage(size=(80, 24)) as it:
        await it.press("tab", "tab", "tab")
        lines = it.advice.splitlines()
        assert any(line.startswith("  ") for line in lines)
        assert max(map(len, lines)) <= 80 - 4


async def test_archive_and_delete_take_the_losers_and_delete_asks() -> None:
    async with stage() as it:
        await it.press("a")
        assert _last(it) == ("ArchiveJobs", ("job-03",))
        await it.press("d")
        text = " ".join(str(part.render()) for part in it.app.screen.query(Static))
        assert "Delete support-qwen-03?" in text and "14.2 GB" in text
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


async def test_tabs_that_come_at_once_are_all_counted() -> None:
    async with stage(size=(80, 24)) as it:
        for _ in range(3):
            it.screen.on_next_pane()
        await settled(it.pilot)
        assert it.front == list(PANES)[3]
        assert it.screen.focused in it.screen.query(f"#{it.front} *")


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
        assert "n launches one" in str(it.screen.query_one(".empty", Static).render())
        for key in ("a", "d", "c", "s", "o", "m", "tab", "space", "equals_sign", "enter"):
            await it.press(key)
        assert it.desk.wishes == [] and it.app.question.compared == ()
        await it.press("u")  # what was archived last may have been what was compared
        assert isinstance(it.desk.wishes[-1], wishes.UndoLast)
        await it.show(lambda question: replace(made.snapshot_of(made.llama(2)), compared=None))
        assert "mark two or more with space" in str(it.screen.query_one(".empty", Static).render())


async def test_with_nothing_chosen_the_best_run_stands_beside_the_newest_others_at_once() -> None:
    async with stage(made.best_preselected) as it:
        assert it.app.question.compared == ("job-07", "job-10", "job-09")
        assert "■=07" in it.heads()
        assert it.app.focused is it.table


async def test_what_was_suggested_can_be_had_again_with_one_key() -> None:
    async with stage(made.history) as it:
        assert "c here compares 3 runs of Qwen/Qwen2.5-7B-Instruct" in str(
            it.screen.query_one(".empty", Static).render()
        )
        it.desk.answer = made.compared
        await it.press("c")
        assert it.app.question.compared == ("job-07", "job-10", "job-09")


async def test_one_comes_from_history_to_a_comparison_that_is_there_already() -> None:
    desk = FakeDesk(made.compared)
    app = PodiumApp(desk, "history")
    async with app.run_test(size=(120, 40)) as pilot:
        await settled(pilot)
        await press(pilot, "2")
        it = ComparisonStage(app, desk, pilot)
        assert "■=07" in it.heads() and "7 of 32" in it.facts("metrics")
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
        runs = "\n".join(it.lines(RunPicker))
        assert "★ best" in runs and "= best" in runs and "+0.0 %" not in runs


async def test_hostile_names_tags_settings_and_errors_are_harmless_text() -> None:
    async with stage(size=(200, 50)) as it:
        for name in HOSTILE.values():
            config = {name: name, "dataset": {"path": name + "/a"}}
            bad = made.ended(1, 1, 0.9, name=name, base_model=name, tags=(name,), config=config)
            worse = made.ended(2, 2, 1.9, name=name, base_model=name, config={name: name * 2})
            await it.show(_just(bad, worse))
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


def _order(it: ComparisonStage) -> list[str]:
    return [word for word in it.heads().replace("■=", " ").replace("■", " ").split() if word.isdigit()]


def _last(it: ComparisonStage) -> tuple[str, tuple[str, ...]]:
    wish = it.desk.wishes[-1]
    return type(wish).__name__, wish.job_ids


# ---- values, filter, overlays, bars


async def test_another_value_of_the_curves_can_be_taken_and_every_metric_of_any_run_is_there() -> None:
    async with stage() as it:
        await it.press("slash", *"eval", "enter")
        assert it.app.focused is it.table and "/eval" in it.facts("metrics")
        names = [row.name for row in it.table.rows]
        assert "eval_entropy" in names and "cost_total" not in names
        row = it.table.row_of("eval_entropy")
        assert row is not None
        assert it.lines(MetricTable)[row].split()[-3:] == ["1.5", "1.5", "1.5"]
        await it.press("t", "t")
        assert it.app.question.statistic == "max"
        assert "highest" in it.lines(MetricTable)[row]
        assert it.lines(MetricTable)[row].split()[2:] == ["highest", "10", "8", "6"]
        await it.press("slash", "escape")
        assert "/eval" not in it.facts("metrics") and "highest" in it.facts("metrics")


@pytest.mark.parametrize(
    ("text", "name", "shown"),
    [
        ("", "loss", True),
        ("LOSS", "eval loss", True),
        ("eval loss", "train loss", False),
        ("!score loss", "score: eval loss", False),
        ("!score loss", "eval loss", True),
        ("!", "loss", True),
    ],
)
def test_a_metric_passes_with_all_words_and_none_that_is_turned_round(
    text: str, name: str, shown: bool
) -> None:
    assert matches(text, name) is shown


async def test_the_pane_draws_scores_any_metric_and_bars() -> None:
    async with stage() as it:
        it.pane.chart.focus()
        await it.press("m", "m", "m")
        assert it.app.question.compared_view.metrics == ("score", "eval_loss")
        await it.press("M", "M", "M", "M")
        assert it.app.question.compared_view.metrics == ("eval_entropy",)
        await it.press("b")
        bars = str(it.pane.query_one(".bars", Static).render())
        assert "training time" in bars and "█" in bars and "2 h 06 min" in bars
        assert not it.pane.chart.display
        await it.press("b", "X")
        assert it.pane.chart.display and it.app.question.compared_view.axis == "epoch"


async def test_what_went_with_the_result_is_told_with_its_number_of_runs() -> None:
    async with stage() as it:
        assert "ρ" in it.lines(DifferenceTable)[5] and "runs" in it.lines(DifferenceTable)[5]


def test_few_runs_are_warned_of() -> None:
    assert str(together(Correlation("lora.r", -0.8, 5, True), 40)).split()[-3:] == ["5", "runs", "few"]


async def test_keys_that_come_before_the_answer_to_the_last_one_go_on_from_it() -> None:
    async with stage() as it:
        for job_id in ("job-10", "job-08"):
            it.picker.go_to(job_id)
            it.picker.on_toggle_picked(TogglePicked())
        for _ in range(2):
            it.table.on_next_value(NextValue())
        await settled(it.pilot)
        assert it.app.question.compared == ("job-07", "job-05", "job-03", "job-10", "job-08")
        assert it.app.question.statistic == "max"
        it.picker.focus()
        it.picker.go_to("job-10")
        await it.press("space")
        assert it.app.question.compared == ("job-07", "job-05", "job-03", "job-08")


# ---- kept


async def test_the_choice_outlives_the_session() -> None:
    desk = FakeDesk(made.compared)
    async with stage(desk=desk) as it:
        it.picker.focus()
        it.picker.go_to("job-10")
        await it.press("space", "equals_sign", "f")
    later = FakeDesk(made.compared)
    later.settings = desk.settings
    async with stage(desk=later) as again:
        question = again.app.question
        assert question.compared == ("job-07", "job-05", "job-03", "job-10")
        assert (question.reference, question.family) == ("job-10", True)
        assert "of the family" in again.facts("runs")


@pytest.mark.parametrize("kept", [None, 3, [], {"compared": [1]}, {"reference": 2, "statistic": "mode"}])
def test_a_choice_that_makes_no_sense_is_not_taken(kept: Any) -> None:
    assert recalled(kept) == {}
    assert recalled(remembered(Question(compared=("a",), family=True)))["compared"] == ("a",)


async def test_a_comparison_is_saved_with_name_and_notes_and_opened_or_forgotten_again() -> None:
    saved = SavedComparison("c1", "lr sweep", ("job-10", "job-08"), made.NOW, "job-08", "two\nlines")

    def answer(question: Question) -> Snapshot:
        return replace(made.compared(question), saved=(saved,))

    async with stage(answer) as it:
        await it.press("w", *"lr", "enter", *"hm", "enter")
        wish = it.desk.wishes[-1]
        assert isinstance(wish, wishes.SaveComparison)
        assert (wish.job_ids, wish.reference, wish.name, wish.notes) == (
            ("job-07", "job-05", "job-03"), None, "lr", "hm",
        )  # fmt: skip
        await it.press("w", *"lr sweep", "enter", "enter")
        assert isinstance(it.app.screen, Confirm)  # other runs are saved under that name
        await it.press("n")
        assert it.desk.wishes[-1] is wish
        await it.press("w", "enter")
        assert isinstance(it.app.screen, Entry)  # a name is needed
        await it.press("escape", "W", "enter")
        assert it.app.question.compared == ("job-10", "job-08")
        assert it.app.question.reference == "job-08"
        assert 'saved as "lr sweep"' in it.facts("runs")
        await it.press("W", "d")
        assert isinstance(it.app.screen, Confirm)
        await it.press("y")
        wish = it.desk.wishes[-1]
        assert isinstance(wish, wishes.ForgetComparison) and wish.comparison_id == "c1"


async def test_a_comparison_is_exported_to_a_file_and_copied() -> None:
    async with stage() as it:
        await it.press("e")
        entry = it.app.screen.query_one(Input)
        assert entry.value.endswith("comparison.html")
        entry.value = "/tmp/x.csv"
        await it.press("enter")
        wish = it.desk.wishes[-1]
        assert isinstance(wish, wishes.ExportComparison)
        assert wish.path == "/tmp/x.csv" and len(wish.comparison.jobs) == 3
        await it.press("y")
        assert "| best eval loss | **0.6686** |" in it.app.clipboard


# ---- acting on runs


async def test_in_the_list_of_runs_keys_act_on_the_run_under_the_cursor() -> None:
    hidden = replace(made.ended(4, 14, 0.7302), archived_at=made.NOW)

    def answer(question: Question) -> Snapshot:
        snapshot = made.compared(question)
        jobs = tuple(hidden if job.id == "job-04" else job for job in snapshot.jobs)
        return replace(snapshot, jobs=jobs)

    async with stage(answer) as it:
        it.picker.focus()
        it.picker.go_to("job-10")
        await it.press("a", "r")
        assert [_last(it)] == [("ArchiveJobs", ("job-10",))]
        it.picker.go_to("job-04")
        await it.press("r", "a")
        assert _last(it) == ("RestoreJobs", ("job-04",))
        it.picker.go_to("job-11")  # it lives
        await it.press("d")
        assert it.app.screen is it.screen
        it.picker.go_to("job-08")
        await it.press("p")
        assert _last(it) == ("PullBest", ("job-08",))


async def test_the_best_is_downloaded_and_all_that_are_far_worse_are_archived_at_once() -> None:
    async with stage() as it:
        await it.press("p", "A")
        assert [(type(wish).__name__, wish.job_ids) for wish in it.desk.wishes] == [
            ("PullBest", ("job-07",)),
            ("ArchiveJobs", ("job-03",)),
        ]


async def test_deploying_asks_where_to_and_shows_the_price_first() -> None:
    async with stage() as it:
        it.desk.costs = "Deploy it?\n$1.10 an hour while a worker runs"
        await it.press("D")
        repo, served = it.app.screen.query(Input)
        repo.value, served.value = "me/it", "l40s"
        await it.press("enter", "enter")
        shown = " ".join(str(part.render()) for part in it.app.screen.query(Static))
        assert "$1.10 an hour" in shown and it.desk.wishes == []
        await it.press("n")
        assert it.desk.wishes == []
        await it.press("D")
        it.app.screen.query(Input).first().value = "me/it"
        it.desk.costs = ""
        await it.press("enter", "enter")
        wish = it.desk.wishes[-1]
        assert isinstance(wish, wishes.DeployBest)
        assert (wish.job_ids, wish.repo, wish.serverless, wish.gpu) == (("job-07",), "me/it", False, None)


async def test_the_threshold_is_asked_for_and_kept() -> None:
    async with stage() as it:
        it.screen.post_message(ChooseThreshold())
        await settled(it.pilot)
        it.app.screen.query_one(Input).value = "40 %"
        await it.press("enter")
        wish = it.desk.wishes[-1]
        assert isinstance(wish, wishes.ArchiveAbove) and wish.fraction == 0.4
        for wrong in ("no", "-1", "nan"):
            it.screen.post_message(ChooseThreshold())
            await settled(it.pilot)
            it.app.screen.query_one(Input).value = wrong
            await it.press("enter")
        assert len(it.desk.wishes) == 1


async def test_with_a_real_store_a_comparison_is_saved_exported_and_there_again(home: Path) -> None:
    place = Home(home)
    place.create()
    store = SQLiteStore(place.database)
    for job in made.qwen()[1:5]:
        store.add(replace(job, provider="local"))
    store.close()
    page = home / "page.html"
    app = PodiumApp(EngineDesk(place), "comparison")
    async with app.run_test(size=(120, 40)) as pilot:
        await until(pilot, lambda: app.snapshot is not None and app.snapshot.compared is not None)
        await pilot.press("w")
        # Letters that come before the dialog would be keys of the screen.
        await until(pilot, lambda: isinstance(app.screen, Entry))
        await pilot.press(*"mine", "enter", "enter")
        await until(pilot, lambda: app.snapshot is not None and len(app.snapshot.saved) == 1)
        await pilot.press("e")
        await until(pilot, lambda: isinstance(app.screen, Entry))
        app.screen.query_one(Input).value = str(page)
        await pilot.press("enter")
        await until(pilot, page.exists)
        chosen = app.question.compared
    assert "<title>mine</title>" in page.read_text(encoding="utf-8")
    again = PodiumApp(EngineDesk(place), "comparison")
    async with again.run_test(size=(120, 40)) as pilot:
        await until(pilot, lambda: again.snapshot is not None and again.snapshot.compared is not None)
        assert again.question.compared == chosen
        await pilot.press("W")
        await until(pilot, lambda: isinstance(again.screen, Saved))
        await pilot.press("d")
        await until(pilot, lambda: isinstance(again.screen, Confirm))
        await pilot.press("y")
        await until(pilot, lambda: again.snapshot is not None and again.snapshot.saved == ())


# ---- more edges


async def test_losses_that_are_no_numbers_and_runs_of_other_lengths_and_metrics_stand_side_by_side() -> None:
    nan = made.ended(1, 3, float("nan"))
    short = made.ended(2, 2, 0.7, current_step=300, status=Status.FAILED, progress=15.0, best_step=300)
    whole = made.ended(3, 1, 0.8)
    async with stage(_just(nan, short, whole)) as it:
        assert it.lines(MetricTable)[0].split()[3:] == ["NaN", "0.7000", "0.8000", "+14", "%"]
        assert "failed at 15 %" in it.advice and "cut short" in it.advice


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
