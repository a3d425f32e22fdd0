"""The run's own files: six CSV files, written as it goes, so that a crash loses nothing."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

COLUMNS: dict[str, tuple[str, ...]] = {
    "epoch_metrics": (
        "epoch", "train_loss", "val_loss", "span_f1", "span_precision", "span_recall", "epoch_time",
    ),
    "loss_components": (
        "epoch", "phase", "loss_type", "loss_ptr", "loss_span", "loss_countdown", "total_loss",
    ),
    "uncertainty_params": (
        "epoch", "sigma_type", "sigma_ptr", "sigma_span", "sigma_countdown", "weight_type", "weight_ptr",
        "weight_span", "weight_countdown",
    ),
    "probability_stats": (
        "epoch", "phase", "in_span_mean", "in_span_std", "out_span_mean", "out_span_std", "separation",
    ),
    "feature_stats": ("epoch", "phase", "feature_name", "mean", "std", "min", "max", "median"),
}  # fmt: skip


class Record:
    """Appends rows to `NAME.csv`; a run that goes on keeps the rows up to its checkpoint.

    Args:
        folder: Where the files are.
        epoch: The epoch that the run goes on after; 0 for a new one.
    """

    def __init__(self, folder: Path, epoch: int) -> None:
        self.folder, self.epoch = folder, epoch
        self.files: dict[str, io.TextIOWrapper] = {}

    def write(self, name: str, row: dict[str, Any]) -> None:
        """Append one row, whole and at once."""
        if name not in self.files:
            self.files[name] = self._open(name, COLUMNS.get(name, tuple(row)))
        text = io.StringIO()
        values = (f"{value:.6g}" if isinstance(value, float) else value for value in row.values())
        csv.writer(text, lineterminator="\n").writerow(values)
        self.files[name].write(text.getvalue())
        self.files[name].flush()

    def _open(self, name: str, columns: tuple[str, ...]) -> io.TextIOWrapper:
        path = self.folder / f"{name}.csv"
        kept = [",".join(columns)]
        if self.epoch and path.exists():
            rows = path.read_text(encoding="utf-8").splitlines()[1:]
            kept += [row for row in rows if row and int(row.partition(",")[0]) <= self.epoch]
        aside = path.with_suffix(".new")
        aside.write_text("\n".join(kept) + "\n", encoding="utf-8")
        aside.replace(path)
        return path.open("a", encoding="utf-8")


def write_metadata(folder: Path, **facts: Any) -> None:
    """What the run is, as JSON."""
    (folder / "metadata.json").write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
