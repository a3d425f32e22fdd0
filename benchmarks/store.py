"""The store's numbers: events taken in a second, curves, the list of 10,000 runs, opening.

    python benchmarks/store.py [--events N] [--jobs N] [--json]

Every figure is of work whose result is counted afterwards; a wrong count ends in an error.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from engine.job.events import Event, EventType, Status, encode
from engine.job.spec import JobSpec
from engine.records import Job
from engine.store.sqlite import SQLiteStore

CONFIG = JobSpec.parse(
    {
        "name": "support-qwen",
        "model": {"name": "Qwen/Qwen2.5-7B-Instruct"},
        "dataset": {"path": "/data/rows.jsonl"},
    },
    "the benchmark",
).to_json()
START = datetime(2026, 11, 21, 10, tzinfo=UTC)


def events(count: int) -> list[bytes]:
    """A run's lines: a start, then training steps with eight figures each and an eval every hundred."""
    lines = [encode(Event(1, START, 1, EventType.START, 0, {"total_steps": count, "config": {}}))]
    for seq in range(2, count + 1):
        moment = START + timedelta(seconds=seq / 4)
        loss = 0.5 + 4 * math.exp(-seq / 5000) + 0.01 * math.sin(seq)
        if seq % 100:
            data = {
                "loss": loss, "learning_rate": 1e-4, "grad_norm": 1.2, "epoch": seq / 1e4,
                "tokens": seq * 4096,
                "tokens_per_second": 3412.5, "samples_per_second": 7.25, "mean_token_accuracy": 0.71,
                "entropy": 1.9, "gpu_memory_allocated_gb": 61.2, "gpu_memory_reserved_gb": 66.0,
            }  # fmt: skip
            lines.append(encode(Event(seq, moment, 1, EventType.TRAIN, seq, data)))
        else:
            data = {
                "eval_loss": loss + 0.1,
                "train_loss": loss,
                "epoch": seq / 1e4,
                "perplexity": math.exp(loss),
            }
            lines.append(encode(Event(seq, moment, 1, EventType.EVAL, seq, data)))
    return lines


def a_job(number: int = 1) -> Job:
    status = Status.COMPLETED if number % 50 else Status.RUNNING
    return Job(
        id=f"20261121-{number:06}", name=f"support-qwen-{number:05}", status=status,
        created_at=START + timedelta(minutes=number), base_model=f"model/{number % 20}",
        started_at=START, completed_at=START, last_heartbeat_at=START, updated_at=START,
        config=CONFIG, metadata={"data_sha256": "a" * 64, "versions": {"torch": "2.8.0"}},
        best_eval_loss=1 + number / 1e4, cost_total=2.5, elapsed_seconds=7200.0, current_step=1000,
        total_steps=1000, progress=100.0, loss=0.5, eval_loss=0.7, best_step=900, tags=("sweep",),
    )  # fmt: skip


def seconds(work: Callable[[], Any], repeat: int = 5) -> float:
    """The median time of some work."""
    times = []
    for _ in range(repeat):
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    return statistics.median(times)


def require(truth: bool, what: str) -> None:
    if not truth:
        sys.exit(f"wrong: {what}")


def ingest(folder: Path, lines: list[bytes], batch: int) -> dict[str, float]:
    """Events a second, and a second of processor time, in batches of some size; verified."""
    store = SQLiteStore(folder / f"ingest-{batch}.db")
    store.add(a_job())
    job_id, at = a_job().id, 0
    began, worked = time.perf_counter(), time.process_time()
    for first in range(0, len(lines), batch):
        at = store.ingest(job_id, b"".join(lines[first : first + batch]), at).offset
    took, work = time.perf_counter() - began, time.process_time() - worked
    require(at == sum(map(len, lines)), "the offset")
    require(len(store.events(job_id)) == len(lines), "the number of events")
    evals = len(lines) // 100
    require(store.curve(job_id, "loss").total == len(lines) - 1 - evals, "the number of points")
    require(store.curve(job_id, "eval_loss").total == evals, "the number of evals")
    store.close()
    return {
        f"events_per_second_{batch}": len(lines) / took,
        f"events_per_cpu_second_{batch}": len(lines) / work,
    }


def curves(folder: Path, lines: list[bytes]) -> dict[str, float]:
    """Milliseconds to read a curve of 400 columns, whole and a window, and what opening takes."""
    path = folder / "curves.db"
    store = SQLiteStore(path)
    store.add(a_job())
    job_id = a_job().id
    store.ingest(job_id, b"".join(lines), 0)
    n = len(lines)
    whole = store.curve(job_id, "loss")
    require(sum(point.count for point in whole.points) == whole.total, "the points of a curve")
    found = {
        "curve_ms": 1e3 * seconds(lambda: store.curve(job_id, "loss"), 21),
        "curve_window_ms": 1e3 * seconds(lambda: store.curve(job_id, "loss", low=n / 3, high=n / 2), 21),
        "curve_hours_ms": 1e3 * seconds(lambda: store.curve(job_id, "loss", axis="hours"), 21),
        "ingest_one_ms": 1e3 * one_by_one(store, job_id, n),
        "bytes_an_event": path.stat().st_size / n,
    }
    store.close()
    found["open_ms"] = 1e3 * seconds(lambda: SQLiteStore(path).close())
    return found


def one_by_one(store: SQLiteStore, job_id: str, n: int) -> float:
    """The time of a delivery of one event at the end of a long run."""
    more = [encode(Event(n + at, START, 1, EventType.TRAIN, n + at, {"loss": 0.5})) for at in range(1, 22)]
    times = []
    for line in more:
        began = time.perf_counter()
        store.ingest(job_id, line, store.offset(job_id, "events.jsonl"))
        times.append(time.perf_counter() - began)
    return statistics.median(times)


def lists(folder: Path, count: int) -> dict[str, float]:
    """Milliseconds to list many runs: by a new process, again, and after one of them changed."""
    path = folder / "lists.db"
    store = SQLiteStore(path)
    for number in range(1, count + 1):
        store.add(a_job(number))
    require(len(store.jobs()) == count, "the number of jobs")

    def fresh() -> None:
        opened = SQLiteStore(path)
        opened.jobs()
        opened.close()

    def changed() -> None:
        store.update(a_job(count).id, phase="train")
        store.jobs()

    return {
        "jobs_first_ms": 1e3 * seconds(fresh),
        "jobs_again_ms": 1e3 * seconds(store.jobs),
        "jobs_changed_ms": 1e3 * seconds(changed),
        "archive_100_ms": 1e3
        * seconds(lambda: store.act("archive", [a_job(n).id for n in range(1, 101) if n % 50]), 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=100_000)
    parser.add_argument("--jobs", type=int, default=10_000)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    lines = events(given.events)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        found: dict[str, float] = {"events": given.events, "jobs": given.jobs}
        for batch in (100, 1000, 10_000):
            found |= ingest(folder, lines, batch)
        found |= curves(folder, lines)
        found |= lists(folder, given.jobs)
    if given.json:
        print(json.dumps(found))
    else:
        for key, value in found.items():
            print(f"{key:30} {value:12,.2f}")


if __name__ == "__main__":
    main()
