"""A comparison as JSON values, Markdown and CSV, safe to paste whatever the runs are called. Pure."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from engine.analysis import format as words
from engine.analysis.compared import Cell, Comparison, Row, Unit
from engine.analysis.reasons import names_of
from engine.job.events import plain

_CONTROLS: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]")
_MARKDOWN: Final = re.compile(r"([\\`*_{}\[\]<>|#~&])")
_FORMULA: Final = ("=", "+", "-", "@", "\t")


def to_json(comparison: Comparison) -> dict[str, Any]:
    """JSON values: runs, rows, differences and the recommendation; NaN as "NaN"."""
    advice = comparison.recommendation
    value: dict[str, Any] = plain(
        {
            "jobs": [
                {"id": job.id, "name": job.name, "number": job.number, "status": job.status.value}
                for job in comparison.jobs
            ],
            "reference": comparison.reference,
            "rows": [_row_json(row) for row in comparison.rows],
            "differences": {item.key: list(item.values) for item in comparison.differences},
            "recommendation": {
                "job_id": advice.job_id,
                "step": advice.step,
                "headline": advice.headline,
                "reasons": advice.reasons,
                "caveats": advice.caveats,
                "comparable": advice.comparable,
                "standings": [
                    {"job_id": item.job_id, "worse": item.worse, "advice": item.advice}
                    for item in advice.worse
                ],
            },
        }
    )
    return value


def _row_json(row: Row) -> dict[str, Any]:
    cells = [
        {"value": cell.value, "of": cell.of, "delta": cell.delta, "best": cell.best} for cell in row.cells
    ]
    fields = {"name": row.name, "label": row.label, "unit": row.unit, "direction": row.direction}
    return {**fields, "primary": row.primary, "cells": cells}


def to_csv(comparison: Comparison) -> str:
    """One line a metric and one column a run; bare numbers in the units of the store, empty for unknown."""
    written = io.StringIO()
    table = csv.writer(written, lineterminator="\n")
    names = names_of(comparison.jobs)
    table.writerow(["metric", "unit", *(_harmless(names[job.id]) for job in comparison.jobs)])
    for row in comparison.rows:
        table.writerow(
            [row.name, row.unit, *("" if cell.value is None else cell.value for cell in row.cells)]
        )
    for item in comparison.differences:
        values = ["" if value is None else _harmless(str(value)) for value in item.values]
        table.writerow([_harmless(item.key), "setting", *values])
    return written.getvalue()


def _harmless(text: str) -> str:
    """Text that a spreadsheet does not take for a formula."""
    clean = one_line(text)
    return f"'{clean}" if clean.startswith(_FORMULA) and not _is_number(clean) else clean


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def to_markdown(comparison: Comparison, *, all_rows: bool = False) -> str:
    """Tables and sentences for an issue or a README.

    Args:
        comparison: What to write.
        all_rows: Also the rows that the screen shows only when asked?
    """
    names = names_of(comparison.jobs)
    heads = [_escaped(names[job.id]) for job in comparison.jobs]
    rows = [row for row in comparison.rows if all_rows or row.primary]
    parts = [_table(["metric", *heads], ([row.label, *map(_Writer(row), row.cells)] for row in rows))]
    if comparison.differences:
        lines = ([_escaped(item.key), *map(_setting, item.values)] for item in comparison.differences)
        parts.append(_table(["what differs", *heads], lines))
    advice = comparison.recommendation
    sentences = [f"- {_escaped(text)}" for text in advice.reasons]
    sentences += [f"- but: {_escaped(text)}" for text in advice.caveats]
    parts.append("\n".join([f"**{_escaped(advice.headline)}**", *([""] if sentences else []), *sentences]))
    return "\n\n".join(parts) + "\n"


class _Writer:
    """Writes the cells of one row."""

    def __init__(self, row: Row) -> None:
        self._row = row

    def __call__(self, cell: Cell) -> str:
        text = written(cell.value, self._row.unit)
        if cell.of is not None and cell.value is not None:
            text += f" / {written(cell.of, self._row.unit)}"
        if cell.delta:
            text += f" ({words.change(cell.delta)})"
        return f"**{text}**" if cell.best else text


def written(value: float | None, unit: Unit) -> str:
    """A value in its unit, for people."""
    if value is None:
        return words.UNKNOWN
    match unit:
        case "loss":
            return words.loss(value)
        case "seconds":
            return words.duration(value)
        case "dollars":
            return words.dollars(value)
        case "percent":
            return words.percent(value)
        case "bytes":
            return words.size(value)
        case "rate":
            return f"{words.short(value)}/s"
        case "epoch":
            return f"{value:.3g}"
        case "number":
            return words.short(value)


def _setting(value: Any) -> str:
    if value is None:
        return words.UNKNOWN
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, (list, tuple)):
        return ", ".join(_setting(item) for item in value)
    if isinstance(value, Mapping):
        return ", ".join(f"{_escaped(str(key))}: {_setting(item)}" for key, item in value.items())
    return _escaped(str(value))


def _table(head: Sequence[str], lines: Iterator[list[str]]) -> str:
    rule = [":---", *("---:" for _ in head[1:])]
    return "\n".join(f"| {' | '.join(line)} |" for line in (head, rule, *lines))


def one_line(text: str) -> str:
    """Text without line breaks, control characters and what turns its direction."""
    return _CONTROLS.sub(" ", text).strip()


def _escaped(text: str) -> str:
    """Text that means itself in Markdown."""
    return _MARKDOWN.sub(r"\\\1", one_line(text))
