"""How fast a pod's backlog reaches PostgreSQL: the outbox, HTTP on loopback, `report_events`, all real.

    python benchmarks/reports.py [--events 100000]

The events are those of a run: training steps, and every 100 steps an eval, a checkpoint and heartbeats.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import pgserver
import psycopg

from engine.job.events import Event, EventType, encode
from engine.store.hosted.migrate import migrate
from engine.supervisor.outbox import Outbox, Pace
from engine.supervisor.sinks import Hosted
from tests.emulators.receiver import Receiver
from tests.hosted.conftest import SUPABASE
from tests.hosted.test_reports import KEY, TOKEN, Project


def write(path: Path, count: int) -> None:
    """A run's events, `count` of them."""
    now = datetime.now(UTC)
    with path.open("wb") as file:
        for seq in range(1, count + 1):
            step = seq
            type, data = (
                EventType.TRAIN,
                {"loss": 2.5, "learning_rate": 2e-4, "grad_norm": 1.1, "tokens": seq * 4096},
            )
            if seq % 100 == 0:
                type, data = EventType.EVAL, {"eval_loss": 2.4, "train_loss": 2.5, "perplexity": 11.0}
            elif seq % 100 == 1:
                type, data = EventType.CHECKPOINT, {"path": f"checkpoints/checkpoint-{seq}", "bytes": 10**9}
            elif seq % 10 == 5:
                gpu = {"index": 0, "utilization_percent": 97.0, "memory_used_gb": 70.1, "power_w": 650.0}
                type, data = EventType.HEARTBEAT, {"host": {"cpu_percent": 20.0}, "gpus": [gpu]}
            file.write(encode(Event(seq, now, 1, type, step, data)))


def main() -> None:
    """Measure once."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=100_000)
    count = parser.parse_args().events
    with tempfile.TemporaryDirectory(prefix="podium-pg-", dir="/tmp") as folder:
        server = pgserver.get_server(Path(folder) / "pg", cleanup_mode="delete")
        url = server.get_uri()
        with psycopg.connect(url, autocommit=True) as db:
            db.execute(SUPABASE.encode())
        migrate(url)
        project, path = Project(url), Path(folder) / "events.jsonl"
        write(path, count)
        with Receiver(project.call) as rest:
            job_id = project.job()
            sink = Hosted(rest.url, KEY, job_id, TOKEN)
            outbox = Outbox(path, sink, Path(folder) / "outbox.json", Pace(), lambda type, data: None)
            begun = time.perf_counter()
            while outbox.behind:
                outbox.step()
            seconds = time.perf_counter() - begun
        assert project.seqs(job_id) == list(range(1, count + 1))
        print(
            f"{count:,} events in {len(rest.got)} requests: {seconds:.1f} s, {count / seconds:,.0f} events/s"
        )
        server.cleanup()


if __name__ == "__main__":
    main()
