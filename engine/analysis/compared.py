"""What a comparison is made of: rows of cells, differences, standings and a recommendation."""

from __future__ import annotations

from collections.abc import Mapping
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
