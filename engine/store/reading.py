"""Whole lines of `events.jsonl` -> events, each with the texts that its row keeps."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, NamedTuple, NoReturn

from engine.errors import BadWireLine
from engine.job.events import MAX_LINE, Event, decode, stamp
from engine.store.values import json_text

MAX_DEPTH: Final = 32
"""How deep the data of an event may be nested: what is deeper could exhaust the stack of who walks it."""


class Told(NamedTuple):
    """An event, with its moment as the wire writes it and its data as JSON in ASCII."""

    event: Event
    ts: str
    data: str


@dataclass(frozen=True, slots=True)
class BadLine:
    """A whole line that is no event."""

    at: int
    line: bytes
    reason: str


def parsed(lines: bytes, at: int) -> tuple[list[Told], list[BadLine]]:
    """The events and the bad lines of some whole lines that start at byte `at` of the file."""
    good: list[Told] = []
    bad: list[BadLine] = []
    for line in lines[:-1].split(b"\n"):
        if (plainly := _plainly(line)) is not None:
            good.append(plainly)
        elif line.strip():
            try:
                good.append(told(decode(line)))
            except BadWireLine as error:
                bad.append(BadLine(at, line, error.what))
        at += len(line) + 1
    return good, bad


def told(event: Event) -> Told:
    """An event with its texts.

    Raises:
        BadWireLine: It is nested too deeply.
    """
    if _nested(event.data):
        raise BadWireLine(f"an event nested deeper than {MAX_DEPTH} levels")
    return Told(event, stamp(event.ts), json_text(event.data))


def _no_number(name: str) -> NoReturn:
    raise ValueError(name)


_LINE: Final = re.compile(
    r'\{"v":1,"seq":([1-9]\d{0,17}),"ts":"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z)","attempt":([1-9]\d{0,8}),'
    r'"type":"([a-z_]{1,60})","step":(null|0|[1-9]\d{0,17}),"data":(\{.*\})\}',
    re.ASCII,
)
"""A line as our own writer writes it: nearly all are."""

_LONG: Final = 300
_DIGITS: Final = re.compile(rf"\d{{{_LONG}}}")
_EXPONENT: Final = re.compile(r"[eE]\+?\d{3}")
_SCAN: Final = json.JSONDecoder(parse_constant=_no_number).raw_decode


def _plainly(line: bytes) -> Told | None:
    """The event of a line that is as we write it and in ASCII; None where it takes a closer look.

    The line's head says all but the data, and these are one whole JSON object: the line can mean nothing
    else, and the object is kept as it stands. To write each anew would cost as much as to read it.
    """
    if not line.isascii() or len(line) > MAX_LINE or not (found := _LINE.fullmatch(line.decode("ascii"))):
        return None
    seq, ts, attempt, type, step, data = found.groups()
    try:
        value, end = _SCAN(data)
        moment = datetime.fromisoformat(ts)
    except (ValueError, RecursionError):
        return None
    if end != len(data) or math.inf in value.values() or -math.inf in value.values():
        return None  # a number that is too large for one is said in a word
    if (inner := data.count("{") + data.count("[")) > 1 and (inner > MAX_DEPTH or _may_overflow(data)):
        return None
    event = Event(int(seq), moment, int(attempt), type, None if step == "null" else int(step), value)
    return Told(event, ts, data)


def _may_overflow(data: str) -> bool:
    """May there be a number in it that is read as infinite?"""
    return bool(_EXPONENT.search(data) or (len(data) > _LONG and _DIGITS.search(data)))


def _nested(data: Mapping[str, Any]) -> bool:
    """Is it nested deeper than we walk?"""
    level: list[Any] = [data]
    for _ in range(MAX_DEPTH):
        level = [
            inner
            for item in level
            for inner in (item.values() if isinstance(item, Mapping) else item)
            if isinstance(inner, (dict, list))
        ]
        if not level:
            return False
    return True
