"""How fast training goes: rows and tokens a second of training proper, evaluations and saves left out."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

_MOST: Final = 200_000
"""Sequences whose lengths are kept at most."""


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


@dataclass(frozen=True, slots=True)
class Seen:
    """What the model saw in a micro-batch; tensors stay where they are until somebody asks.

    Args:
        lengths: Tokens of each sequence, padding left out, an integer tensor.
        rows: Rows of the data: a pair is one, and so is each row in a packed sequence.
        slots: Tokens and padding in all.
        trained: Tokens that the loss is on, a number or a tensor of one.
        cut: Sequences that had to be cut, a number or a tensor of one.
    """

    lengths: Any
    rows: int
    slots: int
    trained: Any
    cut: Any = 0


class Meter:
    """Counts rows and tokens between two readings.

    Args:
        tokens: Tokens seen by earlier attempts; counting goes on from there.
    """

    def __init__(self, tokens: int = 0) -> None:
        self._pending: list[Seen] = []
        self._lengths: list[int] = []
        self._slots, self._trained, self._cut = 0, 0, 0
        self._tokens = tokens
        self._samples = 0
        self._tokens_before = tokens
        self._since = time.monotonic()
        self._paused = 0.0
        self._pausing = False
        self.sums: Callable[..., list[float]] = lambda *numbers: list(numbers)
        """Sums over all processes that train together."""

    def add(self, seen: Seen) -> None:
        """Count a micro-batch; nothing waits for the device."""
        self._samples += seen.rows
        self._pending.append(seen)

    @property
    def tokens(self) -> int:
        """Tokens that the model saw, padding left out, all attempts."""
        self._settle()
        return self._tokens

    def total(self) -> int:
        """The same of all processes that train together; all must ask."""
        return self._tokens_before + round(self.sums(self.tokens - self._tokens_before)[0])

    def lengths(self, gather: Callable[[Any], list[Any]] = lambda own: [own]) -> dict[str, float]:
        """What the sequences since the last call were like; nothing where there were none.

        `sequences` is their number, `min`, `mean`, `p50`, `p95` and `max` are tokens; `truncated` is the
        share of sequences, `padding` that of slots, and `trained` that of tokens.

        Args:
            gather: Brings a value of every process that trains together; all must ask.
        """
        import numpy

        self._settle()
        parts = gather((self._lengths, self._slots, self._trained, self._cut))
        lengths = [length for part in parts for length in part[0]]
        slots, trained, cut = (sum(part[at] for part in parts) for at in (1, 2, 3))
        self._forget()
        if not lengths:
            return {}
        total = sum(lengths)
        p50, p95 = numpy.percentile(lengths, (50, 95)).tolist()
        return {
            "sequences": len(lengths),
            "min": min(lengths),
            "mean": total / len(lengths),
            "p50": p50,
            "p95": p95,
            "max": max(lengths),
            "truncated": cut / len(lengths),
            "padding": 1 - total / slots if slots else 0.0,
            "trained": trained / total if total else 0.0,
        }

    def _settle(self) -> None:
        """Take in what was counted on the device, which is waited for once."""
        import torch

        pending, self._pending = self._pending, []
        if not pending:
            return
        if len(self._lengths) > _MOST:  # nobody asks
            self._forget()
        lengths = torch.cat([seen.lengths for seen in pending]).tolist()
        self._lengths += lengths
        self._tokens += sum(lengths)
        self._slots += sum(seen.slots for seen in pending)
        self._trained += sum(int(seen.trained) for seen in pending)
        self._cut += sum(int(seen.cut) for seen in pending)

    def _forget(self) -> None:
        self._lengths, self._slots, self._trained, self._cut = [], 0, 0, 0

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
        self._pending.clear()
        self._tokens = self._tokens_before = tokens
        self._samples, self._paused, self._since = 0, 0.0, time.monotonic()

    def read(self) -> Speed:
        """The figures of all processes since the last reading; a new window begins, and all must ask."""
        samples, tokens = self.sums(self._samples, self.tokens - self._tokens_before)
        seconds = time.monotonic() - self._since - self._paused
        self.restart(self._tokens_before + round(tokens))
        if seconds <= 0:
            return Speed(None, None)
        return Speed(samples / seconds, tokens / seconds)


def seen(inputs: dict[str, Any], longest: int | None = None) -> Seen | None:
    """A micro-batch of rows with `attention_mask` (rows, tokens), or `position_ids` of packed rows.

    Args:
        inputs: The micro-batch; where it has `labels`, those of −100 are not trained on.
        longest: The length that longer rows were cut to; None where they were not.
    """
    mask, positions = inputs.get("attention_mask"), inputs.get("position_ids")
    if mask is not None:
        lengths, slots = mask.sum(1), mask.numel()
    elif positions is not None:
        lengths, slots = packed_lengths(positions), positions.numel()
    else:
        return None
    labels = inputs.get("labels")
    trained = lengths.sum() if labels is None else (labels != -100).sum()
    return Seen(lengths, len(lengths), slots, trained, 0 if longest is None else (lengths >= longest).sum())


def packed_lengths(positions: Any) -> Any:
    """The lengths of rows that stand one behind the other, from positions that begin at 0 in each."""
    import torch

    flat = positions.reshape(-1)
    starts = (flat == 0).nonzero().reshape(-1)
    ends = torch.cat([starts[1:], starts.new_tensor([flat.numel()])])
    return ends - starts
