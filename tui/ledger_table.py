"""The waste ledger as a table of texts, for the screen and the command line. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from engine.analysis import format as words
from engine.analysis.waste import WASTE, Group, Line, Paid

UNPRICED = "Time on machines without a price counts as time alone."


def table(lines: Sequence[Line], by: Group) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """The heads, and a row for each line of the ledger."""
    if by == "phase":
        return ("PHASE", "RUNS", "TIME", "COST"), [_beginning(item) for item in lines]
    head = (by.upper(), "RUNS", "TIME", "COST", *(name.upper() for name in WASTE), "WASTED")
    rows = [(*_beginning(item), *(_short(item, name) for name in WASTE), _share(item)) for item in lines]
    return head, rows


def unpriced(lines: Sequence[Line]) -> bool:
    """Is there time without a price?"""
    return any(item.paid.unpriced for item in lines)


def _beginning(item: Line) -> tuple[str, ...]:
    return item.name, str(item.runs), words.duration(item.paid.seconds), words.dollars(item.paid.known)


def _short(item: Line, name: str) -> str:
    """What one kind of waste took: dollars where they are known, else time."""
    paid: Paid | None = item.parts.get(name)
    if paid is None:
        return words.UNKNOWN
    return words.duration(paid.seconds) if paid.known is None else words.dollars(paid.known)


def _share(item: Line) -> str:
    """How much of the line was wasted, of the dollars where they are known, else of the time."""
    whole, part = item.paid, item.wasted
    if whole.dollars:
        return words.percent(100 * part.dollars / whole.dollars)
    return words.percent(100 * part.seconds / whole.seconds if whole.seconds else None)
