"""Two changed copies of one row become one: what both sides last agreed on tells who changed what."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from engine.store.hosted.columns import Row


@dataclass(frozen=True, slots=True)
class Merged:
    """What is to be done so that both sides hold the same.

    Args:
        here: Column -> value that this side must take.
        there: Column -> value that the other side must take.
    """

    here: Row
    there: Row


def merge(
    base: Mapping[str, Any], here: Mapping[str, Any], there: Mapping[str, Any], names: Collection[str]
) -> Merged:
    """Merge some columns; what only one side changed is that side's.

    Where both did: tags that either added are there and tags that either dropped are not, notes stand
    one below the other, and of the rest the last word counts, which is the one that is said now, here.
    """
    mine: Row = {}
    theirs: Row = {}
    for name in names:
        value = _one(name, base.get(name), here.get(name), there.get(name))
        if value != here.get(name):
            mine[name] = value
        if value != there.get(name):
            theirs[name] = value
    return Merged(mine, theirs)


def _one(name: str, base: Any, here: Any, there: Any) -> Any:
    if here == there or there == base:
        return here
    if here == base:
        return there
    if name == "tags":
        return _tags(base or [], here or [], there or [])
    if name in ("note", "notes"):
        return _note(here or "", there or "")
    return here


def _note(here: str, there: str) -> str:
    """Both, one below the other; of one that was taken away here and changed there, what stands."""
    return here if there in here else there if here in there else f"{there}\n{here}"


def _tags(base: list[str], here: list[str], there: list[str]) -> list[str]:
    """Theirs in their order, less what was dropped here, and then what was added here."""
    kept = [tag for tag in there if tag in here or tag not in base]
    return [*kept, *(tag for tag in here if tag not in base and tag not in kept)]
