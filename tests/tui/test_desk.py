"""The desk of the real app, on a real store and a real controller."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from engine.analysis.snapshot import Question
from engine.home import Home
from engine.job.events import Status
from engine.store.sqlite import SQLiteStore
from tests.tui.fabricated import a_job
from tests.tui.steps import settled, until
from tui import run_wishes, wishes
from tui.app import PodiumApp
from tui.desk import DEEDS, KEEPING, EngineDesk
from tui.run_deeds import CURATING


@pytest.fixture
def stocked(home: Path) -> Home:
    """A home with three runs that are over."""
    place = Home(home)
    place.create()
    store = SQLiteStore(place.database)
    for number in (1, 2, 3):
        store.add(a_job(number, status=Status.COMPLETED, phase=None, provider="local"))
    store.close()
    return place


@pytest.fixture
async def desk(stocked: Home) -> AsyncIterator[EngineDesk]:
    desk = EngineDesk(stocked)
    await desk.open(lambda: None)
    yield desk
    await desk.close()


def shown(desk: EngineDesk) -> set[str]:
    return {job.id for job in desk.take(Question()).jobs}


async def test_it_shows_what_the_store_has(desk: EngineDesk) -> None:
    assert shown(desk) == {"job-01", "job-02", "job-03"}


async def test_runs_are_hidden_together_and_one_undo_brings_them_back(desk: EngineDesk) -> None:
    said = await desk.carry_out(wishes.ArchiveJobs(("job-01", "job-02")))
    assert said == "Archived 2 runs. z takes it back."
    assert shown(desk) == {"job-03"}
    assert await desk.carry_out(wishes.UndoLast()) == "Took back: archive 2 runs."
    assert shown(desk) == {"job-01", "job-02", "job-03"}
    assert await desk.carry_out(wishes.UndoLast()) == "There is nothing to take back."


async def test_what_was_said_of_runs_is_taken_back_in_its_turn(desk: EngineDesk) -> None:
    before = {job.id: (job.name, job.tags) for job in desk.take(Question()).jobs}
    said = await desk.carry_out(run_wishes.TagRuns(("job-01", "job-02"), "+final"))
    assert said == "Tagged 2 runs. z takes it back."
    assert await desk.carry_out(run_wishes.RenameRun("job-01", "best")) == (
        "It is called best now. z takes it back."
    )
    assert await desk.carry_out(run_wishes.RenameRun("job-01", "best")) == "Nothing to do."
    assert await desk.carry_out(wishes.UndoLast()) == "Took back: rename 1 run."
    assert await desk.carry_out(wishes.UndoLast()) == "Took back: tag 2 runs."
    assert {job.id: (job.name, job.tags) for job in desk.take(Question()).jobs} == before


async def test_deleted_runs_can_be_restored(desk: EngineDesk) -> None:
    await desk.carry_out(wishes.DeleteJobs(("job-01",)))
    assert shown(desk) == {"job-02", "job-03"}
    await desk.carry_out(wishes.RestoreJobs(("job-01",)))
    assert shown(desk) == {"job-01", "job-02", "job-03"}


async def test_changes_are_told(stocked: Home) -> None:
    told: list[int] = []
    desk = EngineDesk(stocked)
    await desk.open(lambda: told.append(1))
    before = len(told)
    assert before
    await desk.carry_out(wishes.ArchiveJobs(("job-01",)))
    assert len(told) > before
    await desk.close()


async def test_settings_outlive_the_session(stocked: Home) -> None:
    first = EngineDesk(stocked)
    await first.open(lambda: None)
    first.remember("theme", "nord")
    await first.close()
    second = EngineDesk(stocked)
    await second.open(lambda: None)
    assert second.recall("theme") == "nord"
    await second.close()


async def test_a_damaged_store_is_told_on_the_screen_and_left_as_it_is(stocked: Home) -> None:
    stocked.database.write_bytes(b"this is no database, and longer than a header is" * 100)
    before = stocked.database.read_bytes()
    app = PodiumApp(EngineDesk(stocked))
    async with app.run_test(size=(120, 40)) as pilot:
        await settled(pilot)
        assert str(stocked.database) in app.snapshot.trouble
        text = "\n".join(strip.text for strip in app.screen._compositor.render_strips())
        assert "podium.db" in text
    assert stocked.database.read_bytes() == before


async def test_a_home_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    desk = EngineDesk(Home(tmp_path / "file" / "home"))
    await desk.open(lambda: None)
    assert "can't be made" in desk.take(Question()).trouble
    await desk.close()


async def test_a_run_that_is_to_begin_is_shown_as_soon_as_it_is_there(stocked: Home) -> None:
    async def begin(controller: object) -> None:
        store = SQLiteStore(stocked.database)
        store.add(a_job(9, status=Status.COMPLETED, name="begun"))
        store.close()

    app = PodiumApp(EngineDesk(stocked, begin))
    async with app.run_test(size=(120, 40)) as pilot:
        await until(pilot, lambda: app.snapshot is not None)
        assert "begun" in {job.name for job in app.snapshot.jobs}


def test_every_wish_has_a_deed() -> None:
    def below(kind: type) -> set[type]:
        return {kind for child in kind.__subclasses__() for kind in ({child} | below(child))}

    leaves = {kind for kind in below(wishes.Wish) if not kind.__subclasses__()}
    assert leaves <= {*DEEDS, *KEEPING, *CURATING}


async def test_a_wish_that_comes_before_the_controller_is_carried_out_when_it_is_there(stocked: Home) -> None:
    desk = EngineDesk(stocked)
    said, _ = await asyncio.gather(desk.carry_out(wishes.ArchiveJobs(("job-01",))), desk.open(lambda: None))
    assert said == "Archived 1 run. z takes it back."
    assert shown(desk) == {"job-02", "job-03"}
    await desk.close()
