"""Two texts word by word: what an answer shares with another, what it has too much, what it lacks. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Literal

Kind = Literal["same", "added", "missing"]

MOST = 400
"""Words that are compared; what comes after is taken as it is."""

ALIKE = 0.4
"""Texts that share less are not compared word by word: it would only confuse."""


def difference(before: str, after: str) -> Iterator[tuple[Kind, str]]:
    """The pieces of `after` in order, those of `before` that it lacks at their places."""
    from difflib import SequenceMatcher

    old, new = _words(before), _words(after)
    head_old, head_new = old[:MOST], new[:MOST]
    matcher = SequenceMatcher(None, head_old, head_new, False)
    one, other = set(re.findall(r"\w+", before)), set(re.findall(r"\w+", after))
    if len(one & other) < ALIKE * min(len(one), len(other)) or not one:
        yield "added", after
        return
    for tag, first, last, start, end in matcher.get_opcodes():
        if tag == "equal":
            yield "same", "".join(head_new[start:end])
            continue
        if last > first:
            yield "missing", "".join(head_old[first:last])
        if end > start:
            yield "added", "".join(head_new[start:end])
    if new[MOST:]:
        yield "same", "".join(new[MOST:])


def _words(text: str) -> list[str]:
    """Words and what stands between them."""
    return re.findall(r"\w+|\W", text)
