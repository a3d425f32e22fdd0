"""The History screen, key by key, on made-up runs."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from rich.cells import cell_len
from textual.pilot import Pilot
from textual.widgets import Static

from engine.home import Home
from engine.job.events import Status
from engine.records import Job
from engine.store.sqlite import SQLiteStore
from tests.tui import runs as made
from tests.tui.fabricated import FakeDesk
from tests.tui.stages import HOSTILE, Answer, Stage, staged
from tests.tui.steps import press, settled, until
from tui import wishes
from tui.app import PodiumApp
from tui.desk import EngineDesk
from tui.screens.dialogs import Confirm
from tui.screens.history import HistoryScreen
from tui.what_goes import what_goes
from tui.widgets.command_bar import CommandBar
from tui.widgets.filter_bar import FilterBar
from tui.widgets.marked_bar import MarkedBar
from tui.widgets.run_cells import failed_of
from tui.widgets.run_columns import heading, plan, row
from tui.widgets.run_heading import RunHeading
from tui.widgets.run_line import RunLine
from tui.widgets.run_lines import Order, arrange
from tui.widgets.run_list import RunList
from tui.widgets.run_scene import Scene


class HistoryStage(Stage):
    """The History screen on a fake desk, and what it says."""

    @property
    def screen(self) -> HistoryScreen:
        front = self.app.screen_stack[0]
        assert isinstance(front, HistoryScreen)
        return front

    @property
    def runs(self) -> RunList:
        return self.screen.query_one(RunList)

    @property
    def bar(self) -> FilterBar:
        return self.screen.query_one(FilterBar)

    def said(self, kind: type[RunLine] | type[MarkedBar]) -> str:
        return str(self.screen.query_one(kind).render())

    def lines(self) -> list[str]:
        """What the list shows, line by line."""
        return [self.runs.render_line(y).text.rstrip() for y in range(self.runs.size.height)]

    def line(self, key: str) -> str:
        """What the list shows of a run."""
        row = self.runs.row_of(key)
        assert row is not None
        return self.runs.render_line(row - self.runs.scroll_offset.y).text.rstrip()

    async def type(self, text: str) -> None:
        """Filter by a text, then go back to the list."""
        await self.press("slash")
        self.bar.text = text
        await self.press("enter")


def stage(
    answer: Answer = made.history, size: tuple[int, int] = (120, 40)
) -> AbstractAsyncContextManager[HistoryStage]:
    return staged(HistoryStage, answer, "history", size)


def of(*jobs: Job) -> Answer:
    """A history of exactly these runs."""
    return lambda question: made.snapshot_of(jobs, question)


# ---- what is listed


async def test_runs_stand_under_their_models_live_ones_first_then_the_newest() -> None:
    async with stage() as it:
        lines = it.lines()
        assert "Qwen/Qwen2.5-7B-Instruct" in lines[0] and "11 runs" in lines[0] and "best 0.6686" in lines[0]
        assert "support-qwen-11" in lines[1] and "running 61 %" in lines[1]
        assert [line.split()[0] for line in lines[2:12]] == [f"{n:02}" for n in range(10, 0, -1)]
        assert "Llama-3.2-1B-Instruct" in lines[12] and "consider stopping" in lines[12]


async def test_a_failed_run_says_what_it_failed_of_and_the_best_is_marked() -> None:
    async with stage() as it:
        assert "OOM at step 40" in it.line("job-02")
        assert "★ best" in it.line("job-07") and "0.6686" in it.line("job-07")
        assert "+69 %" in it.line("job-03")


async def test_unknown_values_are_dashes_never_zero() -> None:
    job = made.ended(1, 1, None, cost_total=None, elapsed_seconds=None, size_bytes=None)
    async with stage(of(job)) as it:
        line = it.line(job.id)
        assert line.count("—") >= 4
        assert "$0" not in line and "0 B" not in line and "nan" not in line


@pytest.mark.parametrize("loss", [float("nan"), float("inf")])
async def test_a_loss_that_is_no_number_is_shown_and_never_the_best(loss: float) -> None:
    broken, good = made.ended(1, 2, loss), made.ended(2, 1, 0.9)
    async with stage(of(good, broken)) as it:
        assert ("NaN" if loss != loss else "∞") in it.line(broken.id)
        assert "★ best" in it.line(good.id)


async def test_narrow_lists_keep_status_loss_and_date_and_drop_the_rest() -> None:
    async with stage(size=(80, 24)) as it:
        line = it.line("job-07")
        assert "completed" in line and "0.6686" in line and "Nov 16" in line
        assert "14.2 GB" not in line


async def test_the_line_below_says_more_of_the_run_under_the_cursor() -> None:
    async with stage() as it:
        it.runs.go_to("job-02")
        await it.press("down", "up")
        said = it.said(RunLine)
        assert "support-qwen-02" in said and "79.1 of 80.0 GB in use" in said


# ---- the cursor


async def test_the_cursor_begins_on_the_first_run_and_moves_by_keys() -> None:
    async with stage() as it:
        assert it.runs.key == "job-11"
        await it.press("j", "down", "k")
        assert it.runs.key == "job-10"
        await it.press("G")
        assert it.runs.key == "llama-0001"
        await it.press("g")
        assert it.runs.row == 0
        await it.press("pagedown")
        assert it.runs.row > 20


async def test_a_run_that_arrives_moves_neither_the_cursor_nor_what_is_under_it() -> None:
    every = made.many(10_000)
    async with stage(of(*every)) as it:
        it.runs.go_to(every[5000].id)
        await it.press("down")
        chosen, place = it.runs.key, it.runs.row - it.runs.scroll_offset.y
        new = made.ended(900, 0.01, 0.4, id="new", name="new", base_model="org-0/model-0")
        await it.show(of(new, *every))
        assert it.runs.row_of("new") is not None
        assert it.runs.key == chosen
        assert it.runs.row - it.runs.scroll_offset.y == place
        assert it.app.focused is it.runs


async def test_ten_thousand_runs_are_filtered_right_and_all_can_be_reached() -> None:
    every = made.many(10_000)
    async with stage(of(*every)) as it:
        assert it.runs.matching == 10_000
        await it.type("status:failed model:model-7 -triage")
        wanted = [
            job.id
            for job in every
            if job.status is Status.FAILED
            and job.base_model
            and "model-7" in job.base_model
            and "triage" not in job.name
        ]
        assert it.runs.matching == len(wanted) > 0
        await it.press("asterisk")
        assert set(it.runs.marks) == set(wanted)
        await it.type("")
        await it.press("end")
        assert it.runs.row == 10_000 + 12 - 1


async def test_a_filtered_run_gets_the_cursor_back_when_the_filter_is_dropped() -> None:
    async with stage() as it:
        it.runs.go_to("job-05")
        await it.type("status:failed")
        assert it.runs.key == "job-02"
        await it.press("escape")
        assert it.runs.key == "job-05"


async def test_the_cursor_stays_near_when_its_run_is_gone_for_good() -> None:
    async with stage(of(*made.qwen())) as it:
        it.runs.go_to("job-05")
        row = it.runs.row
        await it.show(of(*(job for job in made.qwen() if job.id != "job-05")))
        assert it.runs.row == row
        assert it.runs.key == "job-04"


# ---- the filter


async def test_each_keystroke_filters() -> None:
    async with stage() as it:
        await it.press("slash")
        await it.press(*"rank")
        assert it.runs.matching == 1
        assert it.bar.summary.startswith("1 of 49 runs")
        await it.press("backspace", "backspace", "backspace", "backspace")
        assert it.runs.matching == 49


async def test_a_filter_that_cannot_be_understood_says_why_and_leaves_the_list() -> None:
    async with stage() as it:
        await it.type("status:failed")
        await it.type("status:failed loss<abc")
        assert "loss needs a number" in str(it.screen.query_one("#found", Static).render())
        assert it.runs.matching == 1
        await it.type("status:nobody loss<abc")
        assert "No run passes" not in str(it.screen.query_one(".empty", Static).render())
        await it.type("status:failed loss<2")
        assert it.bar.error == "" and it.runs.matching == 0


async def test_a_filter_that_nothing_passes_says_how_to_get_out() -> None:
    async with stage() as it:
        await it.type("nosuchrun")
        assert "No run passes this filter" in str(it.screen.query_one(".empty", Static).render())
        assert not it.screen.query_one(RunHeading).visible and "delete" not in it.said(MarkedBar)
        assert "mark" not in str(it.screen.query_one(CommandBar).render())
        await it.press("slash")
        keys = str(it.screen.query_one(CommandBar).render())  # a letter is text here, and no key
        assert keys == "enter to the list  esc drop filter  f1 help  ^p commands"
        await it.press("escape")
        assert it.bar.text == "" and it.runs.matching == 49


async def test_the_right_arrow_completes_the_last_word() -> None:
    async with stage() as it:
        await it.press("slash")
        await it.press(*"loss<2 status:fa")
        await until(it.pilot, lambda: it.bar.query_one("Input")._suggestion)  # type: ignore[attr-defined]
        await it.press("right")
        assert it.bar.text == "loss<2 status:failed"


async def test_escape_in_the_filter_drops_it_and_enter_keeps_it() -> None:
    async with stage() as it:
        await it.press("slash", "q", "enter")
        assert it.app.focused is it.runs and it.bar.text == "q"
        await it.press("slash", "escape")
        assert it.app.focused is it.runs and it.bar.text == ""


# ---- marks


async def test_space_marks_and_goes_on_and_marks_keep_their_order() -> None:
    async with stage() as it:
        it.runs.go_to("job-07")
        await it.press("space", "up", "up", "up", "space")
        assert it.runs.marks == ("job-07", "job-09")
        assert it.line("job-07").lstrip().startswith("■")
        assert "2 marked" in it.said(MarkedBar) and "28.4 GB here · $8.74 of training" in it.said(MarkedBar)
        it.runs.go_to("job-07")
        await it.press("space")
        assert it.runs.marks == ("job-09",)


async def test_a_range_is_marked_between_its_two_ends() -> None:
    async with stage() as it:
        it.runs.go_to("job-08")
        await it.press("v", "down", "down")
        assert it.runs.marks == ()
        assert [it.line(f"job-{n:02}").lstrip()[0] for n in (9, 8, 7, 6, 5)] == ["0", "■", "■", "■", "0"]
        await it.press("v")
        assert it.runs.marks == ("job-08", "job-07", "job-06")


async def test_escape_gives_up_the_range_then_the_marks_then_the_filter() -> None:
    async with stage() as it:
        await it.type("qwen")
        it.runs.go_to("job-08")
        await it.press("space", "v", "down")
        await it.press("escape")
        assert not it.runs.ranging and it.runs.marks == ("job-08",)
        await it.press("escape")
        assert it.runs.marks == () and it.bar.text == "qwen"
        await it.press("escape")
        assert it.bar.text == ""


async def test_star_marks_all_that_match_even_folded_ones_and_again_none() -> None:
    async with stage() as it:
        await it.type("status:completed model:qwen")
        await it.press("h")
        await it.press("asterisk")
        completed = [job.id for job in made.qwen() if job.status is Status.COMPLETED]
        assert sorted(it.runs.marks) == sorted(completed)
        await it.press("asterisk")
        assert it.runs.marks == ()


async def test_space_on_a_model_marks_its_runs_that_match() -> None:
    async with stage() as it:
        await it.type("status:completed")
        await it.press("g", "space")
        assert {job_id for job_id in it.runs.marks if not job_id.startswith("job-")} == set()
        assert len(it.runs.marks) == 8


async def test_marks_of_runs_that_are_gone_go_with_them() -> None:
    async with stage(of(*made.qwen())) as it:
        it.runs.mark(("job-07", "job-05"))
        await it.show(of(*(job for job in made.qwen() if job.id != "job-05")))
        assert it.runs.marks == ("job-07",)


async def test_a_click_on_the_mark_marks_and_a_double_click_opens() -> None:
    async with stage() as it:
        row = it.runs.row_of("job-07")
        assert row is not None
        await it.pilot.click(RunList, offset=(1, row))
        assert it.runs.marks == ("job-07",)
        await it.pilot.click(RunList, offset=(20, row + 1), times=2)
        await settled(it.pilot)
        assert it.app.question.job_id == "job-06"


# ---- order


async def test_the_sort_key_goes_through_the_columns_and_s_shift_turns_round() -> None:
    async with stage(of(*made.qwen())) as it:
        await it.press("m", "s")
        assert it.runs.order == Order("eval", grouped=False)
        assert "support-qwen-07" in it.lines()[0]
        await it.press("S")
        assert "support-qwen-03" in it.lines()[0]
        assert "lowest eval loss first, reversed" in it.bar.summary
        await it.press("s")
        assert it.runs.order.sort == "score" and not it.runs.order.backwards


async def test_a_click_on_a_heading_sorts_by_it_and_again_turns_round() -> None:
    async with stage() as it:
        heading = it.screen.query_one("RunHeading")
        at = str(heading.render()).index("cost")
        await it.pilot.click("RunHeading", offset=(at, 0))
        assert it.runs.order.sort == "cost"
        await it.pilot.click("RunHeading", offset=(at, 0))
        assert it.runs.order.backwards


@pytest.mark.parametrize("sort", ["eval", "score", "time", "cost", "size"])
@pytest.mark.parametrize("backwards", [False, True])
def test_unknown_values_come_last_in_either_direction(sort: str, backwards: bool) -> None:
    blank = made.ended(
        9, 0.1, None, elapsed_seconds=None, cost_total=None, size_bytes=None, best_checkpoint_score=None
    )
    broken = replace(blank, id="nan", best_eval_loss=float("nan"), best_checkpoint_score=float("nan"))
    jobs = [blank, broken, made.ended(1, 3, 0.9), made.ended(2, 2, 0.8)]
    lines = arrange(jobs, Order(sort, backwards, grouped=False))
    assert {line.id for line in lines[2:] if isinstance(line, Job)} == {"job-09", "nan"}


def test_equal_runs_stand_newest_first() -> None:
    jobs = [made.ended(number, number, 0.9, cost_total=1.0) for number in (3, 1, 2)]
    lines = arrange(jobs, Order("cost", grouped=False))
    assert [line.number for line in lines if isinstance(line, Job)] == [1, 2, 3]


async def test_left_folds_a_model_and_right_unfolds_it() -> None:
    async with stage() as it:
        await it.press("left")
        assert it.runs.row == 0 and "▸ Qwen" in it.lines()[0] and "Llama" in it.lines()[1]
        await it.press("right")
        assert "▾ Qwen" in it.lines()[0] and "support-qwen-11" in it.lines()[1]


# ---- wishes


async def test_archive_takes_the_marked_runs_else_the_one_under_the_cursor() -> None:
    async with stage() as it:
        it.runs.go_to("job-05")
        await it.press("a")
        assert _last(it) == ("ArchiveJobs", ("job-05",))
        it.runs.mark(("job-03", "job-02"))
        await it.press("a")
        assert _last(it) == ("ArchiveJobs", ("job-03", "job-02"))


async def test_delete_asks_with_a_list_of_what_goes_and_does_it_only_on_yes() -> None:
    async with stage() as it:
        it.runs.mark(("job-07", "job-03"))
        await it.press("d")
        dialog = it.app.screen
        assert isinstance(dialog, Confirm)
        text = " ".join(str(part.render()) for part in dialog.query(Static))
        assert "Delete these 2 runs?" in text
        assert "07 support-qwen-07   12 checkpoints  14.2 GB    $4.32" in text
        assert "28.4 GB here · $8.44 of training" in text
        assert "support-qwen-07 is the best of its model" in text
        await it.press("n")
        assert it.desk.wishes == []
        await it.press("d", "y")
        assert _last(it) == ("DeleteJobs", ("job-07", "job-03"))


async def test_a_live_run_is_never_deleted() -> None:
    async with stage() as it:
        it.runs.mark(("job-11",))
        await it.press("d")
        assert it.app.screen is it.screen
        it.runs.mark(("job-11", "job-03"))
        await it.press("d", "y")
        assert _last(it) == ("DeleteJobs", ("job-03",))


@pytest.mark.parametrize("key", ["z", "u"])
async def test_undo_is_one_key(key: str) -> None:
    async with stage() as it:
        await it.press(key)
        assert _last(it)[0] == "UndoLast"


async def test_hidden_runs_are_one_key_away_and_can_be_restored() -> None:
    async with stage() as it:
        assert it.runs.row_of("old-1") is None
        assert "restore" not in it.said(MarkedBar)
        await it.press("full_stop")
        assert it.app.question.show_hidden
        it.runs.go_to("old-1")
        await it.press("down", "up")
        assert "archived" in it.line("old-1") and "in trash" in it.line("old-2")
        assert "r restore" in it.said(MarkedBar) and "a archive" not in it.said(MarkedBar)
        await it.press("r")
        assert _last(it) == ("RestoreJobs", ("old-1",))
        await it.press("full_stop")
        assert not it.app.question.show_hidden and it.runs.row_of("old-1") is None


async def test_a_key_that_needs_a_run_does_nothing_without_one() -> None:
    async with stage(made.nothing) as it:
        for key in ("a", "d", "r", "space", "v", "asterisk", "enter", "c", "y", "s", "left", "G"):
            await it.press(key)
        assert it.desk.wishes == [] and it.app.screen is it.screen


async def test_enter_opens_the_run_on_the_job_screen() -> None:
    async with stage() as it:
        it.runs.go_to("job-05")
        await it.press("enter")
        assert it.app.question.job_id == "job-05"
        assert it.app.screen_stack[0].name == "job" or it.app.current_mode == "job"


async def test_what_is_marked_is_what_the_comparison_screen_shows() -> None:
    async with stage() as it:
        it.runs.mark(("job-07", "job-05"))
        await settled(it.pilot)
        assert it.app.question.compared == ("job-07", "job-05")
        it.runs.mark(("job-03", "job-05"))
        await it.press("c")
        assert it.app.question.compared == ("job-03", "job-05")
        assert it.app.current_mode == "comparison"


async def test_compare_without_marks_sets_the_run_beside_the_best_of_its_model() -> None:
    async with stage() as it:
        it.runs.go_to("job-03")
        await it.press("c")
        assert it.app.question.compared == ("job-07", "job-03")


async def test_the_id_is_copied() -> None:
    async with stage() as it:
        it.runs.go_to("job-05")
        await it.press("y")
        assert it.app.clipboard == "job-05"


async def test_the_last_line_can_be_clicked() -> None:
    async with stage() as it:
        it.runs.go_to("job-05")
        await settled(it.pilot)
        at = it.said(MarkedBar).index("a archive")
        await it.pilot.click(MarkedBar, offset=(at + 3, 0))
        await settled(it.pilot)
        assert _last(it) == ("ArchiveJobs", ("job-05",))


async def test_ages_grow_though_no_run_changed() -> None:
    async with stage() as it:
        assert "heard from 2 s ago" in it.said(RunLine)
        snapshot = it.app.snapshot
        assert snapshot is not None
        it.app.snapshot = replace(snapshot, taken_at=snapshot.taken_at + timedelta(seconds=40))
        await settled(it.pilot)
        assert "heard from 42 s ago" in it.said(RunLine)


def _last(it: HistoryStage) -> tuple[str, tuple[str, ...]]:
    wish: wishes.Wish = it.desk.wishes[-1]
    return type(wish).__name__, wish.job_ids


# ---- what comes from elsewhere is text


async def test_names_tags_models_and_errors_are_shown_as_harmless_text() -> None:
    async with stage(size=(200, 50)) as it:
        for name in HOSTILE.values():
            failed: dict[str, Any] = {"status": Status.FAILED, "error_message": name, "best_eval_loss": None}
            bad = made.ended(1, 1, None, name=name, base_model=name, tags=(name,), gpu_type=name, **failed)
            good = made.ended(2, 2, 0.8, name=name, base_model=name)
            await it.show(of(bad, good))
            it.runs.go_to(bad.id)
            shown = "\n".join(it.lines()) + it.said(RunLine)
            assert not set(shown) & set("\x1b\x07\x9b\u202e\u2066\u200b\t")
            if "[" in name:
                assert "[red]not red[/red]" in shown
            assert sum(map(bool, it.lines())) == 3 and all(line.count("\n") == 0 for line in it.lines())
            assert "owned" not in it.app.export_screenshot()
            it.runs.go_to(good.id)
            await it.press("d")
            text = "".join(str(part.render()) for part in it.app.screen.query(Static))
            assert not set(text) & set("\x1b\x07\x9b\u202e\u2066\u200b\t")
            await it.press("escape")


# ---- what a deletion takes away


def test_nothing_goes_when_nothing_is_chosen() -> None:
    assert what_goes([], made.qwen()) == ""


def test_a_long_list_names_the_first_and_sums_up_all() -> None:
    every = made.many(100)
    text = what_goes(every, every)
    assert text.startswith("Delete these 100 runs?")
    assert "and 94 more" in text
    assert "1.4 TB here" in text


def test_sizes_that_nobody_knows_are_not_taken_for_nothing() -> None:
    known, unknown = made.ended(1, 1, 0.9), made.ended(2, 2, 0.8, size_bytes=None, checkpoint_count=None)
    text = what_goes([known, unknown], [known, unknown])
    assert "at least 14.2 GB here" in text and "—" in text


def test_every_line_fits_the_dialog() -> None:
    every = [made.ended(number, number, 0.9, name="模" * 50, cost_total=12345.678) for number in range(1, 30)]
    assert max(cell_len(line) for line in what_goes(every, every).splitlines()) <= 59


# ---- empty, and pictures


async def test_an_empty_history_says_how_to_begin() -> None:
    async with stage(made.nothing) as it:
        assert "podium demo" in str(it.screen.query_one(".empty", Static).render())


@pytest.mark.parametrize("size", [(80, 24), (120, 40)], ids=lambda size: f"{size[0]}x{size[1]}")
def test_the_history_looks_as_it_should(snap_compare: Any, size: tuple[int, int]) -> None:
    async def marked(pilot: Pilot[None]) -> None:
        await settled(pilot)
        pilot.app.screen.query_one(RunList).mark(("job-07", "job-05"))
        await press(pilot, "down", "down")

    assert snap_compare(PodiumApp(FakeDesk(made.history), "history"), terminal_size=size, run_before=marked)


def test_the_question_before_a_deletion_looks_as_it_should(snap_compare: Any) -> None:
    async def asked(pilot: Pilot[None]) -> None:
        await settled(pilot)
        ended = [job.id for job in made.qwen() if job.status.ended]
        pilot.app.screen.query_one(RunList).mark(ended)
        await press(pilot, "d")

    assert snap_compare(
        PodiumApp(FakeDesk(made.history), "history"), terminal_size=(80, 24), run_before=asked
    )


def test_a_new_machine_looks_as_it_should(snap_compare: Any) -> None:
    app = PodiumApp(FakeDesk(made.nothing), "history")
    assert snap_compare(app, terminal_size=(80, 24), run_before=settled)


# ---- with the real engine behind the desk


async def test_archive_delete_and_undo_come_back_from_a_real_store(home: Path) -> None:
    place = Home(home)
    place.create()
    store = SQLiteStore(place.database)
    for job in made.qwen()[1:5]:
        store.add(replace(job, provider="local"))
        place.job(job.id).path.mkdir(parents=True)
    store.close()
    app = PodiumApp(EngineDesk(place), "history")
    async with app.run_test(size=(120, 40)) as pilot:
        runs: RunList = app.screen.query_one(RunList)
        await until(pilot, lambda: runs.matching == 4)
        runs.mark(("job-10", "job-08"))
        await pilot.press("a")
        await until(pilot, lambda: runs.matching == 2)
        assert runs.marks == ()
        await pilot.press("z")
        await until(pilot, lambda: runs.matching == 4)
        runs.go_to("job-08")
        await pilot.press("d")
        await until(pilot, lambda: isinstance(app.screen, Confirm))
        await pilot.press("y")
        await until(pilot, lambda: runs.row_of("job-08") is None)
        assert place.trashed("job-08").exists()
        await pilot.press("full_stop")
        await until(pilot, lambda: runs.row_of("job-08") is not None)
        runs.go_to("job-08")
        await pilot.press("r")
        await until(pilot, lambda: runs.job is not None and not runs.job.deleted)
        assert place.job("job-08").path.exists()


@pytest.mark.parametrize(
    ("error", "said"),
    [
        ("CUDA out of memory: 79.1 of 80.0 GB in use.", "OOM at step 40"),
        ("torch.OutOfMemoryError on cuda:0", "OOM at step 40"),
        ("OOM", "OOM at step 40"),
        ("bigscience/bloom-560m is not there", "bigscience/bloom-560m is not there at step 40"),
        ("no room on the disk", "no room on the disk at step 40"),
        ("first line\nsecond line", "first line at step 40"),
        (None, "no reason known at step 40"),
    ],
)
def test_a_failed_run_says_what_it_failed_of_in_a_few_words(error: str | None, said: str) -> None:
    assert (
        failed_of(made.ended(1, 1, None, status=Status.FAILED, error_message=error, current_step=40)) == said
    )


@pytest.mark.parametrize("width", range(20, 220, 7))
def test_a_run_and_its_headings_fill_the_width_alike(width: int) -> None:
    every = made.qwen()
    columns = plan(width, 2, max(len(job.name) for job in every))
    scene = Scene.of(every, made.NOW)
    lengths = {row(job, columns, scene, False).cell_length for job in every}
    assert lengths == {heading(columns, "eval", True).cell_length}
    assert width < 60 or lengths.pop() <= width
