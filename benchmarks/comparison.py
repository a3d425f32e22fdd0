"""How fast is the Comparison screen, on a real store with thousands of runs?

    nice -n 0 python benchmarks/comparison.py [--steps 100000 1000000] [--runs 10000] [--reps 3] [--json]

A store is filled: one long run goes in event by event, its rows are copied for four more; then thousands of
short ones. On it the real app is opened on the Comparison screen with five long runs:

- open: from the wish to compare five runs, on another screen of the app, to the picture of their curves;
- change: from a new choice of runs to its picture;
- archive, delete: a hundred runs, from the wish to the store's answer, folders moved; then counted;
- compare: `podium compare` as a command, the whole process.

Every figure is of work whose result is looked at; a wrong one ends in an error.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import os
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from textual.pilot import Pilot

from benchmarks.installed import compiled
from engine.home import Home
from engine.job.events import Event, EventType, Status, encode
from engine.records import Job
from engine.store.sqlite import SQLiteStore
from scorer import CheckpointMetrics, score
from tui import wishes
from tui.app import PodiumApp
from tui.desk import EngineDesk
from tui.screens.comparison import ComparisonScreen
from tui.widgets.overlay_pane import OverlayPane

START = datetime(2026, 11, 1, tzinfo=UTC)
LONG = tuple(f"long-{at}" for at in range(5))
BATCH = 20_000
TABLES = ("local_training_metrics", "training_curves", "training_curve_names", "training_checkpoints")


def events(steps: int) -> Iterator[bytes]:
    """A run that is evaluated fifty times."""
    seq = 0

    def line(type: str, step: int | None, **data: Any) -> bytes:
        nonlocal seq
        seq += 1
        return encode(Event(seq, START + timedelta(seconds=(step or 0) * 0.05), 1, type, step, data))

    yield line(EventType.STATE, None, status=Status.RUNNING)
    yield line(EventType.START, 0, total_steps=steps, config={})
    for step in range(1, steps + 1):
        loss = 0.6 + 2 * math.exp(-8 * step / steps) + 0.02 * math.sin(step)
        yield line(
            EventType.TRAIN, step, loss=loss, learning_rate=1e-4, grad_norm=1.0, epoch=3 * step / steps
        )
        if step % (steps // 50) == 0:
            parts = score(CheckpointMetrics(step, loss + 0.1, loss, True)).to_json()
            yield line(EventType.EVAL, step, eval_loss=loss + 0.1, train_loss=loss, score=parts)
            yield line(
                EventType.CHECKPOINT, step, path=f"checkpoints/checkpoint-{step}", bytes=1, score=parts
            )
    yield line(EventType.STATE, steps, status=Status.COMPLETED)


def a_job(job_id: str, number: int, **given: Any) -> Job:
    config = {"method": "sft", "training": {"learning_rate": 1e-5 * (number % 7 + 1), "max_length": 1024}}
    return Job(
        id=job_id, name=job_id, status=Status.COMPLETED, created_at=START + timedelta(minutes=number),
        base_model="org/model-7B", config=config, provider="local", cost_per_hour=2.0,
        metadata={"data_sha256": "ab" * 32}, **given,
    )  # fmt: skip


def fill(home: Home, steps: int, runs: int) -> None:
    """Five long runs and many short ones."""
    home.create()
    store = SQLiteStore(home.database)
    for at, job_id in enumerate(LONG):
        store.add(a_job(job_id, at))
    offset, batch = 0, []
    for line in events(steps):
        batch.append(line)
        if len(batch) == BATCH:
            offset = store.ingest(LONG[0], b"".join(batch), offset).offset
            batch = []
    store.ingest(LONG[0], b"".join(batch), offset)
    store.close()
    with sqlite3.connect(home.database) as db:
        for job_id in LONG[1:]:
            copy(db, LONG[0], job_id)
        many(db, runs)
    db.close()
    for at in range(200):
        home.job(f"short-{at}").path.mkdir(parents=True)


def copy(db: sqlite3.Connection, source: str, target: str) -> None:
    """Another run of the same course."""
    for table in TABLES:
        columns = [row[1] for row in db.execute(f"PRAGMA table_info({table})") if row[1] != "job_id"]
        names = ", ".join(columns)
        db.execute(
            f"INSERT INTO {table} (job_id, {names}) SELECT ?, {names} FROM {table} WHERE job_id = ?",
            (target, source),
        )
    kept = {"id", "name", "number", "created_at", "config"}
    columns = [row[1] for row in db.execute("PRAGMA table_info(local_training_jobs)") if row[1] not in kept]
    pairs = ", ".join(f"{c} = (SELECT {c} FROM local_training_jobs WHERE id = :source)" for c in columns)
    db.execute(
        f"UPDATE local_training_jobs SET {pairs} WHERE id = :target", {"source": source, "target": target}
    )


def many(db: sqlite3.Connection, runs: int) -> None:
    """Short runs that have a loss and nothing else."""
    columns = [row[1] for row in db.execute("PRAGMA table_info(local_training_jobs)")]
    first = db.execute("SELECT * FROM local_training_jobs WHERE id = ?", (LONG[0],)).fetchone()
    row = dict(zip(columns, first, strict=True))
    places = ", ".join(f":{column}" for column in columns)
    config = json.loads(row["config"])
    for at in range(runs):
        config["training"]["learning_rate"] = 1e-5 * (at % 9 + 1)
        changed = {"id": f"short-{at}", "name": f"short-{at}", "number": at + 6, "config": json.dumps(config)}
        if at % 12:
            changed["base_model"] = f"org/other-{at % 12}"
        db.execute(
            f"INSERT INTO local_training_jobs VALUES ({places})",
            {**row, **changed, "best_eval_loss": 0.8 + (at % 97) / 50},
        )


async def until(pilot: Pilot[None], condition: Any) -> None:
    deadline = time.perf_counter() + 120
    while not condition():
        if time.perf_counter() > deadline:
            raise SystemExit("it never came")
        await pilot.pause(0.001)


def drawn(app: PodiumApp, ids: tuple[str, ...]) -> bool:
    """Does the picture show the curves of exactly these runs?"""
    screen = app.screen_stack[0]
    if not isinstance(screen, ComparisonScreen) or not app.snapshot or not app.snapshot.compared:
        return False
    if tuple(job.id for job in app.snapshot.compared.jobs) != ids:
        return False
    picture = screen.query_one(OverlayPane).chart.picture
    return picture is not None and {line.curve.job_id for line in picture.plot.lines} == set(ids)


async def measure(home: Home, steps: int, reps: int) -> dict[str, list[float]]:
    names = ("open", "open, processor", "change", "change, processor", "archive 100", "delete 100")
    found: dict[str, list[float]] = {name: [] for name in names}
    store = SQLiteStore(home.database)
    if store.curve(LONG[4], "loss").total != steps:
        raise SystemExit("the copies are not whole")
    store.close()
    for rep in range(reps):
        app = PodiumApp(EngineDesk(home), "history")
        async with app.run_test(size=(120, 40)) as pilot:
            await open_and_change(app, pilot, found)
            if rep == 0:
                await clear_up(app, home, found)
        store = SQLiteStore(home.database)
        store.set_setting("comparison", None)
        store.close()
    return found


async def open_and_change(app: PodiumApp, pilot: Pilot[None], found: dict[str, list[float]]) -> None:
    """Open the screen on five runs, then choose others."""
    await until(pilot, lambda: app.snapshot is not None and len(app.snapshot.jobs) > len(LONG))
    await app.desk._settled.wait()  # type: ignore[attr-defined]
    await pilot.pause(2)
    start, busy = time.perf_counter(), time.process_time()
    app.post_message(wishes.CompareJobs(LONG))
    await until(pilot, lambda: drawn(app, LONG))
    found["open"].append(time.perf_counter() - start)
    found["open, processor"].append(time.process_time() - busy)
    for chosen in (LONG[:3], LONG[1:], LONG[::-1], LONG):
        start, busy = time.perf_counter(), time.process_time()
        app.post_message(wishes.Ask(compared=chosen))
        await until(pilot, lambda chosen=chosen: drawn(app, chosen))
        found["change"].append(time.perf_counter() - start)
        found["change, processor"].append(time.process_time() - busy)
        await pilot.pause(0.3)


async def clear_up(app: PodiumApp, home: Home, found: dict[str, list[float]]) -> None:
    """Archive a hundred and delete another hundred."""
    for name, kind, first in (("archive 100", wishes.ArchiveJobs, 0), ("delete 100", wishes.DeleteJobs, 100)):
        ids = tuple(f"short-{at}" for at in range(first, first + 100))
        start = time.perf_counter()
        await app.desk.carry_out(kind(ids))
        found[name].append(time.perf_counter() - start)
    store = SQLiteStore(home.database)
    jobs = {job.id: job for job in store.jobs(archived=True, deleted=True)}
    store.close()
    whole = all(jobs[f"short-{at}"].archived for at in range(100))
    gone = all(jobs[f"short-{at}"].deleted and home.trashed(f"short-{at}").is_dir() for at in range(100, 200))
    if not (whole and gone):
        raise SystemExit("not all were archived and deleted")


def command(home: Home) -> float:
    """`podium compare` with five runs, seconds."""
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "tui", "compare", *LONG, "--json"],
        cwd=ROOT, env={**os.environ, "PODIUM_HOME": str(home.path)}, capture_output=True, check=True,
    )  # fmt: skip
    took = time.perf_counter() - start
    if len(json.loads(done.stdout)["comparison"]["jobs"]) != 5:
        raise SystemExit("podium compare did not compare five runs")
    return took


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--steps", type=int, nargs="+", default=[100_000, 1_000_000])
    parser.add_argument("--runs", type=int, default=10_000)
    parser.add_argument("--reps", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    compiled()
    figures: dict[str, dict[str, float]] = {}
    for steps in given.steps:
        with tempfile.TemporaryDirectory() as folder:
            home = Home(Path(folder) / "home")
            fill(home, steps, given.runs)
            found = asyncio.run(measure(home, steps, given.reps))
            found["podium compare"] = [command(home) for _ in range(given.reps)]
        figures[str(steps)] = {name: round(median(times) * 1000, 1) for name, times in found.items() if times}
        figures[str(steps)]["change, worst"] = round(max(found["change"]) * 1000, 1)
        if not given.json:
            show(steps, given.runs, figures[str(steps)])
    if given.json:
        print(json.dumps({"runs": given.runs, "milliseconds": figures}))


def show(steps: int, runs: int, row: dict[str, float]) -> None:
    print(f"5 runs of {steps:,} steps among {runs:,} others; milliseconds, medians", flush=True)
    for name, value in row.items():
        print(f"  {name:<18}{value:>9}", flush=True)


if __name__ == "__main__":
    main()
