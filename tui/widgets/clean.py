"""Bytes and text from elsewhere, made fit for a terminal: colours may stay, all else that acts may not.

Kept are printable characters and, in log lines, SGR colours. Dropped are all other escape sequences
(CSI, OSC, DCS, SOS, PM, APC, in 7 and 8 bits), bidirectional overrides and characters of no width;
what other control characters there are is replaced by its picture. Nothing here ever reads markup.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Final

from rich.segment import Segment
from rich.style import Style

CAP: Final = 4096
"""The most of a line that is ever shown, in bytes before decoding and in characters after."""

_SEQUENCE: Final = (
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*(?:[@-~]|$)"  # CSI; an unfinished one at the end goes too
    r"|(?:\x1b[\]PX^_]|[\x9d\x90\x98\x9e\x9f])[^\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c|\x1b|$)"  # OSC, DCS…
    r"|\x1b[ -/]*[0-~]?"  # other escapes
)
_INVISIBLE: Final = (
    "\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2028-\u202e\u2060-\u206f\u3164"
    "\ufe00-\ufe0f\ufeff\uffa0\ufff9-\ufffb\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
)
_CONTROL: Final = r"\x00-\x1f\x7f-\x9f"
_SUSPECT: Final = re.compile(f"[{_CONTROL}{_INVISIBLE}]")
_PIECE: Final = re.compile(f"({_SEQUENCE})|([{_INVISIBLE}])|([{_CONTROL}])")
_SGR: Final = re.compile(r"(?:\x1b\[|\x9b)([0-9;:]*)m")
_MARK: Final = r"[\u0300-\u036f\u0483-\u0489\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff]"
_STACKED: Final = re.compile(f"({_MARK}{{3}}){_MARK}+")

PLAIN: Final = Style.null()


def clean(text: str | None, limit: int = CAP) -> str:
    """One line of plain text: what is safe of a name, a path, an error that came from elsewhere.

    Args:
        text: The text; None is nothing.
        limit: The most characters that are kept.
    """
    if not text:
        return ""
    text = text[:limit]
    if not _SUSPECT.search(text):
        return _unstack(text)
    return _unstack(_PIECE.sub(_plain_piece, text))


def _plain_piece(match: re.Match[str]) -> str:
    return "" if match[3] is None else (" " if match[3] in "\t\n\r\v\f" else _picture(match[3]))


def _picture(control: str) -> str:
    """The picture of a control character; of C1 ones, for which there is none, the replacement character."""
    code = ord(control)
    return chr(0x2400 + code) if code < 0x20 else "␡" if code == 0x7F else "\ufffd"


def _unstack(text: str) -> str:
    """At most three marks on one letter."""
    return text if text.isascii() else _STACKED.sub(r"\1", text)


def shown_part(line: bytes) -> bytes:
    """What a terminal has left of a line that a progress bar drew over: what follows the last `\\r`."""
    line = line.rstrip(b"\r\n")
    return line[line.rfind(b"\r") + 1 :][:CAP]


def segments(line: bytes) -> list[Segment]:
    """A log line as segments, with the colours that it brought along and nothing else of what it brought.

    Args:
        line: At most `CAP` bytes, without its newline.
    """
    text = line.decode("utf-8", "replace")
    if not _SUSPECT.search(text):
        return [Segment(_unstack(text), PLAIN)]
    return [Segment(text, style) for text, style in _pieces(text) if text]


def _pieces(text: str) -> Iterator[tuple[str, Style]]:
    style, at, column = PLAIN, 0, 0
    for match in _PIECE.finditer(text):
        if match.start() > at:
            piece = _unstack(text[at : match.start()])
            column += len(piece)
            yield piece, style
        at = match.end()
        if match[1] is not None:
            if sgr := _SGR.fullmatch(match[1]):
                style = restyled(style, sgr[1])
        elif match[3] == "\t":
            tab = 8 - column % 8
            column += tab
            yield " " * tab, style
        elif match[3] is not None:
            column += 1
            yield _picture(match[3]), style
    yield _unstack(text[at:]), style


@lru_cache(4096)
def restyled(style: Style, codes: str) -> Style:
    """A style after an SGR sequence with those codes; blinking and concealing are refused."""
    numbers = iter([int(code) if code.isdigit() else 0 for code in re.split("[;:]", codes)[:32]])
    for number in numbers:
        if number == 0:
            style = PLAIN
        elif number in (38, 48):
            colour = _extended(numbers)
            if colour:
                style += Style(color=colour) if number == 38 else Style(bgcolor=colour)
        elif number in _ATTRIBUTES:
            style += _ATTRIBUTES[number]
    return style


def _extended(numbers: Iterator[int]) -> str | None:
    """The colour after 38 or 48."""
    kind = next(numbers, 0)
    if kind == 5:
        index = next(numbers, 0)
        return f"color({index})" if index < 256 else None
    if kind == 2:
        rgb = [next(numbers, 0) for _ in range(3)]
        return "#{:02x}{:02x}{:02x}".format(*rgb) if max(rgb) < 256 else None
    return None


def _attributes() -> dict[int, Style]:
    table = {
        1: Style(bold=True),
        2: Style(dim=True),
        3: Style(italic=True),
        4: Style(underline=True),
        7: Style(reverse=True),
        9: Style(strike=True),
        22: Style(bold=False, dim=False),
        23: Style(italic=False),
        24: Style(underline=False),
        27: Style(reverse=False),
        29: Style(strike=False),
        39: Style(color="default"),
        49: Style(bgcolor="default"),
    }
    for index in range(8):
        table[30 + index] = Style(color=f"color({index})")
        table[40 + index] = Style(bgcolor=f"color({index})")
        table[90 + index] = Style(color=f"color({index + 8})")
        table[100 + index] = Style(bgcolor=f"color({index + 8})")
    return table


_ATTRIBUTES: Final = _attributes()
