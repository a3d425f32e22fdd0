"""Mistakes in a spec, said so that they can be mended: all at once, with the nearest known name. Ships."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator
from typing import Any, get_args

from pydantic import BaseModel, ValidationError


def mistakes(error: ValidationError, spec: type[BaseModel]) -> Iterator[str]:
    """What is wrong with a spec: one line a mistake, in the order of its sections."""
    for detail in error.errors(include_url=False):
        place = ".".join(str(part) for part in detail["loc"])
        if detail["type"] == "extra_forbidden":
            yield f"unknown key {place}{nearest(str(detail['loc'][-1]), _keys_beside(detail['loc'], spec))}"
        elif detail["type"] == "missing":
            yield f"{place} is missing"
        elif detail["type"] == "model_type":
            yield f"{place} must be a section of keys and values, not {_shown(detail['input'])}"
        else:
            message = re.sub(r"^Value error, ", "", detail["msg"])
            message = message[:1].lower() + message[1:]
            given = detail["input"]
            shown = f", not {_shown(given)}" if given is None or isinstance(given, (str, int, float)) else ""
            yield f"{place}: {message}{shown}" if place else message


def _shown(value: Any) -> str:
    """A wrong value in few words; YAML's null is what the user wrote for None."""
    if value is None:
        return "null"
    text = repr(value) if isinstance(value, (str, int, float)) else f"a {type(value).__name__}"
    return text if len(text) <= 60 else f"{text[:57]}…"


def _keys_beside(place: tuple[int | str, ...], spec: type[BaseModel]) -> list[str]:
    """The keys that are known where an unknown one stood."""
    section = spec
    for part in place[:-1]:
        if isinstance(part, int):
            continue
        kind = section.model_fields[str(part)].annotation
        choices = [kind, *get_args(kind)]
        found = [item for item in choices if isinstance(item, type) and issubclass(item, BaseModel)]
        if not found:
            return []
        section = found[0]
    keys = list(section.model_fields)
    return [*keys, "template"] if section is spec else keys


def nearest(name: str, known: list[str]) -> str:
    """«, did you mean …?» where one of the known names is near."""
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f" (did you mean {close[0]}?)" if close else ""
