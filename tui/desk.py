"""Where the app gets its snapshots and takes its wishes: its only door to the store and the controller."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

from engine.analysis.snapshot import Question, Snapshot
from engine.errors import PodiumError
from engine.home import Home
from tui import run_wishes, wishes
from tui.wishes import Wish

if TYPE_CHECKING:
    from engine.analysis.waste import Group, Line
    from engine.controller import Controller
    from engine.store.base import Store
    from tui.account import Account
    from tui.alarms import Alarms
    from tui.launch_answers import Launching

FIRST: Final = 1.0
"""How long the controller waits for the first snapshot, seconds."""

DRAWN: Final = 0.25
"""How long it then waits for the first pictures, seconds."""

ASKED: Final = 20.0
"""How long the account's provider may take to say what it rents, seconds."""

Changed = Callable[[], None]
"""Called from any thread when a new snapshot would differ from the last; returns at once."""

Told = Callable[[str], None]
"""Told, from any thread, how far a long wish is; returns at once."""


def silent(text: str) -> None:
    """Tell nobody."""


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

    async def carry_out(self, wish: Wish, told: Told = silent) -> str:
        """Do what the wish asks for and return a line that says what was done, or nothing."""
        ...

    async def price(self, wish: Wish) -> str:
        """What a wish costs or takes away, to be agreed to first; empty when that need not be."""
        ...

    async def ledger(self, by: Group) -> tuple[Line, ...]:
        """Where time and money went, of all runs, the hidden ones too."""
        ...

    async def account(self) -> Account:
        """What the account rents now.

        Raises:
            ProviderError: There is no key, or the provider does not answer in time.
        """
        ...

    @property
    def launching(self) -> Launching:
        """Who answers the launch dialog."""
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
        self._launching: Launching | None = None
        self._trouble = ""
        self._alarms: Alarms | None = None
        self._taken = asyncio.Event()
        self._settled = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._account: Account | None = None
        self._changed: Changed = lambda: None

    async def open(self, changed: Changed) -> None:
        """Open the store, show what it has, then reconnect to live jobs.

        Where something is to begin, that is shown first. A store that can't be opened is not an error
        of this call: every snapshot tells of it.
        """
        self._loop = asyncio.get_running_loop()
        self._changed = changed
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
        trouble = (self._controller.trouble if self._controller else "") or self._store.standing
        snapshot = snapshots.take(self._store, self._home, question, links, trouble=trouble)
        if self._controller is not None:
            if self._alarms is None:
                from tui.alarms import Alarms

                self._alarms = Alarms(self._home)
            snapshot = replace(snapshot, alarms=self._alarms.fresh(self._store))
        if self._account is not None:
            lost = [pod for pod in self._account.pods if pod.stray and pod.reapable]
            hourly = sum(pod.per_hour or 0.0 for pod in lost)
            totals = replace(snapshot.totals, strays=len(lost), strays_per_hour=hourly)
            snapshot = replace(snapshot, totals=totals)
        if self._loop is not None and not self._taken.is_set():
            self._loop.call_soon_threadsafe(self._taken.set)
        return snapshot

    async def carry_out(self, wish: Wish, told: Told = silent) -> str:
        """Keep what is only kept; for all else ask the controller, as soon as there is one."""
        if (keep := KEEPING.get(type(wish))) is not None and self._store is not None:
            return await asyncio.to_thread(keep, self._store, wish)
        await self._settled.wait()
        if self._controller is None or self._store is None:
            return self._trouble or "Nothing can be done: the jobs could not be opened."
        if (deed := DEEDS.get(type(wish))) is not None:
            return await deed(self._controller, wish)
        from tui.run_deeds import CURATING, Bench

        bench = Bench(self._store, self._home, self._controller, told)
        return await CURATING[type(wish)](bench, wish)

    async def price(self, wish: Wish) -> str:
        """Of an endpoint, what its worker costs; of what tidies up, what goes, run by run."""
        if isinstance(wish, wishes.DeployBest):
            if not wish.serverless:
                return ""
            await self._settled.wait()
            from tui.deploying import price

            return await price(self._controller, wish) if self._controller else ""
        from tui.run_deeds import ASKING, Bench

        plan = ASKING.get(type(wish))
        if plan is None:
            return ""
        await self._settled.wait()
        if self._store is None or self._controller is None:
            return ""
        bench = Bench(self._store, self._home, self._controller, silent)
        return await asyncio.to_thread(plan, bench, wish)

    async def ledger(self, by: Group) -> tuple[Line, ...]:
        """From the store, in a thread."""
        from engine.analysis.waste import waste_ledger

        if self._store is None:
            return ()
        store = self._store
        return await asyncio.to_thread(lambda: waste_ledger(store.jobs(archived=True, deleted=True), by))

    async def account(self) -> Account:
        """From the provider."""
        from tui.accounting import account

        if self._store is None:
            raise PodiumError(self._trouble or "the runs are not open yet", "Try again in a moment.")
        try:
            async with asyncio.timeout(ASKED):
                found = await account(self._store, self._home)
        except TimeoutError:
            raise PodiumError(f"the provider did not answer in {ASKED:.0f} s", "r asks again.") from None
        self._account = found
        self._changed()
        return found

    @property
    def launching(self) -> Launching:
        """Made when it is first needed."""
        if self._launching is None:
            from tui.launching import EngineLaunching

            self._launching = EngineLaunching(self._home, self, self._controlled)
        return self._launching

    async def _controlled(self) -> Controller:
        """The controller, as soon as it is there.

        Raises:
            PodiumError: The jobs could not be opened.
        """
        await self._settled.wait()
        if self._controller is None:
            raise PodiumError(self._trouble or "the jobs could not be opened", "`podium doctor` says more.")
        return self._controller

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
        """Launches that are not done, then the controller, which writes to the store."""
        if self._launching is not None:
            await self._launching.close()
        if self._controller is not None:
            await self._controller.close()
        if self._store is not None:
            await asyncio.to_thread(self._store.close)


