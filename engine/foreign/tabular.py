"""A CSV or JSON Lines file of step, train loss and eval loss; the columns are found by their names."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from engine.errors import BadInput
from engine.foreign.history import read_history
from engine.foreign.run import ForeignCheckpoint, ForeignRun

JSON_LINES: Final = (".jsonl", ".ndjson")
SUFFIXES: Final = (".csv", ".tsv", *JSON_LINES)


def read_table(path: Path) -> ForeignRun:
    """The evals of a file of logged figures.

    Raises:
        BadInput: A row is broken, or no column is an eval loss.
    """
    history = read_history(table_rows(path))
    if not history.scorable:
        raise BadInput(f"{path}: no column is an eval loss", "Name the columns step, loss and eval_loss.")
    checkpoints = tuple(
        ForeignCheckpoint(step, history.epochs[step], history.evals[step]) for step in sorted(history.evals)
    )
    return ForeignRun(path.stem, checkpoints, "table", path, history.formula)


def table_rows(path: Path) -> Iterator[dict[str, Any]]:
    """The rows of such a file, by the names of its columns.

    Raises:
        BadInput: One is broken.
    """
    return _json_lines(path) if path.suffix.lower() in JSON_LINES else _csv_rows(path)


def _csv_rows(path: Path) -> Iterator[dict[str, Any]]:
    """The rows of a file with a header, separated by commas, semicolons or tabs."""
    with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
        header = file.readline()
        separator = max(",;\t", key=header.count)
        file.seek(0)
        reader = csv.DictReader(file, delimiter=separator)
        try:
            for row in reader:
                yield {name: value for name, value in row.items() if isinstance(value, str)}
        except csv.Error as error:
            raise BadInput(f"{path}: line {reader.line_num} is not CSV ({error})") from None


def _json_lines(path: Path) -> Iterator[dict[str, Any]]:
    """The objects of a JSON Lines file; a torn last line is one that is still being written."""
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except (ValueError, RecursionError):
                if not line.endswith(b"\n"):
                    return
                raise BadInput(f"{path}: line {number} is not JSON") from None
            if not isinstance(row, dict):
                raise BadInput(f"{path}: line {number} is no JSON object")
            yield row
