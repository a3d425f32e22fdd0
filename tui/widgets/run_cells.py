"""What each column says of a run, and in which style."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Final

from rich.cells import cell_len, set_cell_size

from engine.analysis import format as words
from engine.analysis.configuration import setting
from engine.job.events import Status
from engine.records import Job
from tui.widgets.clean import clean
from tui.widgets.run_scene import Scene

Piece = tuple[str, str]
"""A text and its style."""

STATUS: Final[Mapping[Status, Piece]] = {
    Status.QUEUED: ("◌", "$text-muted"),
    Status.PENDING: ("◌", "$accent"),
    Status.RUNNING: ("●", "$accent"),
    Status.PAUSED: ("‖", "$warning"),
    Status.COMPLETED: ("✓", "$text-muted"),
    Status.FAILED: ("✗", "$warning"),
    Status.CANCELLED: ("–", "$text-muted"),
}
"""The icon of each status. Red is kept for what costs money or quality."""

_OUT_OF_MEMORY: Final = re.compile(r"out ?of ?memory|\boom\b", re.IGNORECASE)


def fit(text: str, width: int, right: bool = False) -> str:
    """A text of exactly `width` cells, cut with an ellipsis or filled up with spaces."""
    if width <= 0:
        return ""
    if (length := cell_len(text)) > width:
        return set_cell_size(text, width - 1) + "…"
    return " " * (width - length) + text if right else text + " " * (width - length)


def failed_of(job: Job) -> str:
    """What a failed run failed of, in a few words."""
    said = clean((job.error_message or "").strip().partition("\n")[0])
    reason = "OOM" if _OUT_OF_MEMORY.search(said) else said
    where = f" at step {words.count(job.current_step)}" if job.current_step and len(reason) < 40 else ""
    return f"{reason or 'no reason known'}{where}"


def status(job: Job) -> Piece:
    """The status in words, with its icon: how far a live run is, what a failed one failed of."""
    icon, style = STATUS[job.status]
    if job.archived or job.deleted:
        return f"{icon} {'in trash' if job.deleted else 'archived'}", "$text-muted"
    if job.status is Status.RUNNING and job.progress is not None:
        return f"{icon} running {words.percent(job.progress)}", style
    if job.status is Status.FAILED:
        return f"{icon} {failed_of(job)}", style
    return f"{icon} {'replay' if job.replay and job.status is Status.COMPLETED else job.status.value}", style


def standing(job: Job, scene: Scene) -> Piece:
    """★ for the best of its model, = for its exact tie, else how much worse; red from where it may go."""
    worse = scene.worse(job)
    if worse is None:
        return "", "$text-muted"
    if scene.is_best(job):
        return "★ best", "bold $accent"
    if worse == 0:
        return "= best", "$accent"
    return words.change(worse) if worse >= 0.01 else f"{worse * 100:+.1f} %", alarm(worse, scene)


def alarm(worse: float, scene: Scene) -> str:
    """The style of a run that is so much worse than the best."""
    return (
        "$error" if worse > scene.archive_above else "$warning" if worse > scene.warn_above else "$text-muted"
    )


def when(moment: datetime | None, now: datetime) -> str:
    """A date in at most seven cells: `14:05`, `Dec 2`, `2025-12`."""
    text = words.day(moment, now)
    return text if len(text) <= 6 or moment is None else f"{moment.astimezone():%Y-%m}"


def plain(value: str, style: str = "$foreground") -> Piece:
    """A value; one that nobody knows stands back."""
    return value, "$text-muted" if value == words.UNKNOWN else style


def eval_loss(job: Job, scene: Scene) -> Piece:
    """The best eval loss, or the best reward, signed; the best of the model stands out."""
    reward = job.best_eval_reward
    told = words.loss(job.best_eval_loss) if reward is None else f"{reward:+.3g}"
    return plain(told, "bold" if scene.is_best(job) else "$foreground")


def gpu(job: Job) -> Piece:
    """What it runs on."""
    return plain(clean(job.gpu_type) or words.UNKNOWN)


def data(job: Job) -> Piece:
    """The end of the path of its data, which tells one set from the next."""
    path = clean(job.dataset_path)
    return plain("/".join(path.split("/")[-2:]) if path else words.UNKNOWN)


def note(job: Job) -> Piece:
    """What was noted of it."""
    noted = job.metadata.get("note")
    return clean(noted) if isinstance(noted, str) else "", "$secondary"


def cost(job: Job) -> Piece:
    """What it cost so far."""
    return plain(words.dollars(job.cost_total))


def learning_rate(job: Job) -> float | None:
    """The one that was set; else the newest that was logged."""
    rate = setting(job, "training", "learning_rate")
    return float(rate) if isinstance(rate, (int, float)) else job.learning_rate


def best_epoch(job: Job) -> Piece:
    """The epoch of the best checkpoint, and of how many."""
    if job.best_epoch is None:
        return words.UNKNOWN, "$text-muted"
    return f"{job.best_epoch:.3g}" + (f" / {job.total_epochs:.3g}" if job.total_epochs else ""), "$foreground"
