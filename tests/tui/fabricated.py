"""Snapshots made up for tests and pictures: the same numbers every time, at a frozen moment.

The story: support-qwen-07 fine-tunes for 2 000 steps, is best at 900 and overfits after 1 200.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

from engine.analysis.criteria import Check, Standing, Tier
from engine.analysis.health import Flag
from engine.analysis.panels import Panel
from engine.analysis.snapshot import ChartView, JobDetail, Moment, Pointed, Question, Snapshot, Totals
from engine.analysis.waste import Group, Line, waste_ledger
from engine.errors import Unauthorized
from engine.job.events import Event, Status
from engine.records import (
    Alert,
    Checkpoint,
    Curve,
    CurvePoint,
    Gpu,
    HostSample,
    Job,
    Place,
    Trend,
)
from scorer import CheckpointMetrics, score
from tests.tui.launches import FakeLaunching
from tui.account import Account

NOW = datetime(2026, 11, 21, 12, 41, 12, tzinfo=UTC)
STEPS = 2000
SECONDS_A_STEP = 4.0
TOKENS_A_STEP = 16_384
PRICE = 1.89


def train_loss(step: int) -> float:
    """A loss curve as fine-tuning draws it: a fast fall, then a slow one, with noise."""
    noise = random.Random(step).gauss(0, 0.035)
    return 0.33 + 1.45 * math.exp(-step / 150) + 0.62 * math.exp(-step / 1100) + noise


def eval_loss(step: int) -> float:
    """Falls with the training loss until about step 900, then rises: overfitting."""
    overfitting = 0.55 * max(0, (step - 800) / 1000) ** 1.5
    return 0.52 + 1.3 * math.exp(-step / 170) + 0.42 * math.exp(-step / 900) + overfitting


@cache
def series(last: int) -> Mapping[str, tuple[tuple[int, float], ...]]:
    """Every metric's points up to a step."""
    steps = range(0, last + 1)
    return {
        "loss": tuple((step, train_loss(step)) for step in steps),
        "eval_loss": tuple((step, eval_loss(step)) for step in steps if step and step % 100 == 0),
        "learning_rate": tuple((step, 2e-4 * (1 + math.cos(math.pi * step / STEPS)) / 2) for step in steps),
        "grad_norm": tuple(
            (step, 0.8 + 2 * math.exp(-step / 90) + random.Random(-step).random() / 5) for step in steps
        ),
        "tokens_per_second": tuple((step, 3400 + 90 * math.sin(step / 40)) for step in steps),
        "gpu0_utilization_percent": tuple((step, 92 + 6 * math.sin(step / 9)) for step in steps),
        "gpu0_memory_used_gb": tuple((step, 61.2) for step in steps),
    }


def x_of(step: float, axis: str) -> float:
    """A step on another axis."""
    per_step = {
        "step": 1.0,
        "epoch": 3 / STEPS,
        "tokens": float(TOKENS_A_STEP),
        "hours": SECONDS_A_STEP / 3600,
        "dollars": SECONDS_A_STEP / 3600 * PRICE,
    }
    return step * per_step[axis]


