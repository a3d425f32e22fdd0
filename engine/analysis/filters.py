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
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from engine.analysis.filter_fields import (
    FIELDS,
    NUMBERS,
    SECONDS,
    STATES,
    TEXTS,
    Number,
    Predicate,
    completions,
)
from engine.errors import BadInput
from engine.job.events import Status
from engine.records import Job

__all__ = ["Filter", "completions"]

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
        if not conditions:
            return list(jobs)
        if len(conditions) == 1:
            return list(filter(conditions[0], jobs))
        return [job for job in jobs if all(condition(job) for condition in conditions)]


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
        age = Number(lambda job: (now - job.created_at).total_seconds(), SECONDS, "age<7d")
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
