"""The fields that a filter may name, and how a word that is being typed is completed. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from engine.analysis.configuration import setting
from engine.job.events import Status
from engine.records import Job

Predicate = Callable[[Job], bool]

SECONDS: Final = {"s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86_400.0, "w": 604_800.0}
"""The units of spans, in seconds."""

_BYTES: Final = {"b": 1.0, "kb": 1e3, "mb": 1e6, "gb": 1e9, "tb": 1e12}
_COUNTS: Final = {"": 1.0, "%": 1.0, "k": 1e3, "m": 1e6, "g": 1e9, "b": 1e9}


@dataclass(frozen=True, slots=True)
class Number:
    """A field that is compared.

    Args:
        value: What it is of a job; None when unknown.
        units: The units that its numbers may have; without "" they must have one.
        example: A condition on it, for errors.
    """

    value: Callable[[Job], float | None]
    units: Mapping[str, float]
    example: str


def _learning_rate(job: Job) -> float | None:
    given = setting(job, "training", "learning_rate")
    return float(given) if isinstance(given, (int, float)) else job.learning_rate


NUMBERS: Final[Mapping[str, Number]] = {
    "loss": Number(lambda job: job.best_eval_loss, _COUNTS, "loss<0.7"),
    "eval": Number(lambda job: job.eval_loss, _COUNTS, "eval<0.7"),
    "train": Number(lambda job: job.loss, _COUNTS, "train<0.7"),
    "score": Number(lambda job: job.best_checkpoint_score, _COUNTS, "score<0.5"),
    "perplexity": Number(lambda job: job.perplexity, _COUNTS, "perplexity<2"),
    "lr": Number(_learning_rate, _COUNTS, "lr>=1e-4"),
    "cost": Number(lambda job: job.cost_total, _COUNTS, "cost>2"),
    "rate": Number(lambda job: job.cost_per_hour, _COUNTS, "rate>1.5"),
    "time": Number(lambda job: job.elapsed_seconds, SECONDS, "time>2h"),
    "left": Number(lambda job: job.remaining_seconds, SECONDS, "left<30m"),
    "size": Number(lambda job: job.size_bytes, _BYTES, "size>10GB"),
    "step": Number(lambda job: job.current_step, _COUNTS, "step>=100"),
    "epoch": Number(lambda job: job.current_epoch, _COUNTS, "epoch>2"),
    "progress": Number(lambda job: job.progress, _COUNTS, "progress<50%"),
    "tokens": Number(lambda job: job.total_tokens_processed, _COUNTS, "tokens>1M"),
    "speed": Number(lambda job: job.tokens_per_second, _COUNTS, "speed>3k"),
    "util": Number(lambda job: job.gpu_utilization_percent, _COUNTS, "util<80%"),
    "run": Number(lambda job: job.number, _COUNTS, "run>=7"),
}
"""The fields that are compared; `age` is another one, counted from the moment of parsing."""


def _note(job: Job) -> str:
    note = job.metadata.get("note") or job.metadata.get("notes")
    return note if isinstance(note, str) else ""


TEXTS: Final[Mapping[str, Callable[[Job], str | None]]] = {
    "name": lambda job: job.name,
    "id": lambda job: job.id,
    "model": lambda job: f"{job.base_model or ''}\n{job.model_name or ''}",
    "data": lambda job: job.dataset_path,
    "method": lambda job: job.method,
    "provider": lambda job: job.provider,
    "gpu": lambda job: job.gpu_type,
    "pod": lambda job: job.pod_id,
    "error": lambda job: job.error_message,
    "phase": lambda job: job.phase,
    "trend": lambda job: job.loss_trend,
    "note": _note,
}
"""The fields that hold text."""

STATES: Final[Mapping[str, Predicate]] = {
    "live": lambda job: job.status.live,
    "ended": lambda job: job.status.ended,
    "archived": lambda job: job.archived,
    "deleted": lambda job: job.deleted,
    "replay": lambda job: job.replay,
}
"""What `is:` may ask."""

_OTHERS: Final = ("status", "tag", "is", "age")
FIELDS: Final = (*TEXTS, *NUMBERS, *_OTHERS)
"""Every field that a condition may name."""


def completions(word: str, jobs: Iterable[Job] = ()) -> Iterator[str]:
    """What a word that is being typed may become, the likeliest first.

    Args:
        word: The last word of the filter.
        jobs: The runs whose models, tags and so on are offered.
    """
    turned = word[:1] if word[:1] in ("-", "!") else ""
    name, colon, begun = word[len(turned) :].partition(":")
    if not colon:
        yield from (f"{turned}{field}:" for field in (*TEXTS, *_OTHERS[:3]) if field.startswith(name))
        yield from (f"{turned}{number.example}" for key, number in NUMBERS.items() if key.startswith(name))
        return
    values = dict.fromkeys(_values(name, jobs))
    folded = begun.strip('"').casefold()
    for value in values:
        if value.casefold().startswith(folded):
            yield f'{turned}{name}:"{value}"' if re.search(r"\s", value) else f"{turned}{name}:{value}"


def _values(name: str, jobs: Iterable[Job]) -> Iterator[str]:
    """The values of a field."""
    if name == "status":
        yield from Status
    elif name == "is":
        yield from STATES
    elif name == "tag":
        yield from (tag for job in jobs for tag in job.tags)
    elif name == "model":
        yield from (job.base_model for job in jobs if job.base_model)
    elif name in TEXTS:
        yield from (value for job in jobs if (value := TEXTS[name](job)) and len(value) <= 60)
