"""How fast is the run list with thousands of runs?

    nice -n 0 python benchmarks/history.py [--runs 10000] [--size 120x40] [--json]

The real app on a desk that answers from memory, so that the times are the screen's own: from a key (or a
new snapshot) to the painted screen, in milliseconds of the clock and of the processor (the latter says
the same on a busy machine). `open` is the first visit, which also reads the stylesheet for the new
screen; `again` is a later one. The bulk actions are those of the real desk on a real store of as many
runs, from the wish to its answer; the question before a deletion is read in a thread.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from statistics import median, quantiles
from time import perf_counter, process_time
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from textual.pilot import Pilot
from textual.widgets import Input

from engine.home import Home
from engine.store.sqlite import SQLiteStore
from tests.tui import runs as made
from tests.tui.fabricated import FakeDesk
from tests.tui.steps import settled
from tui import run_wishes, wishes
from tui.app import PodiumApp
from tui.desk import EngineDesk
from tui.screens.history import HistoryScreen
from tui.widgets.run_list import RunList

FILTERS = ("support-0", "status:failed model:model-7", "loss<0.7 -triage cost>4")


class Clock:
    """Times steps of an app from the call to the painted screen."""

    def __init__(self, pilot: Pilot[None]) -> None:
        self.pilot = pilot
        self.times: dict[str, list[tuple[float, float]]] = {}

    async def time(self, name: str, step: Callable[[], Awaitable[Any] | Any]) -> None:
        """Run a step and note how long it and what follows from it took: clock and processor."""
        await self.pilot._wait_for_screen()
        start, busy = perf_counter(), process_time()
        result = step()
        if isinstance(result, Awaitable):
            await result
        await self.pilot._wait_for_screen()
        self.times.setdefault(name, []).append((perf_counter() - start, process_time() - busy))


async def measure(runs: int, size: tuple[int, int]) -> dict[str, list[tuple[float, float]]]:
    """The times of each kind of step."""
    every = made.many(runs)
    first, second = made.snapshot_of(every), made.snapshot_of((made.ended(1, 0.01, 0.4, id="new"), *every))
    app = PodiumApp(FakeDesk(lambda question: first), "job")
    async with app.run_test(size=size) as pilot:
        await settled(pilot)
        clock = Clock(pilot)
        await clock.time("open", lambda: app.show("history"))
        await settled(pilot)
        app.show("job")
        await settled(pilot)
        await clock.time("again", lambda: app.show("history"))
        screen = app.screen
        assert isinstance(screen, HistoryScreen)
        await type_filters(clock, screen)
        listed = screen.query_one(RunList)
        listed.focus()
        for key in ("down", "pagedown", "end", "space", "up") * 4:
            await clock.time("move and mark", lambda key=key: app.simulate_key(key))
        for key in ("asterisk", "asterisk", "s", "S", "m", "m") * 2:
            await clock.time("mark all, sort, group", lambda key=key: app.simulate_key(key))
        for snapshot in (second, first) * 4:
            await clock.time(
                "a run arrives or goes", lambda snapshot=snapshot: setattr(app, "snapshot", snapshot)
            )
    return clock.times


async def type_filters(clock: Clock, screen: HistoryScreen) -> None:
    """Type each filter letter by letter, then clear it."""
    field = screen.query_one(Input)
    field.focus()
    for text in FILTERS:
        for letter in text:
            await clock.time("a filter keystroke", lambda letter=letter: field.insert_text_at_cursor(letter))
        await clock.time("drop the filter", field.clear)


BULK = 100
"""How many runs are tidied away at once."""


async def measure_bulk(runs: int) -> dict[str, list[tuple[float, float]]]:
    """The times of actions on many runs at once, of a store with some thousands."""
    times: dict[str, list[tuple[float, float]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        home = Home(Path(folder))
        home.create()
        store = SQLiteStore(home.database)
        for job in made.many(runs):
            store.add(replace(job, provider="local"))
        ids = tuple(job.id for job in store.jobs()[:BULK])
        for job_id in ids:
            home.job(job_id).checkpoint(20).mkdir(parents=True)
            (home.job(job_id).checkpoint(20) / "model.safetensors").write_bytes(b"x" * 1000)
        store.close()
        desk = EngineDesk(home)
        await desk.open(lambda: None)

        async def time(name: str, doing: Awaitable[Any]) -> None:
            start, busy = perf_counter(), process_time()
            await doing
            times.setdefault(name, []).append((perf_counter() - start, process_time() - busy))

        for _ in range(3):
            await time(f"archive {BULK}", desk.carry_out(wishes.ArchiveJobs(ids)))
            await time(f"undo {BULK}", desk.carry_out(wishes.UndoLast()))
            await time(f"ask before deleting {BULK}", desk.price(wishes.DeleteJobs(ids)))
            await time(f"delete {BULK}", desk.carry_out(wishes.DeleteJobs(ids)))
            await time(f"restore {BULK}", desk.carry_out(wishes.RestoreJobs(ids)))
        await desk.carry_out(wishes.DeleteJobs(ids))
        purge = run_wishes.PurgeRuns(ids)
        await desk.price(purge)
        await time(f"purge {BULK}", desk.carry_out(purge))
        await desk.close()
    return times


def summary(times: dict[str, list[tuple[float, float]]]) -> dict[str, dict[str, float]]:
    """Median and 95th percentile of each step, milliseconds."""
    table = {}
    for name, found in times.items():
        clock, cpu = ([value * 1000 for value in column] for column in zip(*found, strict=True))
        table[name] = {
            "n": len(found),
            "p50": round(median(clock), 1),
            "p95": round(late(clock), 1),
            "cpu_p50": round(median(cpu), 1),
            "cpu_p95": round(late(cpu), 1),
        }
    return table


def late(values: list[float]) -> float:
    """The 95th percentile."""
    return quantiles(values, n=20, method="inclusive")[-1] if len(values) > 1 else values[0]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--runs", type=int, default=10_000)
    parser.add_argument("--size", default="120x40")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    width, _, height = given.size.partition("x")
    found = summary(
        asyncio.run(measure(given.runs, (int(width), int(height)))) | asyncio.run(measure_bulk(given.runs))
    )
    if given.json:
        print(json.dumps({"runs": given.runs, "size": given.size, "milliseconds": found}, indent=2))
        return
    print(f"{given.runs:,} runs at {given.size}; milliseconds: clock p50, p95, processor p50, p95")
    for name, row in found.items():
        columns = "".join(f"{row[key]:>9}" for key in ("p50", "p95", "cpu_p50", "cpu_p95"))
        print(f"{name:<24} n {row['n']:>3} {columns}")


if __name__ == "__main__":
    main()
