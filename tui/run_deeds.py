"""What the wishes about kept runs are to the engine: read what they would do, say it, do it. For the desk."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from engine.analysis import format as words
from engine.errors import BadInput, ProviderError
from engine.home import Home
from engine.store.base import Done, Store
from tui import run_wishes, wishes
from tui.widgets.clean import clean
from tui.wishes import Wish

if TYPE_CHECKING:
    from engine.analysis.curation import Candidate
    from engine.controller import Controller
    from engine.controller.curator import Curator, Purged, Thinned
    from engine.controller.unpacking import Taken
    from engine.records import Job

Told = Callable[[str], None]
"""Told, from any thread, how far a long deed is."""


@dataclass(frozen=True, slots=True)
class Bench:
    """What a deed works with.

    Args:
        store: Where runs are kept.
        home: Where their folders are.
        controller: What moves folders and asks machines.
        told: Told how far it is.
    """

    store: Store
    home: Home
    controller: Controller
    told: Told

    @property
    def curator(self) -> Curator:
        """What frees the disk."""
        from engine.controller.curator import Curator

        return Curator(self.store, self.home)

    def counting(self, verb: str, noun: str = "runs") -> Callable[[int, int], None]:
        """Progress in words: `deleted 41 of 100 runs`."""
        return lambda done, of: self.told(f"{verb} {done} of {of} {noun}") if of > 1 else None

    def share(self, verb: str) -> Callable[[int, int], None]:
        """Progress of bytes in percent."""
        last = ""

        def tell(done: int, total: int) -> None:
            nonlocal last
            said = f"{verb} {100 * done // total if total else 100} %"
            if said != last:
                last = said
                self.told(said)

        return tell

    def jobs(self, wish: Wish) -> list[Job]:
        """The runs that a wish is about, as they are now."""
        return [self.store.job(job_id) for job_id in wish.job_ids]


Deed = Callable[[Bench, Wish], Awaitable[str]]
"""Does it, and returns a line that says so."""

Plan = Callable[[Bench, Wish], str]
"""Reads what a wish would do, and returns the question; blocks."""


# ---- hidden, and back


def _runs(count: int) -> str:
    return "1 run" if count == 1 else f"{count} runs"


def _together(method: str, past: str) -> Deed:
    """Ask for something of all jobs at once, so that one undo takes all of it back."""

    async def deed(bench: Bench, wish: Wish) -> str:
        act = getattr(bench.controller, method)
        done: Done = await act(wish.job_ids, bench.counting(past.lower()))
        return f"{past} {_runs(len(done.job_ids))}. z takes it back." if done.job_ids else "Nothing to do."

    return deed


async def _undo(bench: Bench, wish: Wish) -> str:
    undone = await bench.controller.undo(bench.counting("took back"))
    if undone is None:
        return "There is nothing to take back."
    if not undone.job_ids:
        return f"The last {undone.action} no longer stood: nothing changed."
    return f"Took back: {undone.action} {_runs(len(undone.job_ids))}."


def _what_goes(bench: Bench, wish: Wish) -> str:
    from engine.controller.holdings import holdings
    from tui.what_goes import what_goes

    jobs = bench.jobs(wish)
    return what_goes(jobs, bench.store.jobs(), holdings=holdings(bench.store, bench.home, jobs))


# ---- for good


def _would_purge(bench: Bench, wish: Wish) -> str:
    from engine.controller.holdings import holdings

    assert isinstance(wish, run_wishes.PurgeRuns)
    jobs = bench.jobs(wish)
    plan: list[Purged] = bench.curator.named(jobs)
    wish.plan = plan
    every = holdings(bench.store, bench.home, jobs)
    lines = [f"Purge {_runs(len(plan))} from the trash for good?"]
    lines.append(f"Frees {words.size(sum(run.bytes for run in plan))}. This can't be undone.")
    if only := [held.job.name for held in every if held.only_best]:
        lines.append(f"Nowhere else is the best checkpoint of {words.listed(map(clean, only), 3)}.")
    lines += ["", *(f"{_name(run.job)}{words.size(run.bytes):>10}" for run in plan)]
    return "\n".join(lines)


async def _purge(bench: Bench, wish: Wish) -> str:
    assert isinstance(wish, run_wishes.PurgeRuns)
    freed = await asyncio.to_thread(bench.curator.purge, wish.plan, bench.counting("purged"))
    return f"{words.size(freed)} freed."


def _would_thin(bench: Bench, wish: Wish) -> str:
    assert isinstance(wish, run_wishes.KeepBest)
    plan: list[Thinned] = bench.curator.thinnable(bench.jobs(wish), wish.keep)
    if not plan:
        raise BadInput("there is nothing to free", "The best, lowest and newest checkpoints of a run stay.")
    wish.plan = plan
    best = "best checkpoint" if wish.keep == 1 else f"best {wish.keep} checkpoints"
    lines = [
        f"Keep the {best} of each run: frees {words.size(sum(run.bytes for run in plan))}?",
        "The best, the lowest-loss and the newest one always stay, and so do all numbers and curves.",
        "Files that go can't be brought back.",
        "",
    ]
    for run in plan:
        count = f"{len(run.checkpoints):>4} checkpoint{'' if len(run.checkpoints) == 1 else 's'}"
        lines.append(f"{_name(run.job)}{count:<17}{words.size(run.bytes):>9}")
    return "\n".join(lines)


async def _thin(bench: Bench, wish: Wish) -> str:
    assert isinstance(wish, run_wishes.KeepBest)
    freed = await asyncio.to_thread(bench.curator.thin, wish.plan, bench.counting("thinned"))
    return f"{words.size(freed)} freed."


# ---- by a rule


def _would_archive(bench: Bench, wish: Wish) -> str:
    from engine.analysis.curation import to_archive

    assert isinstance(wish, run_wishes.ArchiveByRule)
    plan: Sequence[Candidate] = to_archive(
        bench.store.jobs(archived=True), wish.rule, datetime.now(UTC), set(wish.job_ids)
    )
    if not plan:
        raise BadInput("the rule finds no run to archive", "A model's best run, and what is under way, stay.")
    wish.plan = tuple(item.job.id for item in plan)
    lines = [f"Archive {_runs(len(plan))} by this rule?"]
    lines += ["Everything is kept: z brings them back.", ""]
    return "\n".join([*lines, *(f"{_name(item.job)}  {clean(item.reason)}" for item in plan)])


async def _archive(bench: Bench, wish: Wish) -> str:
    assert isinstance(wish, run_wishes.ArchiveByRule)
    done = await bench.controller.archive(wish.plan, bench.counting("archived"))
    return f"Archived {_runs(len(done.job_ids))}. z takes it back."


def _name(job: Job) -> str:
    """Number and name, cut to a column."""
    from tui.widgets.run_cells import fit

    return f"{job.number:02} {fit(clean(job.name), 24)}"


# ---- moved


async def _export(bench: Bench, wish: Wish) -> str:
    return await asyncio.to_thread(_packed, bench, wish)


def _packed(bench: Bench, wish: Wish) -> str:
    from engine.controller.packing import pack
    from tui.keeping import vacant

    assert isinstance(wish, run_wishes.ExportRuns)
    path = Path(wish.path).expanduser().absolute()
    vacant(path)
    meter, jobs = bench.share("packed"), bench.jobs(wish)
    size = pack(bench.store, bench.home, jobs, path, meter, checkpoints=wish.checkpoints)
    return f"{_runs(len(jobs))}, {words.size(size)}, packed into {path}."


async def _import(bench: Bench, wish: Wish) -> str:
    assert isinstance(wish, run_wishes.ImportRuns)
    taken = await asyncio.to_thread(_taken, bench, wish.path)
    added = sum(run.added for run in taken)
    there = f"; {_runs(len(taken) - added)} here already" if added < len(taken) else ""
    return f"Took in {_runs(added)}{there}."


def _taken(bench: Bench, given: str) -> Sequence[Taken]:
    path = Path(given).expanduser().absolute()
    from engine.controller.packing import is_archive

    if is_archive(path):
        from engine.controller.unpacking import unpack

        return unpack(bench.store, bench.home, path, bench.share("read"))
    from engine.controller.adopting import adopt
    from engine.foreign.tracks import tracks

    return adopt(bench.store, bench.home, tracks(path))


# ---- pods


async def _end_pod(bench: Bench, wish: Wish) -> str:
    from engine.controller.account import belonging, end

    assert isinstance(wish, run_wishes.EndPod)
    failures: list[ProviderError] = []

    async def deed(provider: Any) -> bool:
        pod = await provider.get(wish.pod.id)
        if pod is None:
            return True
        jobs = await asyncio.to_thread(bench.store.jobs, archived=True, deleted=True)
        item = belonging(pod, jobs, datetime.now(UTC))
        return bool(await end(provider, bench.store, bench.home, [item], failures.append))

    bench.told(f"ending {wish.pod.name}")
    if not await with_provider(deed) and failures:
        raise failures[0]
    return f"{wish.pod.name} is gone."


async def _stop_pod(bench: Bench, wish: Wish) -> str:
    assert isinstance(wish, run_wishes.StopPod)
    await with_provider(lambda provider: provider.stop(wish.pod.id))
    return f"{wish.pod.name} is stopped; what is at /workspace bills on."


async def with_provider(deed: Callable[[Any], Awaitable[Any]]) -> Any:
    """Do something with the account of this machine's user.

    Raises:
        ProviderError: There is no key, or it can't be done.
    """
    from engine.pods.runpod_account import connect

    provider = await asyncio.to_thread(connect)
    try:
        return await deed(provider)
    finally:
        await provider.close()


CURATING: Final[Mapping[type[Wish], Deed]] = {
    wishes.ArchiveJobs: _together("archive", "Archived"),
    wishes.RestoreJobs: _together("restore", "Restored"),
    wishes.DeleteJobs: _together("delete", "Deleted"),
    wishes.UndoLast: _undo,
    run_wishes.PurgeRuns: _purge,
    run_wishes.KeepBest: _thin,
    run_wishes.ArchiveByRule: _archive,
    run_wishes.ExportRuns: _export,
    run_wishes.ImportRuns: _import,
    run_wishes.EndPod: _end_pod,
    run_wishes.StopPod: _stop_pod,
}

ASKING: Final[Mapping[type[Wish], Plan]] = {
    wishes.DeleteJobs: _what_goes,
    run_wishes.PurgeRuns: _would_purge,
    run_wishes.KeepBest: _would_thin,
    run_wishes.ArchiveByRule: _would_archive,
}
"""What is read, in a thread, and shown before a wish is confirmed."""


# ---- what needs the store alone


def tag(store: Store, wish: run_wishes.TagRuns) -> str:
    """Set tags."""
    from tui.annotating import tags_in

    add, drop = tags_in(wish.text)
    done = store.annotate(wish.job_ids, add=add, drop=drop)
    return f"Tagged {_runs(len(done.job_ids))}. z takes it back." if done.job_ids else "Nothing to do."


def note(store: Store, wish: run_wishes.NoteRuns) -> str:
    """Set a note."""
    done = store.annotate(wish.job_ids, note=wish.note)
    said = "Noted" if wish.note else "The note is gone"
    return f"{said}. z takes it back." if done.job_ids else "Nothing to do."


def rename(store: Store, wish: run_wishes.RenameRun) -> str:
    """Set a name."""
    from tui.annotating import plain

    name = plain("name", wish.name)
    done = store.annotate(wish.job_ids, name=name)
    return f"It is called {name} now. z takes it back." if done.job_ids else "Nothing to do."


def save_filter(store: Store, wish: run_wishes.SaveFilter) -> str:
    """Keep a filter."""
    from tui.saved_filters import SETTING, checked, known

    name, text = checked(wish.name, wish.text)
    store.set_setting(SETTING, {**known(store.setting(SETTING)), name: text})
    return f"Saved: @{name} stands for it."


def forget_filter(store: Store, wish: run_wishes.ForgetFilter) -> str:
    """Forget a filter."""
    from tui.saved_filters import SETTING, known

    kept = known(store.setting(SETTING))
    store.set_setting(SETTING, {name: text for name, text in kept.items() if name != wish.name})
    return f"Forgotten: @{wish.name}."


def choose_columns(store: Store, wish: run_wishes.ChooseColumns) -> str:
    """Keep the choice of columns."""
    store.set_setting("columns", list(wish.names))
    return ""