def _opened(home: Home) -> Store:
    from engine.store.opening import open_store

    return open_store(home, live=True)


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


async def _set_limits(controller: Controller, wish: Wish) -> str:
    assert isinstance(wish, wishes.SetLimits)
    caps = wish.changes
    await controller.limits(wish.job_ids[0], hours=caps.get("max_hours"), dollars=caps.get("max_cost_usd"))
    return "Asked for other limits; the events tell whether they were granted."


async def _deploy(controller: Controller, wish: Wish) -> str:
    from tui.deploying import deployed

    assert isinstance(wish, wishes.DeployBest)
    return await deployed(controller, wish)


DEEDS: Final[Mapping[type[Wish], Deed]] = {
    wishes.StopJob: _each("stop", "Asked to stop; it saves a checkpoint first."),
    wishes.PauseJob: _each("pause", "Asked to pause; it saves a checkpoint first."),
    wishes.ResumeJob: _each("resume", "Resuming from the last checkpoint."),
    wishes.SaveNow: _each("save", "A checkpoint is saved at the next step."),
    wishes.PullBest: _pull,
    wishes.PullCheckpoint: _pull_one,
    wishes.SetLearningRate: _set_rate,
    wishes.SetLimits: _set_limits,
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
    text = text_of(store, wish.comparison, kind_of(path), Words(wish.name, wish.notes), every=True)
    write(path, text, replacing=False)
    return f"Written to {path}."


def _archive_above(store: Store, wish: wishes.ArchiveAbove) -> str:
    from engine.comparing import THRESHOLD

    store.set_setting(THRESHOLD, wish.fraction)
    return f"Runs more than {wish.fraction * 100:.3g} % worse are offered for archiving."


def _curated(deed: str) -> Keep:
    """What the deeds on runs do with the store."""

    def keep(store: Store, wish: Wish) -> str:
        from tui import run_deeds

        said: str = getattr(run_deeds, deed)(store, wish)
        return said

    return keep


KEEPING: Final[Mapping[type[Wish], Keep]] = {
    wishes.SaveComparison: _save,
    wishes.ForgetComparison: _forget,
    wishes.ExportComparison: _export,
    wishes.ArchiveAbove: _archive_above,
    run_wishes.TagRuns: _curated("tag"),
    run_wishes.NoteRuns: _curated("note"),
    run_wishes.RenameRun: _curated("rename"),
    run_wishes.SaveFilter: _curated("save_filter"),
    run_wishes.ForgetFilter: _curated("forget_filter"),
    run_wishes.ChooseColumns: _curated("choose_columns"),
}
