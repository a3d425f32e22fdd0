"""A screen on a fake desk: what the tests of the History and the Comparison screen share."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

from textual.pilot import Pilot

from engine.analysis.snapshot import Question, Snapshot
from tests.tui.fabricated import FakeDesk
from tests.tui.steps import press, settled, until
from tui.app import PodiumApp
from tui.wishes import ScreenName

Answer = Callable[[Question], Snapshot]

HOSTILE = {
    "osc": "a\x1b]0;owned\x07b",
    "clear": "a\x1bcb\x9b2Jc",
    "markup": "[red]not red[/red] [link=http://x]l[/]",
    "bidi": "a\u202eb\u2066c\u200bd",
    "newline": "a\nb\tc",
    "wide": "模型" * 30,
}
"""Names that would like to be more than names."""


class Stage:
    """An app on a fake desk."""

    def __init__(self, app: PodiumApp, desk: FakeDesk, pilot: Pilot[None]) -> None:
        self.app, self.desk, self.pilot = app, desk, pilot

    async def press(self, *keys: str) -> None:
        """Press keys and wait for what comes of them."""
        await press(self.pilot, *keys)

    async def show(self, answer: Answer) -> None:
        """Something changed in the store."""
        self.desk.answer = answer
        before = len(self.desk.questions)
        self.desk.changed()
        await until(self.pilot, lambda: len(self.desk.questions) > before)
        await settled(self.pilot)


S = TypeVar("S", bound=Stage)


@asynccontextmanager
async def staged(
    kind: type[S], answer: Answer, screen: ScreenName, size: tuple[int, int], desk: FakeDesk | None = None
) -> AsyncIterator[S]:
    """An app on a desk that answers so, when all is drawn."""
    desk = desk or FakeDesk(answer)
    app = PodiumApp(desk, screen)
    async with app.run_test(size=size) as pilot:
        await settled(pilot)
        yield kind(app, desk, pilot)
