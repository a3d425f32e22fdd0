"""Runs side by side: the metric table, what differs, and which run to keep. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from engine.records import Checkpoint, Job

Direction = Literal["low", "high", "none"]
"""Which end of a metric is the good one."""

Unit = Literal["loss", "epoch", "seconds", "dollars", "percent", "number", "bytes", "rate"]
"""How a value is written."""


@dataclass(frozen=True, slots=True)
class Cell:
    """One run's value in one row.

    Args:
        value: The number; None when unknown.
        of: The total that it is shown against («11 / 12»), if any.
        delta: Relative difference from the reference, as a fraction; None for the reference itself.
        best: Is it the best of its row? Ties are all best.
    """

    value: float | None
    of: float | None = None
    delta: float | None = None
    best: bool = False


@dataclass(frozen=True, slots=True)
class Row:
    """One metric of all runs, in the order of the runs."""

    name: str
    label: str
    unit: Unit
    direction: Direction
    cells: tuple[Cell, ...]
    primary: bool = True

    @property
    def differs(self) -> bool:
        """Are the runs' values not all the same?"""
        return len({cell.value for cell in self.cells}) > 1


@dataclass(frozen=True, slots=True)
class Difference:
    """One key of the configuration that is not the same in all runs; values in the order of the runs."""

    key: str
    values: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Standing:
    """How one run stands against the best: relative excess of its best eval loss, as a fraction."""

    job_id: str
    worse: float | None
    advice: Literal["keep", "look", "warn", "archive", "unknown"]


@dataclass(frozen=True, slots=True)
class Recommendation:
    """What to do, why, and what speaks against it.

    Args:
        job_id: The run to keep; None when there is nothing to recommend.
        step: Its best checkpoint.
        headline: One sentence.
        reasons: Sentences with numbers.
        caveats: What makes it unsure, or why runs can't be compared.
        comparable: False when evaluation data, tokenizer, loss or sequence length differ.
        worse: The standing of every run, in their order.
    """

    job_id: str | None
    step: int | None
    headline: str
    reasons: tuple[str, ...] = ()
    caveats: tuple[str, ...] = ()
    comparable: bool = True
    worse: tuple[Standing, ...] = ()


@dataclass(frozen=True, slots=True)
class Comparison:
    """Some runs side by side; rows, cells and standings are in the order of `jobs`."""

    jobs: tuple[Job, ...]
    reference: str
    rows: tuple[Row, ...]
    differences: tuple[Difference, ...]
    recommendation: Recommendation
    checkpoints: Mapping[str, tuple[Checkpoint, ...]]


def compare(
    jobs: Sequence[Job],
    checkpoints: Mapping[str, Sequence[Checkpoint]],
    *,
    reference: str | None = None,
    archive_above: float = 0.5,
    warn_above: float = 0.25,
) -> Comparison:
    """Compare runs.

    Args:
        jobs: The runs, in the order they are shown in.
        checkpoints: Each run's checkpoints by job id; a run without any may be left out.
        reference: The id of the run that deltas are against; by default the best run.
        archive_above: A run worse than this fraction is offered for archiving.
        warn_above: A run worse than this fraction is warned of.
    """
    raise NotImplementedError
