"""Where the app gets its snapshots and takes its wishes: its only door to the store and the controller."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

from engine.analysis.snapshot import Question, Snapshot
from engine.errors import PodiumError
from engine.home import Home
from tui import wishes
from tui.wishes import Wish

if TYPE_CHECKING:
    from engine.controller import Controller
    from engine.store.base import Done, Store

FIRST: Final = 1.0
"""How long the controller waits for the first snapshot, seconds."""

DRAWN: Final = 0.25
"""How long it then waits for the first pictures, seconds."""

Changed = Callable[[], None]
"""Called from any thread when a new snapshot would differ from the last; returns at once."""


class Desk(Protocol):
    """What the app needs of the engine.

    Raises:
        PodiumError: From any method; one line that the app shows.
    """

    async def open(self, changed: Changed) -> None:
        """Open the store and reconnect to the jobs that are under way."""
        ...

    def take(self, question: Question) -> Snapshot:
        """Read a snapshot; blocks, so call it in a thread."""
        ...

    async def carry_out(self, wish: Wish) -> str:
        """Do what the wish asks for and return a line that says what was done, or nothing."""
        ...

    async def price(self, wish: Wish) -> str:
        """What a wish costs, to be agreed to first; empty when it costs nothing."""
        ...

    def now(self) -> datetime:
        """The moment that ages are shown against, UTC."""
        ...

    def recall(self, key: str, default: Any = None) -> Any:
        """A setting from the last session."""
        ...

    def remember(self, key: str, value: Any) -> None:
        """Keep a setting for the next session."""
        ...

    async def close(self) -> None:
        """Let go of everything; jobs go on."""
        ...


class EngineDesk:
    """The desk of the real app.

    Nothing heavy is imported before `open`, which the app calls after its first paint.

    Args:
        home: Where the state is.
        begin: What to do once the controller has started, such as launching the demo.
    """

    def __init__(self, home: Home, begin: Callable[[Controller], Awaitable[object]] | None = None) -> None:
        self._home = home
        self._begin = begin
        self._store: Store | None = None
        self._controller: Controller | None = None
        self._trouble = ""
        self._taken = asyncio.Event()
        self._settled = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None

    async def open(self, changed: Changed) -> None:
        """Open the store, show what it has, then reconnect to live jobs.

        Where something is to begin, that is shown first. A store that can't be opened is not an error
        of this call: every snapshot tells of it.
        """
        self._loop = asyncio.get_running_loop()
        try:
            await self._open_store(changed)
            if self._store is not None:
                await self._open_controller(self._store)
        finally:
            self._settled.set()
            changed()

    async def _open_store(self, changed: Changed) -> None:
        try:
            self._store = await asyncio.to_thread(_opened, self._home)
        except PodiumError as error:
            self._trouble = str(error)
            return
        self._store.subscribe(lambda _: changed())
        if self._begin is None:
            changed()
            # What the store has is drawn first: loading the controller would only delay it.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(FIRST):
                    await self._taken.wait()
            await asyncio.sleep(DRAWN)

    async def _open_controller(self, store: Store) -> None:
        controller = await asyncio.to_thread(_controller, store, self._home)
        await controller.start()
        self._controller = controller
        self._settled.set()
        if self._begin is not None:
            await self._begin(controller)

    def take(self, question: Question) -> Snapshot:
        """Read a snapshot; without a store, an empty one that says why."""
        if self._store is None:
            return Snapshot(taken_at=self.now(), trouble=self._trouble)
        from engine import snapshots

        links = self._controller.links if self._controller else {}
        trouble = self._controller.trouble if self._controller else ""
        snapshot = snapshots.take(self._store, self._home, question, links, trouble=trouble)
        if self._loop is not None and not self._taken.is_set():
            self._loop.call_soon_threadsafe(self._taken.set)
        return snapshot

    async def carry_out(self, wish: Wish) -> str:
        """Keep what is only kept; for all else ask the controller, as soon as there is one."""
        if (keep := KEEPING.get(type(wish))) is not None and self._store is not None:
            return await asyncio.to_thread(keep, self._store, wish)
        await self._settled.wait()
        if self._controller is None:
            return self._trouble or "Nothing can be done: the jobs could not be opened."
        return await DEEDS[type(wish)](self._controller, wish)

    async def price(self, wish: Wish) -> str:
        """Of an endpoint, what its worker costs."""
        if not isinstance(wish, wishes.DeployBest) or not wish.serverless:
            return ""
        await self._settled.wait()
        from tui.deploying import price

        return await price(self._controller, wish) if self._controller else ""

    def now(self) -> datetime:
        """The present moment."""
        return datetime.now(UTC)

    def recall(self, key: str, default: Any = None) -> Any:
        """From the store."""
        return self._store.setting(key, default) if self._store else default

    def remember(self, key: str, value: Any) -> None:
        """In the store."""
        if self._store:
            self._store.set_setting(key, value)

    async def close(self) -> None:
        """The controller first, for it writes to the store."""
        if self._controller is not None:
            await self._controller.close()
        if self._store is not None:
            await asyncio.to_thread(self._store.close)


def _opened(home: Home) -> Store:
    from engine.store.sqlite import SQLiteStore

    home.create()
    return SQLiteStore(home.database)


def _controller(store: Store, home: Home) -> Controller:
    from engine.controller import Controller

    return Controller(store, home)


# What each wish is to the controller.

Deed = Callable[["Controller", Wish], Awaitable[str]]


def _each(method: str, done: str) -> Deed:
    """Ask for something of every job, one after the other."""

    async def deed(controller: Controller, wish: Wish) -> str:
        for job_id in wish.job_ids:
            await getattr(controller, method)(job_id)
        return done

    return deed


def _together(method: str, past: str) -> Deed:
    """Ask for something of all jobs at once, so that one undo takes all of it back."""

    async def deed(controller: Controller, wish: Wish) -> str:
        done: Done = await getattr(controller, method)(wish.job_ids)
        return f"{past} {_runs(done)}. z takes it back." if done.job_ids else "Nothing to do."

    return deed


async def _undo(controller: Controller, wish: Wish) -> str:
    undone = await controller.undo()
    return f"Took back: {undone.action} {_runs(undone)}." if undone else "There is nothing to take back."


def _runs(done: Done) -> str:
    return "1 run" if len(done.job_ids) == 1 else f"{len(done.job_ids)} runs"


async def _pull(controller: Controller, wish: Wish) -> str:
    said = []
    for job_id in wish.job_ids:
        checkpoint, path = await controller.pull(job_id, "best", lambda done, total: None)
        said.append(f"Checkpoint {checkpoint.step} is in {path}, every hash right.")
    return "\n".join(said)


async def _pull_one(controller: Controller, wish: Wish) -> str:
    assert isinstance(wish, wishes.PullCheckpoint)
    checkpoint, path = await controller.pull(wish.job_ids[0], str(wish.step), lambda done, total: None)
    return f"Checkpoint {checkpoint.step} is in {path}, every hash right."


async def _set_rate(controller: Controller, wish: Wish) -> str:
    assert isinstance(wish, wishes.SetLearningRate)
    await controller.learning_rate(wish.job_ids[0], wish.value)
    return f"Asked for a learning rate of {wish.value:g}; it begins with the next step."


async def _deploy(controller: Controller, wish: Wish) -> str:
    from tui.deploying import deployed

    assert isinstance(wish, wishes.DeployBest)
    return await deployed(controller, wish)


DEEDS: Final[Mapping[type[Wish], Deed]] = {
    wishes.StopJob: _each("stop", "Asked to stop; it saves a checkpoint first."),
    wishes.PauseJob: _each("pause", "Asked to pause; it saves a checkpoint first."),
    wishes.ResumeJob: _each("resume", "Resuming from the last checkpoint."),
    wishes.SaveNow: _each("save", "A checkpoint is saved at the next step."),
    wishes.ArchiveJobs: _together("archive", "Archived"),
    wishes.RestoreJobs: _together("restore", "Restored"),
    wishes.DeleteJobs: _together("delete", "Deleted"),
    wishes.UndoLast: _undo,
    wishes.PullBest: _pull,
    wishes.PullCheckpoint: _pull_one,
    wishes.SetLearningRate: _set_rate,
    wishes.DeployBest: _deploy,
}


# What needs the store alone.

Keep = Callable[["Store", Any], str]


def _save(store: Store, wish: wishes.SaveComparison) -> str:
    from tui.keeping import Words, save

    saved = save(store, wish.job_ids, wish.reference, Words(wish.name, wish.notes))
    return f"Saved as {saved.name}."


def _forget(store: Store, wish: wishes.ForgetComparison) -> str:
    store.delete_comparison(wish.comparison_id)
    return "Forgotten; its runs stay."


def _export(store: Store, wish: wishes.ExportComparison) -> str:
    from tui.keeping import Words, kind_of, text_of, write

    path = Path(wish.path).expanduser().absolute()
async def _set_limits(controller: Controller, wish: Wish) -> str:
    assert isinstance(wish, wishes.SetLimits)
    caps = wish.changes
    await controller.limits(wish.job_ids[0], hours=caps.get("max_hours"), dollars=caps.get("max_cost_usd"))
    return "Asked for other limits; the events tell whether they were granted."


    text = text_of(store, wish.comparison, kind_of(path), Words(wish.name, wish.notes), every=True)
    write(path, text, replacing=False)
    return f"Written to {path}."


def _archive_above(store: Store, wish: wishes.ArchiveAbove) -> str:
    from engine.comparing import THRESHOLD

    store.set_setting(THRESHOLD, wish.fraction)
    return f"Runs more than {wish.fraction * 100:.3g} % worse are offered for archiving."


KEEPING: Final[Mapping[type[Wish], Keep]] = {
    wishes.SaveComparison: _save,
    wishes.ForgetComparison: _forget,
    wishes.SetLimits: _set_limits,
    wishes.ExportComparison: _export,
    wishes.ArchiveAbove: _archive_above,
}
