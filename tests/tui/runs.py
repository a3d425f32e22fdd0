"""Made-up histories for the tests of the History and Comparison screens; the same every time."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

from fabricated import NOW, a_job

from engine.analysis.snapshot import Question, Snapshot, Totals
from engine.job.events import Status
from engine.records import Job

QWEN = "Qwen/Qwen2.5-7B-Instruct"
LLAMA = "meta-llama/Llama-3.2-1B-Instruct"


def ended(number: int, days: float, loss: float | None, **changes: object) -> Job:
    """A run that ended some days ago."""
    values: dict[str, object] = {
        "status": Status.COMPLETED,
        "phase": None,
        "progress": 100.0,
        "current_step": 2000,
        "current_epoch": 3.0,
        "remaining_seconds": None,
        "created_at": NOW - timedelta(days=days),
        "completed_at": NOW - timedelta(days=days, hours=-2),
        "best_eval_loss": loss,
        "best_step": 1800,
        "best_checkpoint_score": None if loss is None else round(loss * 0.61, 4),
        "elapsed_seconds": 7200.0 + 137 * number,
        "cost_total": 3.97 + number / 20,
        "size_bytes": 14_200_000_000,
        "checkpoint_count": 12,
        "last_heartbeat_at": NOW - timedelta(days=days, hours=-2),
    }
    return a_job(number, **(values | changes))


def qwen() -> tuple[Job, ...]:
    """Eleven runs of one model: one live, one out of memory, one cancelled."""
    failed = ended(
        2,
        20.4,
        None,
        status=Status.FAILED,
        progress=2.0,
        current_step=40,
        best_step=None,
        elapsed_seconds=371.0,
        cost_total=0.19,
        size_bytes=0,
        checkpoint_count=0,
        error_message="CUDA out of memory: 79.1 of 80.0 GB in use. Use a smaller max_length or batch_size.",
    )
    stopped = ended(
        9, 1.1, 0.8126, status=Status.CANCELLED, progress=38.0, current_step=760, elapsed_seconds=2911.0
    )
    return (
        replace(a_job(11), best_eval_loss=None, size_bytes=4_860_000_000),
        ended(10, 0.4, 0.6702, tags=("candidate",)),
        stopped,
        ended(8, 3, 0.6759),
        ended(7, 5, 0.6686, tags=("final", "deployed")),
        ended(6, 8, 0.6871),
        ended(5, 11, 0.9041),
        ended(4, 14, 0.7302, name="support-qwen-04-rank-64-longer-context-eval"),
        ended(3, 17, 1.1267),
        failed,
        ended(1, 24, 0.9511, name="first try"),
    )


def llama(count: int = 38) -> tuple[Job, ...]:
    """A row of runs that get better and then don't."""
    chance = random.Random(7)
    return tuple(
        ended(
            number,
            40 + 3 * (count - number),
            round(1.1 + 0.9 * 0.88**number + chance.random() * 0.03, 4),
            id=f"llama-{number:04}",
            name=f"tickets-llama-{number:02}",
            base_model=LLAMA,
            size_bytes=1_240_000_000,
            cost_total=round(0.3 + chance.random(), 2),
        )
        for number in range(count, 0, -1)
    )


def history(question: Question) -> Snapshot:
    """Two models, one run live."""
    hidden = (
        replace(ended(1, 60, 1.31, id="old-1", name="archived one"), archived_at=NOW - timedelta(days=30)),
        replace(ended(2, 61, 1.42, id="old-2", name="thrown away"), deleted_at=NOW - timedelta(days=2)),
    )
    jobs = (*qwen(), *llama(), *(hidden if question.show_hidden else ()))
    return snapshot_of(jobs, question)


def nothing(question: Question) -> Snapshot:
    """A new machine."""
    return snapshot_of((), question)


def snapshot_of(jobs: Sequence[Job], question: Question | None = None) -> Snapshot:
    """A snapshot of these runs, with nothing on the other screens."""
    return Snapshot(
        taken_at=NOW,
        jobs=tuple(jobs),
        totals=Totals(live=1, cost_per_hour=1.89, cost_today=6.12),
        show_hidden=question.show_hidden if question else False,
    )


def many(count: int) -> tuple[Job, ...]:
    """A store after years of work: thousands of runs of twelve models, newest first."""
    chance = random.Random(count)
    rows = []
    for index in range(count):
        model = f"org-{index % 3}/model-{index % 12}"
        status = chance.choices((Status.COMPLETED, Status.FAILED, Status.CANCELLED), (8, 1, 1))[0]
        rows.append(
            ended(
                (count - index) // 12 + 1,
                0.2 + index / 24,
                None if status is Status.FAILED else round(0.5 + chance.random(), 4),
                id=f"run-{count - index:05}",
                name=f"{('support', 'tickets', 'triage')[index % 3]}-{count - index:05}",
                base_model=model,
                status=status,
                error_message="CUDA out of memory" if status is Status.FAILED else None,
                tags=("final",) if index % 97 == 0 else (),
            )
        )
    return tuple(rows)
