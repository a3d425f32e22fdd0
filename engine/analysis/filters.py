"""The filter language of the run list: parsed once into a predicate that is quick on 10,000 runs. Pure.

    qwen                  the word is in the name, id, model or a tag; "two words" in quotes are one
    model:qwen            the field holds the text; model:qwen,llama one of them
    status:failed         a status, or the beginning of one; is:live, is:archived, is:deleted, is:replay
    tag:final             bears the tag
    loss<0.7  lr>=1e-4    numbers, with < <= > >= = !=; loss is the best eval loss
    time>2h  age<7d       spans need a unit (s m h d w), as do sizes: size>10GB
    -note:debug           a minus or an exclamation mark turns a condition round

All conditions must hold. A number that is unknown or NaN fulfils no comparison.
"""

from __future__ import annotations

import difflib
import math
import operator
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from engine.analysis.configuration import setting
from engine.errors import BadInput
from engine.job.events import Status
from engine.records import Job

Predicate = Callable[[Job], bool]

_TOKEN: Final = re.compile(r'(?:[^\s"]|"[^"]*"?)+')
_CONDITION: Final = re.compile(r"(?P<field>[A-Za-z_]+)(?P<sign>:|<=|>=|!=|<|>|=)(?P<value>.*)", re.DOTALL)
_QUANTITY: Final = re.compile(r"\$?(?P<number>[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)(?P<unit>[A-Za-z%]*)")

_SIGNS: Final[Mapping[str, Callable[[float, float], bool]]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "=": operator.eq,
    ":": operator.eq,
    "!=": operator.ne,
}

_SECONDS: Final = {"s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86_400.0, "w": 604_800.0}
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
    "time": Number(lambda job: job.elapsed_seconds, _SECONDS, "time>2h"),
    "left": Number(lambda job: job.remaining_seconds, _SECONDS, "left<30m"),
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


@dataclass(frozen=True, slots=True)
class Filter:
    """A parsed filter.

    Args:
        text: What was typed.
        conditions: All of them must hold.
    """

    text: str = ""
    conditions: tuple[Predicate, ...] = field(default=(), compare=False)

    @classmethod
    def parse(cls, text: str, now: datetime | None = None) -> Filter:
        """Parse what a user typed.

        Args:
            text: The filter; an empty one lets every run through.
            now: Ages count from here; by default from this moment.

        Raises:
            BadInput: It can't be understood; one line that says what can't.
        """
        moment = now or datetime.now(UTC)
        return cls(text, tuple(_condition(match.group(), moment) for match in _TOKEN.finditer(text)))

    def matches(self, job: Job) -> bool:
        """Does a run answer to it?"""
        return all(condition(job) for condition in self.conditions)

    def select(self, jobs: Iterable[Job]) -> list[Job]:
        """The runs that answer to it, in their order."""
        conditions = self.conditions
        if len(conditions) == 1:
            return list(filter(conditions[0], jobs))
        return [job for job in jobs if all(condition(job) for condition in conditions)]


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


def _condition(token: str, now: datetime) -> Predicate:
    """The predicate of one word."""
    if len(token) > 1 and token[0] in "-!":
        turned = _condition(token[1:], now)
        return lambda job: not turned(job)
    found = _CONDITION.fullmatch(token)
    if found is None:
        return _anywhere(_unquoted(token))
    name, sign, value = found["field"].lower(), found["sign"], _unquoted(found["value"])
    if name not in FIELDS:
        close = difflib.get_close_matches(name, FIELDS, n=1, cutoff=0.5)
        raise BadInput(f"no field {name!r}", f"Did you mean {close[0]}?" if close else f"Known: {_known()}.")
    if not value:
        raise BadInput(f"{name}{sign} needs a value")
    if name == "age":
        age = Number(lambda job: (now - job.created_at).total_seconds(), _SECONDS, "age<7d")
        return _compared(name, age, sign, value)
    if name in NUMBERS:
        return _compared(name, NUMBERS[name], sign, value)
    if sign not in (":", "=", "!="):
        raise BadInput(f"{name} holds text and can't be compared with {sign}", f"Write {name}:{value}.")
    chosen = _chosen(name, [part for part in value.casefold().split(",") if part])
    return (lambda job: not chosen(job)) if sign == "!=" else chosen


def _known() -> str:
    return ", ".join(sorted(FIELDS))


def _unquoted(text: str) -> str:
    return text.replace('"', "")


def _anywhere(word: str) -> Predicate:
    """The word is in the name, the id, the model or a tag."""
    folded = word.casefold()

    def matches(job: Job) -> bool:
        if folded in job.name.casefold() or folded in job.id.casefold():
            return True
        if folded in f"{job.base_model or ''}\n{job.model_name or ''}".casefold():
            return True
        return any(folded in tag.casefold() for tag in job.tags)

    return matches


def _chosen(name: str, values: Sequence[str]) -> Predicate:
    """A field of words has one of the values."""
    if name == "status":
        return _status(values)
    if name == "tag":
        wanted = frozenset(value.removeprefix("#") for value in values)
        return lambda job: any(tag.casefold() in wanted for tag in job.tags)
    if name == "is":
        unknown = [value for value in values if value not in STATES]
        if unknown:
            raise BadInput(f"no run can be {unknown[0]!r}", f"Known: {', '.join(STATES)}.")
        states = [STATES[value] for value in values]
        return lambda job: any(state(job) for state in states)
    text = TEXTS[name]

    def matches(job: Job) -> bool:
        held = text(job)
        return held is not None and any(value in held.casefold() for value in values)

    return matches


def _status(values: Sequence[str]) -> Predicate:
    """A status, or the beginning of one."""
    wanted: set[Any] = set()
    for value in values:
        found = [status for status in Status if status.value.startswith(value)]
        if not found:
            raise BadInput(f"no status {value!r}", f"Known: {', '.join(Status)}.")
        wanted.update(found)
    return lambda job: job.status in wanted


def _compared(name: str, number: Number, sign: str, value: str) -> Predicate:
    """A number stands in a relation to another one."""
    bound, compare, of = _quantity(name, number, value), _SIGNS[sign], number.value

    def matches(job: Job) -> bool:
        held = of(job)
        return held is not None and math.isfinite(held) and compare(held, bound)

    return matches


def _quantity(name: str, number: Number, value: str) -> float:
    """The number that a user typed, in the field's own unit."""
    found = _QUANTITY.fullmatch(value)
    if found is None:
        raise BadInput(f"{name} needs a number, not {value!r}", f"For instance {number.example}.")
    scale = number.units.get(found["unit"].lower())
    if scale is None:
        known = ", ".join(unit for unit in number.units if unit)
        said = f"no unit {found['unit']!r}" if found["unit"] else "needs a unit"
        raise BadInput(f"{name} {said} ({known})", f"For instance {number.example}.")
    return float(found["number"]) * scale
