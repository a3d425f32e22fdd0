"""Tidying, naming, moving and paying on the History screen: by keys on made-up runs, then on a real store."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from textual.binding import Binding
from textual.pilot import Pilot
from textual.widgets import Input, Static

from engine.analysis.curation import Rule
from engine.analysis.snapshot import Question, Snapshot
from engine.analysis.suggestion import Suggestion
from engine.errors import BadInput
from engine.home import Home
from engine.job.events import Status
from engine.store.sqlite import SQLiteStore
from engine.supervisor.locks import Lock
from tests.cli.recorded import GOOD, POOR, record
from tests.tui import runs as made
from tests.tui.fabricated import FakeDesk
from tests.tui.stages import staged
from tests.tui.steps import press, settled, until
from tests.tui.test_history import HistoryStage, of, stage
from tui import run_wishes, wishes
from tui.account import Account, AccountPod
from tui.app import PodiumApp
from tui.desk import EngineDesk
from tui.screens.choosing import ColumnChoice
from tui.screens.dialogs import Confirm
from tui.screens.entry import Entry
from tui.screens.history import HistoryScreen
from tui.screens.ledger import Ledger, LedgerLines
from tui.screens.pods import PodLines, PodsPanel
from tui.widgets.filter_bar import FilterBar
from tui.widgets.line_list import LineList
from tui.widgets.marked_bar import MarkedBar
from tui.widgets.run_list import RunList
from tui.widgets.suggestion_line import SuggestionLine


def told(question: Question) -> Snapshot:
    """A history with a suggestion, saved filters, and time by phase."""
    snapshot = made.history(question)
    chosen = ("job-07", "job-10", "job-08")
    spent = {"provision": 180, "load": 60, "train": 6000, "idle": 120}

    def timed(job: Any) -> Any:
        best = job.completed_at and job.completed_at - timedelta(minutes=20)
        return replace(job, spent=spent, cost_per_hour=1.89, best_at=best)

    return replace(
        snapshot,
        jobs=tuple(map(timed, snapshot.jobs)),
        suggested=Suggestion(made.QWEN, chosen, 2, f"2 new runs of {made.QWEN} were never compared"),
        filters={"bad": "status:failed", "candidates": "tag:candidate loss<0.7"},
    )


async def answer(it: HistoryStage, *texts: str) -> None:
    """Fill the fields of the dialog in front, and take them."""
    await until(it.pilot, lambda: isinstance(it.app.screen, Entry))
    fields = list(it.app.screen.query(Input))
    for field, text in zip(fields, texts, strict=False):
        field.value = text
    await it.press(*["enter"] * len(fields))
    await until(it.pilot, lambda: not isinstance(it.app.screen, Entry))
    await settled(it.pilot)


def said(it: HistoryStage) -> str:
    """What the dialog in front says."""
    return "\n".join(str(part.render()) for part in it.app.screen.query(Static))


# ---- what is said of runs


async def test_tags_notes_and_names_are_asked_for_and_wished() -> None:
    async with stage() as it:
        it.runs.mark(("job-05", "job-03"))
        await it.press("t")
        await answer(it, "+final -debug")
        it.runs.mark(())
        it.runs.go_to("job-07")
        await it.press("w")
        await answer(it, "kept for the demo")
        await it.press("w")
        await answer(it, "")
        await it.press("R")
        assert it.app.screen.query_one(Input).value == "support-qwen-07"
        await answer(it, "the one")
        tag, note, gone, name = it.desk.wishes
        assert (tag.job_ids, tag.text) == (("job-05", "job-03"), "+final -debug")
        assert (note.job_ids, note.note, gone.note) == (("job-07",), "kept for the demo", "")
        assert (name.job_ids, name.name) == (("job-07",), "the one")


async def test_dialogs_about_runs_say_so_where_there_is_none_and_esc_wishes_nothing() -> None:
    async with stage(made.nothing) as it:
        await it.press("t", "w", "R", "e", "K", "C", "P")
        assert it.app.screen is it.screen
    async with stage() as it:
        for key in ("t", "w", "R", "e", "i", "A", "vertical_line"):
            await it.press(key)
            assert it.app.screen is not it.screen
            await it.press("escape")
        assert it.desk.wishes == [] and it.app.screen is it.screen


# ---- filters and columns


async def test_a_filter_is_saved_under_a_name_recalled_completed_and_forgotten() -> None:
    async with stage(told) as it:
        await it.type("status:failed model:qwen")
        await it.press("F")
        await answer(it, "bad-qwen")
        save = it.desk.wishes[-1]
        assert (save.name, save.text) == ("bad-qwen", "status:failed model:qwen")
        await it.press("f", "enter")
        await settled(it.pilot)
        assert it.bar.text == "@bad" and it.runs.matching == 1
        await it.type("@candidates loss>0.9")
        assert it.runs.matching == 0
        await it.type("@nosuch")
        assert "no filter is saved as @nosuch" in it.bar.error
        await it.press("slash")
        it.bar.text = ""
        await it.press(*"@can")
        await until(it.pilot, lambda: it.bar.query_one("Input")._suggestion)  # type: ignore[attr-defined]
        await it.press("right")
        assert it.bar.text == "@candidates" and it.runs.matching == 1
        await it.press("enter", "f", "d")
        assert "It stands for" in said(it)
        await it.press("y")
        assert isinstance(it.desk.wishes[-1], run_wishes.ForgetFilter)


async def test_the_columns_are_chosen_and_come_back_and_can_be_sorted_by() -> None:
    async with stage(told) as it:
        await it.press("vertical_line")
        assert isinstance(it.app.screen, ColumnChoice)
        await it.press("down", "down", "space", "G", "space", "enter")
        names = it.desk.wishes[-1].names
        assert "standing" not in names and names[-1] == "note"
        await it.show(lambda question: replace(told(question), columns=("status", "note", "lr")))
        heading = str(it.screen.query_one("RunHeading").render())
        assert heading.split() == ["#", "name", "status", "lr", "note"]
        await it.press("s", "s", "s")
        assert it.runs.order.sort == "lr"


async def test_a_column_that_is_shown_is_sorted_by() -> None:
    from tui.widgets.run_columns import COLUMNS
    from tui.widgets.run_lines import SORTS, Order, sorted_runs

    assert {column.name for column in COLUMNS} <= set(SORTS)
    every = sorted_runs(made.qwen(), Order("standing", grouped=False))
    losses = [job.best_eval_loss for job in every if job.best_eval_loss is not None]
    assert losses == sorted(losses) and every[-1].best_eval_loss is None


# ---- tidying


async def test_keep_best_takes_the_marked_runs_else_all_that_are_listed() -> None:
    async with stage() as it:
        await it.type("model:qwen status:completed")
        await it.press("K")
        await answer(it, "2")
        wish = it.desk.wishes[-1]
        assert wish.keep == 2 and len(wish.job_ids) == 8
        it.runs.mark(("job-05",))
        await it.press("K")
        await answer(it, "x")
        assert it.desk.wishes[-1] is wish
        await it.press("K")
        await answer(it, "1")
        assert it.desk.wishes[-1].job_ids == ("job-05",)


async def test_a_rule_is_asked_for_and_must_be_one() -> None:
    async with stage() as it:
        await it.press("A")
        await answer(it, "40", "30", "no")
        rule = it.desk.wishes[-1].rule
        assert (rule.worse, rule.days, rule.failed) == (0.4, 30.0, False)
        await it.press("A")
        await answer(it, "-", "-", "no")
        await it.press("A")
        await answer(it, "many", "-", "yes")
        assert len(it.desk.wishes) == 1 and len(it.app._notifications) == 2


async def test_purging_is_there_for_runs_in_the_trash_alone() -> None:
    async with stage() as it:
        await it.press("full_stop")
        it.runs.mark(("old-1", "old-2", "job-05"))
        await settled(it.pilot)
        assert "P purge" in it.said(MarkedBar)
        await it.press("P")
        assert it.desk.wishes[-1].job_ids == ("old-2",)
        it.runs.mark(("job-05",))
        await settled(it.pilot)
        assert "P purge" not in it.said(MarkedBar)
        await it.press("P")
        assert len(it.desk.wishes) == 1


async def test_what_the_desk_says_of_a_wish_is_asked_before_it_is_carried_out() -> None:
    async with stage() as it:
        it.desk.costs = "Keep the best checkpoint of each run: frees 42 GB?\nlist\nof runs"
        it.runs.mark(("job-05",))
        await it.press("K")
        await answer(it, "1")
        assert isinstance(it.app.screen, Confirm) and "frees 42 GB?" in said(it)
        await it.press("n")
        assert it.desk.wishes == []


async def test_how_far_a_long_wish_is_stands_in_the_last_line_and_goes() -> None:
    class Slow(FakeDesk):
        async def carry_out(self, wish: Any, told: Any = print) -> str:
            told("archived 41 of 100 runs")
            await go.wait()
            return ""

    go = asyncio.Event()
    async with staged(HistoryStage, made.history, "history", (120, 40), Slow(made.history)) as it:
        it.runs.mark(("job-05",))
        await it.pilot.press("a")
        await until(it.pilot, lambda: it.said(MarkedBar) == "archived 41 of 100 runs")
        go.set()
        await until(it.pilot, lambda: "1 marked" in it.said(MarkedBar))


# ---- judging


async def test_runs_that_were_never_compared_are_suggested_and_one_key_shows_them() -> None:
    async with stage(told) as it:
        line = it.screen.query_one(SuggestionLine)
        assert line.display and "2 new runs" in str(line.render()) and "C shows them" in str(line.render())
        await it.press("C")
        assert it.app.question.compared == ("job-07", "job-10", "job-08")
        assert it.app.current_mode == "comparison"
    async with stage() as it:
        assert not it.screen.query_one(SuggestionLine).display


async def test_runs_that_were_seen_side_by_side_are_remembered() -> None:
    async with stage(made.best_preselected) as it:
        it.runs.mark(("job-07", "job-05"))
        await settled(it.pilot)
        assert "compared_runs" not in it.desk.settings
        await it.press("2")
        await it.show(made.best_preselected)
        await until(it.pilot, lambda: "compared_runs" in it.desk.settings)
        assert it.desk.settings["compared_runs"] == ["job-05", "job-07"]


async def test_the_ledger_says_where_the_money_went_by_model_week_and_phase() -> None:
    async with stage(told) as it:
        await it.press("dollar_sign")
        assert isinstance(it.app.screen, Ledger)
        table = it.app.screen.query_one(LedgerLines)
        await until(it.pilot, lambda: table.key is not None)
        lines = [table.render_line(y).text for y in range(2)]
        assert any("Qwen" in line and "11" in line for line in lines)
        assert "left nothing that was kept" in said(it)
        await it.press("w")
        await until(it.pilot, lambda: "2026-W47" in table.render_line(0).text)
        await it.press("p")
        await until(it.pilot, lambda: "train" in table.render_line(0).text)
        await it.press("escape")
        assert not isinstance(it.app.screen, Ledger)


def rented(**changes: Any) -> AccountPod:
    values: dict[str, Any] = {"id": "b2", "name": "podium-7f3a", "status": "running", "per_hour": 0.44}
    return AccountPod(**(values | {"reapable": True} | changes))


async def test_the_pods_panel_shows_strays_and_ends_them_when_asked_twice() -> None:
    async with stage() as it:
        await it.press("p")
        assert isinstance(it.app.screen, PodsPanel)
        await until(it.pilot, lambda: "there is no RunPod API key" in said(it))
        await it.press("escape")
        mine = rented(id="a1", name="podium-11", run="support-qwen-11 (running)", per_hour=1.89)
        it.desk.rented = Account(pods=(mine, rented()), volumes=("data (100 GB, EU)",))
        await it.press("p")
        table = it.app.screen.query_one(PodLines)
        await until(it.pilot, lambda: table.pod is not None)
        assert "support-qwen-11" in table.render_line(0).text and "stray" in table.render_line(1).text
        assert "Together $2.33 an hour; 1 of 2 belong to no run here" in said(it) and "data (100" in said(it)
        await it.pilot.press("down", "d")
        await until(it.pilot, lambda: isinstance(it.app.screen, Confirm))
        assert "Terminate podium-7f3a?" in said(it) and "all that is on it" in said(it)
        it.desk.rented = Account(pods=(mine,))
        await it.pilot.press("y")
        await until(it.pilot, lambda: len(table.pods) == 1)
        assert isinstance(it.desk.wishes[-1], run_wishes.EndPod) and it.desk.wishes[-1].pod.id == "b2"


# ---- pictures


@pytest.mark.parametrize("size", [(80, 24), (120, 40)], ids=lambda size: f"{size[0]}x{size[1]}")
@pytest.mark.parametrize("key", ["dollar_sign", "p", "vertical_line", "f"])
def test_the_panels_look_as_they_should(snap_compare: Any, size: tuple[int, int], key: str) -> None:
    async def opened(pilot: Pilot[None]) -> None:
        await settled(pilot)
        await press(pilot, key)

    desk = FakeDesk(told)
    desk.rented = Account(
        pods=(
            rented(id="a1", name="podium-job-11", run="support-qwen-11 (running)", per_hour=1.89, cost=4.2),
            rented(idle_seconds=90000.0, busy_percent=0.0, gpus="1 × RTX 4090", cost=11.3),
            rented(id="c3", name="my-notebook", status="stopped", per_hour=0.02, reapable=False),
        ),
        volumes=("data (100 GB, EU-RO-1)",),
    )
    assert snap_compare(PodiumApp(desk, "history"), terminal_size=size, run_before=opened)


@pytest.mark.parametrize("size", [(80, 24), (120, 40)], ids=lambda size: f"{size[0]}x{size[1]}")
def test_ten_thousand_runs_look_as_they_should(snap_compare: Any, size: tuple[int, int]) -> None:
    every = made.many(10_000)

    async def found(pilot: Pilot[None]) -> None:
        await settled(pilot)
        pilot.app.screen.query_one(FilterBar).text = "model:model-7 loss<1.2"
        await press(pilot, "pagedown", "space")

    app = PodiumApp(FakeDesk(of(*every)), "history")
    assert snap_compare(app, terminal_size=size, run_before=found)


# ---- with the real engine behind the desk


@contextmanager
def kept(home: Path) -> Iterator[SQLiteStore]:
    store = SQLiteStore(Home(home).database)
    try:
        yield store
    finally:
        store.close()


def fill(home: Path, name: str, losses: Any = GOOD) -> None:
    """A finished run whose checkpoints have files."""
    job = record(home, name, losses)
    for step in (20, 40, 60, 80):
        folder = Home(home).job(job.id).checkpoint(step)
        folder.mkdir(parents=True)
        (folder / "model.safetensors").write_bytes(b"x" * 1000)


async def test_a_real_store_is_tagged_noted_thinned_archived_by_rule_deleted_and_purged(home: Path) -> None:
    fill(home, "good")
    fill(home, "poor", POOR)
    desk = EngineDesk(Home(home))
    await desk.open(lambda: None)

    async def wish(wish: wishes.Wish) -> tuple[str, str]:
        return await desk.price(wish), await desk.carry_out(wish)

    try:
        await wish(run_wishes.TagRuns(("good-id", "poor-id"), "+a b"))
        await wish(run_wishes.NoteRuns(("good-id",), "the one"))
        await wish(run_wishes.RenameRun("poor-id", "renamed"))
        await wish(run_wishes.SaveFilter("mine", "tag:a"))
        await wish(run_wishes.ChooseColumns(("status", "note")))
        snapshot = desk.take(Question(suggest=True))
        assert {job.name for job in snapshot.jobs} == {"good", "renamed"}
        assert all(job.tags == ("a", "b") for job in snapshot.jobs)
        assert (snapshot.filters, snapshot.columns) == ({"mine": "tag:a"}, ("status", "note"))
        assert "It stands for tag:a now." in run_wishes.SaveFilter("@mine", "tag:b").warning(snapshot)
        assert run_wishes.SaveFilter("mine", "tag:a").warning(snapshot) == ""
        assert snapshot.suggested is not None and snapshot.suggested.new == 2
        desk.remember("compared_runs", ["good-id", "poor-id"])
        assert desk.take(Question(suggest=True)).suggested is None

        question, done = await wish(run_wishes.KeepBest(("good-id", "poor-id"), 1))
        assert "Keep the best checkpoint of each run: frees 4.0 kB?" in question and "freed" in done
        left = {path.name for path in Home(home).job("good-id").checkpoints.iterdir()}
        assert left == {"checkpoint-40", "checkpoint-80"}

        question, done = await wish(run_wishes.ArchiveByRule(("good-id", "poor-id"), Rule(worse=0.1)))
        assert "Archive 1 run by this rule?" in question and "worse than its model's best" in question
        assert [job.id for job in desk.take(Question()).jobs] == ["good-id"]
        await wish(wishes.UndoLast())

        question, done = await wish(wishes.DeleteJobs(("good-id",)))
        assert "Delete good?" in question and "step      40" in question and "here  ★" in question
        assert "Nowhere else is the best checkpoint of good" in question
        question, done = await wish(run_wishes.PurgeRuns(("good-id",)))
        assert "Purge 1 run from the trash for good?" in question and "can't be undone" in question
        assert "freed" in done and not Home(home).trashed("good-id").exists()
        assert [job.id for job in desk.take(Question(show_hidden=True)).jobs] == ["poor-id"]
    finally:
        await desk.close()


async def test_runs_are_packed_and_taken_in_from_the_screen(home: Path, tmp_path: Path) -> None:
    fill(home, "good")
    heard: list[str] = []
    archive = tmp_path / "runs.tar"
    desk = EngineDesk(Home(home))
    await desk.open(lambda: None)
    wish = run_wishes.ExportRuns(("good-id",), str(archive), "all")
    assert "1 run" in await desk.carry_out(wish, heard.append)
    assert heard[-1] == "packed 100 %"
    await desk.close()
    there = EngineDesk(Home(tmp_path / "there"))
    await there.open(lambda: None)
    assert await there.carry_out(run_wishes.ImportRuns(str(archive))) == "Took in 1 run."
    again = await there.carry_out(run_wishes.ImportRuns(str(archive)))
    assert again == "Took in 0 runs; 1 run here already."
    assert [job.name for job in there.take(Question()).jobs] == ["good"]
    await there.close()


async def test_a_hundred_runs_go_in_one_wish_that_tells_how_far_it_is(home: Path) -> None:
    place = Home(home)
    place.create()
    with kept(home) as store:
        for at in range(100):
            store.add(
                replace(made.ended(at + 1, at, 0.9), id=f"r{at}", provider="local", status=Status.COMPLETED)
            )
            place.job(f"r{at}").path.mkdir()
    heard: list[str] = []
    desk = EngineDesk(place)
    await desk.open(lambda: None)
    every = tuple(f"r{at}" for at in range(100))
    question = await desk.price(wishes.DeleteJobs(every))
    assert "Delete these 100 runs?" in question
    assert (
        await desk.carry_out(wishes.DeleteJobs(every), heard.append) == "Deleted 100 runs. z takes it back."
    )
    assert heard == [f"deleted {at} of 100 runs" for at in range(1, 101)]
    assert len(list(place.trash.iterdir())) == 100
    assert await desk.carry_out(wishes.UndoLast()) == "Took back: delete 100 runs."
    assert len(desk.take(Question()).jobs) == 100
    await desk.close()


async def test_one_run_that_cannot_go_keeps_all_others_too(home: Path) -> None:
    fill(home, "good")
    fill(home, "busy", POOR)
    desk = EngineDesk(Home(home))
    await desk.open(lambda: None)
    lock = Lock(Home(home).job("busy-id").lock)
    assert lock.take()
    with pytest.raises(BadInput, match="can't be deleted"):
        await desk.carry_out(wishes.DeleteJobs(("good-id", "busy-id")))
    lock.release()
    assert {job.id for job in desk.take(Question()).jobs} == {"good-id", "busy-id"}
    assert Home(home).job("good-id").path.exists()
    await desk.close()


def test_no_key_of_the_screen_means_two_things() -> None:
    moves = [each.key for each in LineList.BINDINGS if isinstance(each, Binding)]
    taken = {key: "moving" for keys in moves for key in keys.split(",")}
    for pane in (RunList, HistoryScreen, PodiumApp):
        for command in pane.commands():
            for key in filter(None, command.KEYS.split(",")):
                assert key not in taken, f"{key}: {taken[key]} and {command.__name__}"
                taken[key] = command.__name__
