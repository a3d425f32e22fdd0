"""A line of the screen that single cells can be replaced in."""

from __future__ import annotations

from rich.segment import Segment
from rich.style import Style
from textual.strip import Strip


class Cells:
    """The cells of a strip, each of one column."""

    def __init__(self, strip: Strip) -> None:
        self._cells = [(letter, segment.style) for segment in strip for letter in segment.text]

    def put(self, column: int, letter: str, style: Style, *, under: bool = False) -> None:
        """Replace a cell; `under` leaves what stands in it and colours its ground."""
        if 0 <= column < len(self._cells):
            before, old = self._cells[column]
            if under and before not in " ⠀┈":
                letter, style = before, (old or Style()) + Style(bgcolor=style.bgcolor)
            elif under:
                style = Style(color=style.color, bold=style.bold)
            self._cells[column] = (letter, style)

    def fill(self, letter: str, style: Style) -> None:
        """Replace what is empty."""
        self._cells = [(letter, style) if before in " ⠀" else (before, old) for before, old in self._cells]

    def segments(self) -> list[Segment]:
        """The line, neighbours of one style together."""
        joined: list[Segment] = []
        for letter, style in self._cells:
            if joined and joined[-1].style == style:
                joined[-1] = Segment(joined[-1].text + letter, style)
            else:
                joined.append(Segment(letter, style))
        return joined
