"""Scores as they are stored, back into values; nothing that was stored is trusted or computed again."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import fields
from typing import Any, Final

from scorer.metrics import CheckpointMetrics, Validity, Weights
from scorer.number import number, whole

_LONGEST: Final = 500
"""Of a formula's name or a reason (characters)."""


def mapping(value: object, what: str) -> Mapping[str, Any]:
    """The mapping that a stored value must be.

    Raises:
        ValueError: It is none.
    """
    if not isinstance(value, Mapping):
        raise ValueError(f"{what} must be a mapping")
    return value


def rows(value: object, width: int) -> list[tuple[Any, ...]]:
    """Stored rows of numbers: a step, then `width − 1` numbers or None.

    Raises:
        ValueError: They are none, or their steps do not rise.
    """
    if not isinstance(value, list):
        raise ValueError("stored rows must be a list")
    found: list[tuple[Any, ...]] = []
    for row in value:
        if not isinstance(row, list) or len(row) != width:
            raise ValueError(f"a stored row must have {width} numbers")
        step, numbers = whole(row[0]), [number(item) for item in row[1:]]
        bad = any(item is not None and real is None for item, real in zip(row[1:], numbers, strict=True))
        if step is None or bad or (found and step <= found[-1][0]):
            raise ValueError("a stored row whose numbers are none, or are out of order")
        found.append((step, *numbers))
    return found


def score_fields(value: object) -> dict[str, Any]:
    """The fields of a stored score, checked.

    Raises:
        ValueError: It is no score: a part is missing or no number, or the parts do not add up.
    """
    stored = mapping(value, "a score")
    validity = _validity(stored)
    parts = {name: _part(stored, name) for name in ("eval_loss", "gap", "perplexity", "bonus")}
    total = _part(stored, "total")
    if validity is Validity.VALID and not math.isclose(
        total, sum(parts.values()), rel_tol=1e-9, abs_tol=1e-9
    ):
        raise ValueError("a score whose parts do not add up to its total")
    if validity is not Validity.VALID and total == total:
        raise ValueError("a score that is not valid and yet has a total")
    return {
        "metrics": _metrics(mapping(stored.get("metrics"), "a score's metrics")),
        "total": total,
        **parts,
        "validity": validity,
        "reason": _text(stored, "reason"),
        "formula": _text(stored, "formula"),
        "weights": weights(stored.get("weights", {})),
    }


def weights(value: object) -> Weights:
    """Weights as they were stored; what is absent has its default.

    Raises:
        ValueError: They are no weights.
    """
    given = mapping(value, "a score's weights")
    return Weights(**{item.name: given[item.name] for item in fields(Weights) if item.name in given})


def _validity(stored: Mapping[str, Any]) -> Validity:
    try:
        return Validity[_text(stored, "validity").upper()]
    except KeyError:
        raise ValueError("a score of an unknown validity") from None


def _text(stored: Mapping[str, Any], name: str) -> str:
    value = stored.get(name)
    if not isinstance(value, str) or len(value) > _LONGEST:
        raise ValueError(f"a score whose {name} is no short text")
    return value


def _part(stored: Mapping[str, Any], name: str) -> float:
    value = number(stored.get(name))
    if value is None:
        raise ValueError(f"a score whose {name} is no number")
    return value


def _metrics(stored: Mapping[str, Any]) -> CheckpointMetrics:
    step, improved = stored.get("step"), stored.get("improved", False)
    if not isinstance(step, int) or isinstance(step, bool) or abs(step) >= 1 << 63:
        raise ValueError("a score whose step is no whole number")
    if not isinstance(improved, bool):
        raise ValueError("a score whose improved is neither true nor false")
    values: dict[str, float | None] = {}
    for name in ("eval_loss", "train_loss", "accuracy", "reward", "kl"):
        given = stored.get(name)
        values[name] = number(given)
        if given is not None and values[name] is None:
            raise ValueError(f"a score whose {name} is no number")
    return CheckpointMetrics(step=step, improved=improved, **values)
