"""Numbers as they come out of JSON, CSV and arrays -> floats, and back into JSON. Ships; stdlib only."""

from __future__ import annotations

import math
from numbers import Real
from typing import Any, Final

_LONGEST: Final = 400
"""Of a text that may be a number: longer than any float that was ever printed (characters)."""


def number(value: object) -> float | None:
    """The float that a value stands for, or None where it stands for none.

    Real numbers of any library count, and texts such as "0.5", "NaN" or "-Infinity"; booleans do not.
    What is too large for a float is infinite.
    """
    if type(value) is float:
        # One NaN object, so that equal scores compare equal.
        return value if value == value else math.nan
    if value is None or isinstance(value, bool) or not isinstance(value, (Real, str)):
        return None
    if isinstance(value, str) and ("_" in value or len(value) > _LONGEST):
        return None
    try:
        result = float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf  # type: ignore[operator]
    except (ValueError, TypeError):
        return None
    return result if result == result else math.nan


def whole(value: object) -> int | None:
    """The whole number that a value stands for, exactly, or None."""
    if isinstance(value, int) and not isinstance(value, bool):
        return int(value) if abs(value) < 1 << 63 else None
    result = number(value)
    if result is None or not result.is_integer() or abs(result) >= 1 << 53:
        return None
    return int(result)


def jsonable(value: Any) -> Any:
    """A value that strict JSON can hold: what is not finite becomes "NaN", "Infinity" or "-Infinity"."""
    if not isinstance(value, float) or math.isfinite(value):
        return value
    if value != value:
        return "NaN"
    return "Infinity" if value > 0 else "-Infinity"
