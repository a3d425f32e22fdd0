"""Python values <-> what a column holds: moments, numbers, JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from enum import Enum
from typing import Any, Final

from engine.job.events import number, plain, stamp

_ENCODER: Final = json.JSONEncoder(separators=(",", ":"), allow_nan=False)
"""Made once: it is used for every event."""


class StoredJson(Mapping[str, Any]):
    """A JSON object that is parsed when it is first looked into: lists of jobs are read far more often.

    Args:
        text: The JSON; anything but an object reads as empty.
    """

    __slots__ = ("_text", "_value")

    def __init__(self, text: str) -> None:
        self._text = text
        self._value: dict[str, Any] | None = None

    def _parsed(self) -> dict[str, Any]:
        if self._value is None:
            self._value = json_object(self._text)
        return self._value

    def __getitem__(self, key: str) -> Any:
        return self._parsed()[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._parsed())

    def __len__(self) -> int:
        return len(self._parsed())

    def __eq__(self, other: object) -> bool:
        if isinstance(other, StoredJson) and other._text == self._text:
            return True
        return isinstance(other, Mapping) and self._parsed() == dict(other)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"StoredJson({self._text!r})"


def json_object(text: str | None) -> dict[str, Any]:
    """The object that a JSON text holds; empty for anything else."""
    try:
        value = json.loads(text) if text else {}
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def json_list(text: str | None) -> list[Any]:
    """The list that a JSON text holds; empty for anything else."""
    try:
        value = json.loads(text) if text else []
    except (ValueError, RecursionError):
        return []
    return value if isinstance(value, list) else []


def json_text(value: Any) -> str:
    """A value as ASCII JSON, so that no lone surrogate of a pod's can spoil a row."""
    try:
        return _ENCODER.encode(value)
    except (ValueError, TypeError):
        return _ENCODER.encode(plain(value))


def column(value: Any) -> Any:
    """A Python value as a column takes it: stamps, JSON, and "NaN", for which SQLite has no number."""
    if isinstance(value, float):
        return "NaN" if math.isnan(value) else value
    if value is None or isinstance(value, (int, bytes)):
        return value
    if isinstance(value, Enum):
        return str(value.value)
    if isinstance(value, str):
        return text(value)
    if isinstance(value, datetime):
        return stamp(value if value.tzinfo else value.replace(tzinfo=UTC))
    if isinstance(value, Mapping):
        return json_text(dict(value))
    return json_text(list(value))


def real(value: Any) -> float | None:
    """A column as a float; the text "NaN" is NaN."""
    if isinstance(value, str):
        return math.nan
    return None if value is None else float(value)


def moment(value: str | None) -> datetime | None:
    """A column as a moment; None for what is none."""
    if not value:
        return None
    try:
        return datetime.fromisoformat(value)
    except ValueError:
        return None


def text(value: Any, limit: int = 100_000) -> str:
    """A pod's value as text that SQLite takes, cut to `limit` characters."""
    return str(value)[:limit].encode("utf-8", "replace").decode("utf-8")


def words(value: Any, limit: int = 2_000) -> str | None:
    """A pod's text; None unless it is a string with something in it."""
    return text(value, limit) if isinstance(value, str) and value.strip() else None


def finite(value: Any) -> float | None:
    """A pod's number; None for what is no number or not finite."""
    found = number(value)
    return found if found is not None and math.isfinite(found) else None


def count(value: Any) -> int | None:
    """A pod's count: a whole number from 1 that SQLite can hold; None otherwise, so also for 0."""
    found = finite(value)
    return int(found) if found is not None and 1 <= found < 2**62 else None


def mapping(value: Any) -> Mapping[str, Any]:
    """A pod's object; empty for anything else."""
    return value if isinstance(value, Mapping) else {}
