"""What a user may say of a run: names, tags and notes that can be typed again. Pure."""

from __future__ import annotations

from typing import Final

from engine.errors import BadInput

LONGEST: Final = 100
"""Characters of a name or a tag, as in the spec."""


def plain(what: str, text: str) -> str:
    """The text, if it can be a name or a tag.

    Raises:
        BadInput: It can't.
    """
    if not 0 < len(text) <= LONGEST or not text.isprintable():
        raise BadInput(f"a {what} is one line of 1 to {LONGEST} printable characters, not {text!r}")
    if what == "tag" and any(character.isspace() for character in text):
        raise BadInput(f"a tag has no blanks, not {text!r}")
    return text


def tags_in(text: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The tags to add and those to take away: `+final -debug`; a word without a sign is added.

    Raises:
        BadInput: One of them can't be a tag, or there is none.
    """
    words = text.split()
    add = tuple(plain("tag", word.removeprefix("+").removeprefix("#")) for word in words if word[0] != "-")
    drop = tuple(word[1:].removeprefix("#") for word in words if word[0] == "-")
    if not (add or drop):
        raise BadInput("there is no tag", "For instance: +final -debug.")
    return add, drop
