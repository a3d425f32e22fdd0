"""What a comparison is made of: rows of cells, differences, standings and a recommendation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from engine.records import Checkpoint, Job

Direction = Literal["low", "high", "none"]
"""Which end of a metric is the good one."""

Statistic = Literal["last", "min", "max", "best"]
"""Which of a curve's values stands for a run: the newest, least, greatest, or that at its best checkpoint."""

STATISTICS: Final[Mapping[Statistic, str]] = {
    "last": "last",
    "min": "lowest",
    "max": "highest",
    "best": "at the best checkpoint",
}
"""What each is called."""

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
    measured: bool = False
    """Are its values taken from curves, by the comparison's statistic?"""

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
class Correlation:
    """How a setting went together with the best eval loss over a model's runs.

    Args:
        key: The setting.
        rho: Spearman's rank correlation, -1 to 1; above 0, higher values went with a worse loss.
        runs: Over how many runs.
        few: Are they so few that it may well be chance?
    """

    key: str
    rho: float
    runs: int
    few: bool


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
        changes: What would change it.
    """

    job_id: str | None
    step: int | None
    headline: str
    reasons: tuple[str, ...] = ()
    caveats: tuple[str, ...] = ()
    comparable: bool = True
    worse: tuple[Standing, ...] = ()
    changes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Comparison:
    """Some runs side by side; rows, cells and standings are in the order of `jobs`."""

    jobs: tuple[Job, ...]
    reference: str
    rows: tuple[Row, ...]
    differences: tuple[Difference, ...]
    recommendation: Recommendation
    checkpoints: Mapping[str, tuple[Checkpoint, ...]]
    statistic: Statistic = "last"
    correlations: tuple[Correlation, ...] = ()
    """What changed together with the result over the model's runs, the strongest first."""
    metrics: tuple[str, ...] = ()
    """The names of all metrics that any of the runs has a curve of."""
