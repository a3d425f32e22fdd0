"""One thing that was looked at, and what came of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

State = Literal["ok", "absent", "bad"]
"""`absent`: something optional that is not there. `bad`: Podium does not work here until it is mended."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What a probe found.

    Args:
        name: What was looked at.
        state: What came of it.
        value: What was found, for people.
        advice: How to get or mend it; empty when all is well.
    """

    name: str
    state: State
    value: str
    advice: str = ""
