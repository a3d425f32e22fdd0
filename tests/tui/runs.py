"""Made-up histories for the tests of the History and Comparison screens; the same every time."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

from engine.analysis.comparison import compare
from engine.analysis.snapshot import ChartView, Question, Snapshot, Totals
from engine.job.events import Status
from engine.records import Checkpoint, Curve, Job, MetricSummary
from scorer import CheckpointMetrics, score
from tests.tui.fabricated import NOW, a_job, reduced

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
        "best_step": 900 + 100 * number,
        "best_epoch": (900 + 100 * number) * 3 / 2000,
        "best_checkpoint_score": None if loss is None else round(loss * 0.61, 4),
        "elapsed_seconds": 7200.0 + 137 * number,
        "cost_total": 3.97 + number / 20,
        "size_bytes": 14_200_000_000,
        "checkpoint_count": 12,
        "last_heartbeat_at": NOW - timedelta(days=days, hours=-2),
        "gpu_utilization_percent": 72.0 + 1.7 * number,
        "config": config(number),
        "metadata": {"data_sha256": f"a41f{number // 6}c09e77"},
    }
    return a_job(number, **(values | changes))


def config(number: int) -> dict[str, Any]:
    """A resolved spec; runs differ in learning rate, rank and the version of the data."""
    return {
        "method": "sft",
        "model": {"name": QWEN, "revision": None},
        "dataset": {
            "path": f"/data/support/v{number // 6 + 1}/train.jsonl",
            "eval_path": "/data/support/eval.jsonl",
        },
        "lora": {"r": 8 if number < 5 else 16, "alpha": 32},
        "training": {
            "learning_rate": (5e-4, 2e-4, 1e-4)[number % 3],
            "max_length": 2048,
            "schedule": "cosine" if number > 3 else "linear",
            "seed": 42,
        },
    }


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
        best_epoch=None,
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
            model_name=LLAMA.partition("/")[2],
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


def curve_of(job: Job) -> list[tuple[int, float]]:
    """Its eval losses by step: lowest where the job says, rising again after."""
    lowest, best = job.best_eval_loss or 1.0, job.best_step or 1
    rises = 0.12 / 2000**1.3

    def loss(step: int) -> float:
        early = 1.4 * math.exp(-step / (120 + 20 * job.number))
        tail = 1.4 * math.exp(-best / (120 + 20 * job.number))
        return float(lowest + max(0.0, early - tail) + rises * max(0, step - best) ** 1.3)

    return [(step, loss(step)) for step in range(100, (job.current_step or 0) + 1, 100)]


def checkpoints_of(job: Job) -> tuple[Checkpoint, ...]:
    """A checkpoint at each evaluation."""
    if job.best_eval_loss is None:
        return ()
    rows, before = [], math.inf
    for step, loss in curve_of(job):
        train = loss - 0.08 * step / 2000
        rows.append(
            Checkpoint(
                job_id=job.id,
                step=step,
                epoch=step * 3 / 2000,
                eval_loss=loss,
                train_loss=train,
                score=score(CheckpointMetrics(step, loss, train, improved=loss < before)),
                path=f"checkpoints/checkpoint-{step}",
                size_bytes=1_180_000_000,
                created_at=(job.completed_at or NOW) - timedelta(seconds=3.9 * (2000 - step)),
                verified=True,
            )
        )
        before = loss
    best = min(rows, key=lambda row: row.eval_loss or math.inf)
    return tuple(replace(row, is_best=row is best, is_lowest_eval_loss=row is best) for row in rows)


def curves_of(job: Job, view: ChartView) -> dict[str, Curve]:
    """The curves that a chart asks for."""
    evals = curve_of(job) if job.best_eval_loss is not None else []
    noise = random.Random(job.number)
    trains = [(step, loss - 0.08 * step / 2000 + noise.gauss(0, 0.03)) for step, loss in evals]
    known = {"eval_loss": evals, "loss": trains}
    return {name: reduced(job.id, name, known[name], view) for name in view.metrics if known.get(name)}


def summaries_of(job: Job) -> dict[str, MetricSummary]:
    """Its curves in four numbers, as far as the tests look at them."""
    losses = [loss for _, loss in curve_of(job)] if job.best_eval_loss is not None else []
    found = {"learning_rate": MetricSummary(1.4e-4, 0.0, 2e-4, 1.5e-4)}
    if losses:
        found["eval_loss"] = MetricSummary(losses[-1], min(losses), max(losses), min(losses))
    if job.number % 2:
        found["eval_entropy"] = MetricSummary(1.5, 1.2, 3.0 + job.number, 1.3)
    return found


def compared(question: Question, *default: str) -> Snapshot:
    """The history, with some runs compared: three, unless the question names others."""
    snapshot = history(question)
    known = {job.id: job for job in snapshot.jobs}
    ids = question.compared or default or ("job-07", "job-05", "job-03")
    jobs = [known[job_id] for job_id in ids if job_id in known]
    if len(jobs) < 2:
        return snapshot
    checkpoints = {job.id: checkpoints_of(job) for job in jobs}
    return replace(
        snapshot,
        compared=compare(
            jobs,
            checkpoints,
            reference=question.reference,
            summaries={job.id: summaries_of(job) for job in jobs},
            statistic=question.statistic,
            others=[job for job in snapshot.jobs if job.base_model == jobs[0].base_model],
        ),
        family=question.family,
        curves={job.id: curves_of(job, question.compared_view) for job in jobs},
    )


def best_preselected(question: Question) -> Snapshot:
    """The history; with runs compared when there is a question for some."""
    return compared(question) if question.compared else history(question)


def compared_five(question: Question) -> Snapshot:
    """Five runs, among them one that ran out of memory at once."""
    return compared(question, "job-07", "job-10", "job-08", "job-05", "job-02")


def not_comparable(question: Question) -> Snapshot:
    """Two runs whose losses mean different things."""
    snapshot = compared(question)
    first, second = (job for job in snapshot.jobs if job.id in ("job-07", "job-05"))
    other = {**second.config, "training": {**second.config["training"], "max_length": 4096}}
    jobs = (first, replace(second, config=other))
    checkpoints = {job.id: checkpoints_of(job) for job in jobs}
    return replace(snapshot, compared=compare(jobs, checkpoints))


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
