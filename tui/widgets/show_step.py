"""A message that lists of things that happened at a step send up."""

from __future__ import annotations

from textual.message import Message


class ShowStep(Message):
    """The user wants to see this step in the charts and in the log."""

    def __init__(self, step: int) -> None:
        self.step = step
        super().__init__()
