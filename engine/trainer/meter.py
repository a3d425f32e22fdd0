"""How fast training goes: rows and tokens a second of training proper, evaluations and saves left out."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Speed:
    """The figures of one logging window.

    Args:
        samples_per_second: Rows; None when no time has passed.
        tokens_per_second: Tokens that the model saw, padding left out.
    """

    samples_per_second: float | None
    tokens_per_second: float | None


class Clock:
    """The time since it was made or last asked."""

    def __init__(self) -> None:
        self._since = time.monotonic()

    def lap(self) -> float:
        """Seconds since the last call."""
        now = time.monotonic()
        seconds, self._since = now - self._since, now
        return seconds


class Meter:
    """Counts rows and tokens between two readings.

    Args:
        tokens: Tokens seen by earlier attempts; counting goes on from there.
    """

    def __init__(self, tokens: int = 0) -> None:
        self.tokens = tokens
        self._samples = 0
        self._tokens_before = tokens
        self._since = time.monotonic()
        self._paused = 0.0
        self._pausing = False

    def count(self, inputs: dict[str, Any]) -> None:
        """Count one micro-batch: `attention_mask` (rows, tokens), or `position_ids` of packed rows."""
        mask = inputs.get("attention_mask")
        if mask is not None:
            self.add(int(mask.shape[0]), int(mask.sum()))
        elif (positions := inputs.get("position_ids")) is not None:
            self.add(int((positions == 0).sum()), int(positions.numel()))

    def add(self, rows: int, tokens: int) -> None:
        """Count rows and tokens that are known."""
        self._samples += rows
        self.tokens += tokens

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Leave out the time that passes inside; a pause within a pause is the same pause."""
        if self._pausing:
            yield
            return
        self._pausing, start = True, time.monotonic()
        try:
            yield
        finally:
            self._pausing = False
            self._paused += time.monotonic() - start

    def restart(self, tokens: int) -> None:
        """Begin a new window, with a known count of tokens."""
        self.tokens = self._tokens_before = tokens
        self._samples, self._paused, self._since = 0, 0.0, time.monotonic()

    def read(self) -> Speed:
        """The figures since the last reading; a new window begins."""
        seconds = time.monotonic() - self._since - self._paused
        samples, tokens = self._samples, self.tokens - self._tokens_before
        self.restart(self.tokens)
        if seconds <= 0:
            return Speed(None, None)
        return Speed(samples / seconds, tokens / seconds)
