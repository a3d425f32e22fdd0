"""Filters that were saved under a name: `@name` stands for one, alone or among other conditions. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from engine.analysis.filters import Filter
from engine.errors import BadInput

SETTING: Final = "filters"
"""Where they are kept: a JSON object of texts by name."""

_NAME: Final = re.compile(r"[^\W_][\w-]{0,39}")
_WORD: Final = re.compile(r"(?<!\S)@(\S+)")


def known(kept: Any) -> dict[str, str]:
    """The filters from what was kept, by name; what makes no sense is left out."""
    if not isinstance(kept, Mapping):
        return {}
    return {
        name: text
        for name, text in kept.items()
        if isinstance(name, str) and isinstance(text, str) and _NAME.fullmatch(name)
    }


def checked(name: str, text: str) -> tuple[str, str]:
    """The name, without its @, and the filter, if they can be kept.

    Raises:
        BadInput: The name is none, or the filter can't be understood, is empty, or names another one.
    """
    name, text = name.strip().removeprefix("@"), text.strip()
    if not _NAME.fullmatch(name):
        raise BadInput(f"{name!r} can't name a filter", "Take up to 40 letters, digits, _ and -.")
    if not text:
        raise BadInput("there is no filter to save", "/ begins one.")
    Filter.parse(text)
    return name, text


def expanded(text: str, saved: Mapping[str, str]) -> str:
    """A filter with what its `@name`s stand for in their places.

    Raises:
        BadInput: There is no such name.
    """

    def meaning(match: re.Match[str]) -> str:
        name = match[1]
        if name not in saved:
            import difflib

            close = difflib.get_close_matches(name, saved, n=1, cutoff=0.5)
            listed = ", ".join(f"@{each}" for each in saved) or "none yet"
            advice = f"Did you mean @{close[0]}?" if close else f"Saved: {listed}."
            raise BadInput(f"no filter is saved as @{name}", advice)
        return saved[name]

    return _WORD.sub(meaning, text)


def completions(word: str, saved: Mapping[str, str]) -> Iterator[str]:
    """What `@na` may become."""
    if word.startswith("@"):
        yield from (f"@{name}" for name in saved if name.startswith(word[1:]))
