"""How a log line looks: its own colours where it brought some, else times, warnings and errors."""

from __future__ import annotations

import contextlib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from rich.console import Console
from rich.style import Style
from rich.text import Text
from textual.strip import Strip

from tui.widgets.clean import CAP, PLAIN, segments

if TYPE_CHECKING:
    import regex

ERROR: Final = r"\b(?:ERROR|CRITICAL|FATAL|Traceback|[A-Za-z]+(?:Error|Exception)|CUDA out of memory)\b|\[E\]"
"""What tells of an error, in the words of Python's and the trainers' logs."""

_ERROR: Final = re.compile(ERROR)
_WARNING: Final = re.compile(r"\b(?:WARN(?:ING)?|[A-Za-z]+Warning)\b|\[W\]")
_TIME: Final = re.compile(r"\[?(?:\d{4}-\d\d-\d\d[T ])?\d\d:\d\d:\d\d(?:[.,]\d+)?(?:Z|[+-]\d\d:?\d\d)?\]?")
_RENDERER: Final = Console(width=CAP, color_system="truecolor", legacy_windows=False, no_color=False)


@dataclass(frozen=True, slots=True)
class Looks:
    """The styles of what is recognised in a line."""

    base: Style
    time: Style
    warning: Style
    error: Style
    match: Style


PATIENCE: Final = 0.02
"""How long a filter may look for what it marks in one line, seconds."""


def paint(line: bytes, looks: Looks, match: regex.Pattern[str] | None, *, times: bool = True) -> Strip:
    """One line as a strip of its own length.

    Args:
        line: At most `CAP` bytes, without its newline.
        looks: The styles.
        match: What the filter looks for; every place is marked.
        times: Show the time that it begins with?
    """
    pieces = segments(line)
    text = Text.assemble(*((piece.text, piece.style or PLAIN) for piece in pieces), end="")
    plain = text.plain
    for pattern, style in ((_WARNING, looks.warning), (_ERROR, looks.error)):
        for found in pattern.finditer(plain):
            text.stylize(style, found.start(), found.end())
    if match is not None:
        with contextlib.suppress(TimeoutError):
            for found in match.finditer(plain, timeout=PATIENCE):
                text.stylize(looks.match, found.start(), found.end())
    if begin := _TIME.match(plain):
        text.stylize(looks.time, 0, begin.end())
        if not times:
            rest = plain[begin.end() :]
            text = text[begin.end() + len(rest) - len(rest.lstrip()) :]
    return Strip(text.render(_RENDERER)).apply_style(looks.base)
