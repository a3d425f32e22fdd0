"""Events that tell how a job goes, and what they change: start, state, phase, verdict, result."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from engine.job.events import Event, Status, stamp
from engine.store.projection import MAX_JSON, Projection, has_step, stored_object
from engine.store.values import count, finite, json_text, mapping, words

_NOT_METADATA: Final = frozenset({"config", "total_steps", "total_epochs"})


def start(run: Projection, event: Event) -> None:
    """An attempt begins: the effective configuration, and how much there is to do."""
    # Its validation library takes a while to load, and who only reads the store needs none of it.
    from engine.job.spec import merged

    data, job = event.data, run.job
    run.started(event)
    if has_step(event) and event.step is not None and event.attempt > run.memory.attempt:
        run.resume(event.attempt, event.step + 1)
        if job["current_step"] is not None:
            job["current_step"] = min(job["current_step"], event.step)
    config = merged(stored_object(job["config"]), mapping(data.get("config")))
    if changed := mapping(stored_object(job["metadata"]).get("limits")):
        config = merged(config, {"limits": changed})
    if len(json_text(config)) <= MAX_JSON:
        job["config"] = config
    samples = mapping(data.get("samples"))
    for name, side in (("train_samples", "train"), ("val_samples", "eval")):
        job[name] = count(data.get(name)) or count(samples.get(side)) or job[name]
    job["total_samples"] = count((job["train_samples"] or 0) + (job["val_samples"] or 0))
    job["total_steps"] = count(data.get("total_steps"))
    _configured(job, config, finite(data.get("total_epochs")))
    run.check_totals()
    run.note({name: value for name, value in data.items() if name not in _NOT_METADATA})


def _configured(job: dict[str, Any], config: Mapping[str, Any], total_epochs: float | None) -> None:
    """Set the columns that repeat the configuration."""
    training, pod = mapping(config.get("training")), mapping(config.get("pod"))
    if total_epochs is None and training.get("max_steps") is None:
        total_epochs = finite(training.get("epochs"))
    job["total_epochs"] = total_epochs if total_epochs is not None and total_epochs > 0 else None
    for name in ("batch_size", "gradient_accumulation_steps", "warmup_steps"):
        if (value := count(training.get(name))) is not None:
            job[name] = value
    if job["learning_rate"] is None:
        job["learning_rate"] = finite(training.get("learning_rate"))
    if job["cost_per_hour"] is None:
        job["cost_per_hour"] = finite(pod.get("cost_per_hour"))


def state(run: Projection, event: Event) -> None:
    """The job's status changes."""
    job = run.job
    try:
        status = Status(str(event.data.get("status")))
    except ValueError:
        return
    job["status"] = status.value
    run.memory.clock = status in (Status.PENDING, Status.RUNNING)
    if status is Status.RUNNING:
        run.started(event)
    job["completed_at"] = stamp(event.ts) if status in (Status.COMPLETED, Status.CANCELLED) else None
    job["failed_at"] = stamp(event.ts) if status is Status.FAILED else None
    job["error_message"] = _why(event.data, status)
    if (code := finite(event.data.get("exit_code"))) is not None and abs(code) < 2**31:
        job["exit_code"] = int(code)
    if status.ended:
        job["final_loss"], job["final_eval_loss"] = job["loss"], job["eval_loss"]


def _why(data: Mapping[str, Any], status: Status) -> str | None:
    """Why it failed or was ended, with what to do about it, one line each."""
    said = [text.strip().rstrip(".") for name in ("error", "advice") if (text := words(data.get(name)))]
    if said:
        return ". ".join(said)
    return words(data.get("reason")) if status in (Status.FAILED, Status.CANCELLED) else None


def alert(run: Projection, event: Event) -> None:
    """Limits that were changed while the job ran count from then on, for every attempt."""
    if event.data.get("alert") != "limits_changed":
        return
    found = {name: finite(event.data.get(name)) for name in ("max_hours", "max_cost_usd")}
    caps = {name: value for name, value in found.items() if value is not None and value > 0}
    config = stored_object(run.job["config"])
    run.job["config"] = {**config, "limits": {**mapping(config.get("limits")), **caps}}
    run.note({"limits": caps})


def phase(run: Projection, event: Event) -> None:
    """What the job is busy with."""
    if told := words(event.data.get("phase"), 60):
        run.job["phase"] = told


def trend(run: Projection, event: Event) -> None:
    """A new verdict on the losses."""
    if verdict := words(event.data.get("verdict"), 100):
        run.job["loss_trend"] = verdict


def result(run: Projection, event: Event) -> None:
    """What came out in the end."""
    run.note({"result": dict(event.data)})