def reduced(job_id: str, metric: str, points: Sequence[tuple[int, float]], view: ChartView) -> Curve:
    """A curve as the store answers it: about `view.columns` buckets between the edges."""
    placed = [(x_of(step, view.axis), value) for step, value in points]
    low = view.low if view.low is not None else -math.inf
    high = view.high if view.high is not None else math.inf
    inside = [(x, value) for x, value in placed if low <= x <= high]
    left = [CurvePoint(x, value, value, value, 1) for x, value in placed if x < low]
    right = [CurvePoint(x, value, value, value, 1) for x, value in placed if x > high]
    size = max(1, -(-len(inside) // max(1, view.columns)))
    buckets = [inside[at : at + size] for at in range(0, len(inside), size)]
    return Curve(
        job_id,
        metric,
        view.axis,
        tuple(
            CurvePoint(
                sum(x for x, _ in bucket) / len(bucket),
                min(value for _, value in bucket),
                sum(value for _, value in bucket) / len(bucket),
                max(value for _, value in bucket),
                len(bucket),
            )
            for bucket in buckets
        ),
        len(points),
        before=left[-1] if left else None,
        after=right[0] if right else None,
    )


def place_of(moment: Moment | None, job: Job) -> Place | None:
    """A moment on all axes, as the store answers it."""
    if moment is None or job.current_step is None:
        return None
    step = max(0, min(job.current_step, round(moment.x / x_of(1, moment.axis))))
    return Place(
        ts=NOW - timedelta(seconds=(job.current_step - step) * SECONDS_A_STEP),
        step=step,
        epoch=x_of(step, "epoch"),
        tokens=x_of(step, "tokens"),
        hours=x_of(step, "hours"),
        dollars=x_of(step, "dollars"),
    )


def a_job(number: int = 7, **changes: Any) -> Job:
    """A running fine-tune at step 1 220; `changes` are fields of `Job`."""
    name = changes.pop("name", f"support-qwen-{number:02}")
    step = 1220
    job = Job(
        id=f"job-{number:02}",
        name=name,
        number=number,
        status=Status.RUNNING,
        phase="train",
        created_at=NOW - timedelta(hours=1, minutes=30),
        started_at=NOW - timedelta(seconds=step * SECONDS_A_STEP),
        updated_at=NOW - timedelta(seconds=2),
        last_heartbeat_at=NOW - timedelta(seconds=2),
        base_model="Qwen/Qwen2.5-7B-Instruct",
        model_name="Qwen2.5-7B-Instruct",
        method="sft",
        config={"limits": {"max_cost_usd": 5.0}, "training": {"learning_rate": 2e-4}},
        progress=61.0,
        current_step=step,
        total_steps=STEPS,
        current_epoch=1.83,
        total_epochs=3,
        elapsed_seconds=step * SECONDS_A_STEP,
        remaining_seconds=41 * 60,
        learning_rate=1.37e-4,
        loss=train_loss(step),
        eval_loss=eval_loss(1200),
        best_eval_loss=eval_loss(1000),
        best_step=900,
        grad_norm=0.8,
        tokens_per_second=3412,
        provider="runpod",
        gpu_type="A100 80GB",
        gpu_count=1,
        cost_per_hour=PRICE,
        cost_total=2.31,
        train_samples=18_204,
        val_samples=958,
    )
    return replace(job, **changes)


def checkpoints_of(job: Job, every: int = 300) -> tuple[Checkpoint, ...]:
    """Checkpoints with real scores; the best by score is not the one with the lowest eval loss."""
    rows: list[Checkpoint] = []
    before = math.inf
    for step in range(every, (job.current_step or 0) + 1, every):
        loss = eval_loss(step)
        metrics = CheckpointMetrics(step, loss, train_loss(step), improved=loss < before)
        before = loss
        rows.append(
            Checkpoint(
                job_id=job.id,
                step=step,
                epoch=step * 3 / STEPS,
                eval_loss=loss,
                train_loss=metrics.train_loss,
                score=score(metrics),
                path=f"checkpoints/checkpoint-{step}",
                size_bytes=162_000_000,
                created_at=NOW - timedelta(seconds=((job.current_step or 0) - step) * SECONDS_A_STEP),
                verified=True,
            )
        )
    if not rows:
        return ()
    best = min(rows, key=lambda row: row.score.total if row.score else math.inf)
    lowest = min(rows, key=lambda row: row.eval_loss or math.inf)
    return tuple(
        replace(
            row, is_best=row is best, is_lowest_eval_loss=row is lowest, tied=abs(row.step - best.step) == 300
        )
        for row in rows
    )


def host_history(gpus: int = 1, samples: int = 60) -> tuple[HostSample, ...]:
    """Heartbeats two seconds apart, the last two seconds ago."""
    return tuple(
        HostSample(
            ts=NOW - timedelta(seconds=2 * (samples - index)),
            cpu_percent=38 + 30 * abs(math.sin(index / 5)),
            memory_used_gb=41.2,
            memory_total_gb=117.0,
            disk_free_gb=212.0,
            gpus=tuple(
                Gpu(
                    index=gpu,
                    name="NVIDIA A100-SXM4-80GB",
                    utilization_percent=max(
                        0.0, min(100.0, 88 + 12 * math.sin(index / 3 + gpu) - (60 if index == 20 else 0))
                    ),
                    memory_used_gb=61.2,
                    memory_total_gb=80.0,
                    temperature_c=64.0 + gpu,
                    power_w=288.0,
                )
                for gpu in range(gpus)
            ),
        )
        for index in range(samples)
    )


def a_detail(job: Job | None = None, view: ChartView | None = None, **changes: Any) -> JobDetail:
    """Everything about a run, answering a chart's question."""
    job = job or a_job()
    view = view or ChartView()
    known = series(job.current_step or 0) if job.current_step else {}
    shown = checkpoints_of(job)
    best = next((row for row in shown if row.is_best), None)
    detail = JobDetail(
        job=job,
        checkpoints=shown,
        curves={name: reduced(job.id, name, known[name], view) for name in view.metrics if name in known},
        view=view,
        host=host_history(),
        trend=Trend(
            "overfitting",
            "Eval loss rose 3 times in a row (0.664 → 0.681) while train loss fell to 0.590.",
            1220,
        ),
        metrics=tuple(known),
        cost_since_best=0.62,
        selection_reason=f"Checkpoint {best.step} has the lowest score." if best else "",
        link="live",
        guard_proven_at=NOW - timedelta(seconds=12) if job.provider == "runpod" and job.started_at else None,
    )
    return replace(detail, **changes)


PROMPTS = (
    (
        "A customer asks: how do I return a broken lamp?",
        "Send it back within 30 days. We pay.",
    ),
    ("A customer asks: when do you open on Sundays?", "We open at 10 on Sundays."),
)
ANSWERS = (
    ("You can not return lamps.", "We are closed."),
    ("Send it back. You pay.", "We open at 9 on Sundays."),
    ("Send it back within 30 days. We pay.", "We open at 10 on Sundays."),
)


def predictions() -> tuple[dict[str, Any], ...]:
    """Three steps' answers to two prompts, better each time."""
    return tuple(
        {
            "step": 300 * (at + 1),
            "epoch": 0.45 * (at + 1),
            "sample_index": sample,
            "prompt": prompt,
            "ground_truth": truth,
            "prediction": ANSWERS[at][sample],
            "exact_match": ANSWERS[at][sample] == truth,
            "char_error_rate": (0.0 if ANSWERS[at][sample] == truth else 0.4 - at / 10),
            "validation_pass": None,
        }
        for at in range(len(ANSWERS))
        for sample, (prompt, truth) in enumerate(PROMPTS)
    )


def some_events() -> tuple[Event, ...]:
    """What happened to the run, as the pod wrote it down."""
    told = (
        ("phase", None, {"phase": "load"}),
        ("state", None, {"status": "running"}),
        ("eval", 300, {"eval_loss": 1.0436, "train_loss": 0.97, "score": {"total": 0.457}}),
        ("checkpoint", 300, {"path": "checkpoints/checkpoint-300"}),
        ("recovery", 640, {"failure": "CUDA out of memory", "action": "batch 8 → 4, accumulation 4 → 8"}),
        ("alert", 1200, {"alert": "overfitting", "severity": "error", "message": "eval loss rises"}),
    )
    return tuple(
        Event(seq, NOW - timedelta(minutes=len(told) - seq), 1, type, step, data)
        for seq, (type, step, data) in enumerate(told, 1)
    )


def alerts() -> tuple[Alert, ...]:
    """One of each severity."""
    return (
        Alert(
            "job-07",
            NOW - timedelta(minutes=39),
            "data.truncated",
            "info",
            "3 rows longer than 2048 tokens were cut",
            0,
        ),
        Alert(
            "job-07",
            NOW - timedelta(minutes=8),
            "trend.overfitting",
            "warning",
            "eval loss rises while train loss falls",
            1200,
        ),
    )


def a_snapshot(job: Job | None = None, view: ChartView | None = None, **detail: Any) -> Snapshot:
    """A live run on the screen and a few finished ones beside it."""
    job = job or a_job()
    others = tuple(
        a_job(
            number,
            status=Status.COMPLETED if number != 2 else Status.FAILED,
            phase=None,
            progress=100.0 if number != 2 else 2.0,
            created_at=NOW - timedelta(days=9 - number),
            completed_at=NOW - timedelta(days=9 - number, hours=-2) if number != 2 else None,
            error_message="CUDA out of memory at step 40" if number == 2 else None,
            best_eval_loss=0.66 + 0.09 * (7 - number),
            cost_total=3.5 + number / 10,
            size_bytes=14_200_000_000,
        )
        for number in (6, 5, 3, 2)
    )
    return Snapshot(
        taken_at=NOW,
        jobs=(job, *others),
        job=a_detail(job, view, **detail),
        totals=Totals(live=2, cost_per_hour=1.88, cost_today=6.12, strays=1, strays_per_hour=0.44),
    )


def answered(snapshot: Snapshot, question: Question) -> Snapshot:
    """What the question asks of the run besides its curves."""
    detail = snapshot.job
    if detail is None:
        return snapshot
    view, job = detail.view, detail.job
    steps = {row.step for row in detail.checkpoints} | {alert.step for alert in detail.alerts if alert.step}
    place = place_of(question.moment, job)
    pointed = Pointed(question.moment, place, detail.host[:30]) if question.moment else None
    detail = replace(
        detail,
        pointed=pointed,
        at={} if view.axis == "step" else {step: x_of(step, view.axis) for step in steps},
        predictions=predictions() if "predictions" in question.extras else (),
        events=some_events() if "events" in question.extras else (),
    )
    return replace(snapshot, job=detail)


Answer = Callable[[Question], Snapshot]
"""What a fake desk takes a snapshot with."""


def empty(question: Question) -> Snapshot:
    """A new machine: no run yet."""
    return Snapshot(taken_at=NOW)


def live(question: Question) -> Snapshot:
    """A run in the middle, on a rented GPU."""
    return a_snapshot(view=question.view, alerts=alerts())


def finished(question: Question) -> Snapshot:
    """The same run when it is over."""
    job = a_job(
        status=Status.COMPLETED,
        phase=None,
        progress=100.0,
        current_step=STEPS,
        current_epoch=3.0,
        remaining_seconds=None,
        completed_at=NOW - timedelta(hours=3),
        cost_total=4.35,
    )
    return a_snapshot(job, question.view, link="ended", host=(), cost_since_best=1.92)


def failed(question: Question) -> Snapshot:
    """A run that ran out of memory at step 40."""
    job = a_job(
        2,
        status=Status.FAILED,
        phase=None,
        progress=2.0,
        current_step=40,
        current_epoch=0.06,
        remaining_seconds=None,
        failed_at=NOW - timedelta(minutes=4),
        eval_loss=None,
        best_eval_loss=None,
        best_step=None,
        cost_total=0.19,
        error_message="CUDA out of memory: 79.1 of 80.0 GB in use. Use a smaller max_length or batch_size.",
    )
    alert = Alert(
        job.id, NOW - timedelta(minutes=4), "out_of_memory", "error", "CUDA out of memory at step 40", 40
    )
    return a_snapshot(
        job, question.view, link="ended", host=(), trend=None, alerts=(alert,), cost_since_best=None
    )


def disconnected(question: Question) -> Snapshot:
    """The connection to the pod is gone; the run may well go on."""
    job = a_job(last_heartbeat_at=NOW - timedelta(seconds=94))
    return a_snapshot(job, question.view, link="reconnecting")


def starting(question: Question) -> Snapshot:
    """Queued: nothing is known yet, and nothing may be shown as 0."""
    job = a_job(
        8,
        status=Status.PENDING,
        phase="upload",
        started_at=None,
        last_heartbeat_at=None,
        progress=None,
        current_step=None,
        total_steps=None,
        current_epoch=None,
        total_epochs=None,
        elapsed_seconds=None,
        remaining_seconds=None,
        learning_rate=None,
        loss=None,
        eval_loss=None,
        best_eval_loss=None,
        best_step=None,
        tokens_per_second=None,
        cost_total=None,
    )
    return a_snapshot(job, question.view, host=(), trend=None, cost_since_best=None)


def on_this_machine(question: Question) -> Snapshot:
    """A local run: no GPU, no dollars."""
    job = a_job(provider="local", gpu_type=None, gpu_count=0, cost_per_hour=0.0, cost_total=0.0, config={})
    host = tuple(
        replace(sample, gpus=(), memory_used_gb=5.1, memory_total_gb=15.9) for sample in host_history()
    )
    return a_snapshot(job, question.view, host=host, cost_since_best=0.0)


def eight_gpus(question: Question) -> Snapshot:
    """A whole node."""
    return a_snapshot(a_job(gpu_count=8), question.view, host=host_history(gpus=8))


PANELS = (
    Panel("loss components", ("loss_components/ptr", "loss_components/span", "loss_components/countdown")),
    Panel("task weights", ("uncertainty_params/weight_ptr", "uncertainty_params/weight_span")),
    Panel("separation", ("probability_stats/separation",)),
    Panel("feature drift", ("feature_stats/mean", "feature_stats/std")),
    Panel("gradients", ("gradient_stats/encoder", "gradient_stats/head"), log=True, left_out=12),
)


def criteria(question: Question) -> Snapshot:
    """Somebody's script, which is to reach something."""
    job = a_job(4, name="baseline-100ep", method="script", model_name=None, base_model=None, eval_loss=None)
    names = [name for panel in PANELS for name in panel.metrics]
    made = {
        name: tuple((step, 1 / (at + 1) + math.exp(-step / 300)) for step in range(0, 1221, 12))
        for at, name in enumerate(names)
    }
    snapshot = a_snapshot(job, question.view, panels=PANELS, metrics=("loss", "eval_loss", *names))
    assert snapshot.job is not None
    mine = {
        name: reduced(job.id, name, made[name], question.view)
        for name in question.view.metrics
        if name in made
    }
    tiers = (
        Tier("minimum", True, (Check("eval_loss", "-20 %", 11.0, 17.7, -0.379, 14.2, 3.2, 88, True),)),
        Tier(
            "strong",
            False,
            (
                Check("eval_loss", "-30 %", 11.0, 17.7, -0.379, 12.4, 1.4, 88, True),
                Check("probability_stats/separation", "> 0.10", 0.04, 0.0, None, 0.1, -0.06, 90, False),
            ),
        ),
        Tier("exceptional", None, (Check("span_f1", "> 0.45"),)),
    )
    flags = (Flag("layer", "warning", "head: gradient norm 41.2, 212 times the median layer's"),)
    standing = Standing(tiers, "minimum", flags)
    detail = replace(
        snapshot.job,
        curves={**snapshot.job.curves, **mine},
        standing=standing,
        trend=None,
        selection_reason="",
    )
    return replace(snapshot, job=detail)


STATES: dict[str, Answer] = {
    answer.__name__: answer
    for answer in (
        empty,
        starting,
        live,
        finished,
        failed,
        disconnected,
        on_this_machine,
        eight_gpus,
        criteria,
    )
}


class FakeDesk:
    """A desk without an engine: it answers with made-up snapshots and remembers the wishes.

    Args:
        answer: Makes the snapshot for a question.
        log: The run's log file, if it has one.
    """

    def __init__(self, answer: Answer = live, log: str | None = None) -> None:
        self.answer = answer
        self.log = log
        self.wishes: list[Any] = []
        self.costs = ""
        self.rented: Account | None = None
        self.settings: dict[str, Any] = {}
        self.questions: list[Question] = []
        self.changed: Callable[[], None] = lambda: None
        self.closed = False
        self.launching = FakeLaunching()

    async def open(self, changed: Callable[[], None]) -> None:
        self.changed = changed

    def take(self, question: Question) -> Snapshot:
        self.questions.append(question)
        snapshot = answered(self.answer(question), question)
        if snapshot.job is not None and self.log is not None:
            snapshot = replace(snapshot, job=replace(snapshot.job, log_path=self.log))
        return snapshot

    async def carry_out(self, wish: Any, told: Callable[[str], None] = print) -> str:
        self.wishes.append(wish)
        return ""

    async def ledger(self, by: Group) -> tuple[Line, ...]:
        return waste_ledger(self.answer(Question()).jobs, by)

    async def account(self) -> Account:
        if self.rented is None:
            raise Unauthorized("there is no RunPod API key", "Set RUNPOD_API_KEY.")
        return self.rented

    async def price(self, wish: Any) -> str:
        return self.costs

    def now(self) -> datetime:
        return NOW

    def recall(self, key: str, default: Any = None) -> Any:
        return self.settings.get(key, default)

    def remember(self, key: str, value: Any) -> None:
        self.settings[key] = value

    async def close(self) -> None:
        self.closed = True


def a_log(lines: int = 400) -> bytes:
    """What a trainer prints, with a warning and a coloured line in it."""
    rows = []
    for index in range(lines):
        step = 1220 - lines + index + 1
        moment = NOW - timedelta(seconds=2 * (lines - index))
        loss, rate = train_loss(max(0, step)), 1e-4 * (1 + math.cos(math.pi * step / STEPS))
        rows.append(f"{moment:%H:%M:%S}  step {step}  loss {loss:.4f}  grad_norm 0.80  lr {rate:.2e}")
        if step == 1200:
            rows.append(f"{moment:%H:%M:%S}  eval at step 1200: eval_loss {eval_loss(1200):.4f}")
        if step == 1216:
            rows.append(
                f"{moment:%H:%M:%S}  \x1b[33mWARNING\x1b[0m tokenizer: 3 rows longer than 2048 were truncated"
            )
    return "\n".join(rows).encode() + b"\n"
