"""A comparison as JSON values, Markdown and CSV, safe to paste whatever the runs are called. Pure.

No secrets: a setting whose name says that it holds one, and text that looks like one, is left out.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from engine.analysis import format as words
from engine.analysis.compared import Cell, Comparison, Correlation, Row, Unit
from engine.analysis.reasons import names_of
from engine.job.events import plain
from engine.supervisor.failure import secret, without_secrets

_CONTROLS: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]")
_MARKDOWN: Final = re.compile(r"([\\`*_{}\[\]<>|#~&])")
_FORMULA: Final = ("=", "+", "-", "@", "\t")


def to_json(comparison: Comparison) -> dict[str, Any]:
    """JSON values: runs, rows, differences and the recommendation; NaN as "NaN"."""
    advice = comparison.recommendation
    value: dict[str, Any] = _without_secrets(
        {
            "jobs": [
                {"id": job.id, "name": job.name, "number": job.number, "status": job.status.value}
                for job in comparison.jobs
            ],
            "reference": comparison.reference,
            "rows": [_row_json(row) for row in comparison.rows],
            "statistic": comparison.statistic,
            "differences": {
                item.key: [_bare(item.key, value) for value in item.values] for item in comparison.differences
            },
            "correlations": [
                {"key": item.key, "rho": item.rho, "runs": item.runs, "few": item.few}
                for item in comparison.correlations
            ],
            "recommendation": {
                "job_id": advice.job_id,
                "step": advice.step,
                "headline": advice.headline,
                "reasons": advice.reasons,
                "caveats": advice.caveats,
                "changes": advice.changes,
                "comparable": advice.comparable,
                "standings": [
                    {"job_id": item.job_id, "worse": item.worse, "advice": item.advice}
                    for item in advice.worse
                ],
            },
        }
    )
    return value


def _without_secrets(value: Any) -> Any:
    """JSON values, the texts in them without what looks like a secret."""
    if isinstance(value, str):
        return without_secrets(value)
    if isinstance(value, Mapping):
        return {name: _without_secrets(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_secrets(item) for item in value]
    return plain(value)


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
        values = ["" if value is None else _harmless(str(_bare(item.key, value))) for value in item.values]
        table.writerow([_harmless(item.key), "setting", *values])
    return written.getvalue()


def _harmless(text: str) -> str:
    """Text that a spreadsheet does not take for a formula."""
    clean = one_line(text)
    below_zero = clean.startswith("-") and _is_number(clean)
    return f"'{clean}" if clean.startswith(_FORMULA) and not below_zero else clean


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
        lines = (
            [_escaped(item.key), *(_escaped(setting_text(item.key, value)) for value in item.values)]
            for item in comparison.differences
        )
        parts.append(_table(["what differs", *heads], lines))
    together = [f"- {_escaped(text)}" for text in correlation_sentences(comparison)]
    if together:
        parts.append("\n".join(["What changed together with the eval loss:", "", *together]))
    advice = comparison.recommendation
    sentences = [f"- {_escaped(text)}" for text in advice.reasons]
    sentences += [f"- but: {_escaped(text)}" for text in advice.caveats]
    sentences += [f"- {_escaped(text)}" for text in advice.changes]
    parts.append("\n".join([f"**{_escaped(advice.headline)}**", *([""] if sentences else []), *sentences]))
    return "\n\n".join(parts) + "\n"


class _Writer:
    """Writes the cells of one row."""

    def __init__(self, row: Row) -> None:
        self._row = row

    def __call__(self, cell: Cell) -> str:
        text = cell_text(self._row, cell)
        return f"**{text}**" if cell.best else text


def cell_text(row: Row, cell: Cell) -> str:
    """A cell for people: its value, what it is shown against, and how far it is from the reference."""
    text = written(cell.value, row.unit)
    if cell.of is not None and cell.value is not None:
        text += f" / {written(cell.of, row.unit)}"
    return f"{text} ({words.change(cell.delta)})" if cell.delta else text


def correlation_sentences(comparison: Comparison, most: int = 5) -> list[str]:
    """What changed together with the result, the strongest first."""
    return [correlation_sentence(item) for item in comparison.correlations[:most]]


def correlation_sentence(item: Correlation) -> str:
    """How a setting went together with the result, with n and a warning where that is small."""
    way = "higher went with worse" if item.rho > 0 else "higher went with better"
    few = ": few runs, it may well be chance" if item.few else ""
    return f"{item.key}: rank correlation {item.rho:+.2f} over {item.runs} runs, {way}{few}."


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


def setting_text(key: str, value: Any) -> str:
    """A setting's value for people."""
    return _setting(_bare(key, value))


def _setting(value: Any) -> str:
    if value is None:
        return words.UNKNOWN
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, (list, tuple)):
        return ", ".join(_setting(item) for item in value)
    if isinstance(value, Mapping):
        return ", ".join(f"{key}: {_setting(item)}" for key, item in value.items())
    return str(value)


def _bare(key: str, value: Any) -> Any:
    """A setting's value without what it must not tell."""
    if value is not None and secret(key.rpartition(".")[2]):
        return "[secret]"
    if isinstance(value, str):
        return without_secrets(value)
    if isinstance(value, (list, tuple)):
        return [_bare(key, item) for item in value]
    if isinstance(value, Mapping):
        return {name: _bare(str(name), item) for name, item in value.items()}
    return value


def _table(head: Sequence[str], lines: Iterator[list[str]]) -> str:
    rule = [":---", *("---:" for _ in head[1:])]
    return "\n".join(f"| {' | '.join(line)} |" for line in (head, rule, *lines))


def one_line(text: str) -> str:
    """Text without line breaks, control characters, what turns its direction, and secrets."""
    return without_secrets(_CONTROLS.sub(" ", text).strip())


def _escaped(text: str) -> str:
    """Text that means itself in Markdown."""
    return _MARKDOWN.sub(r"\\\1", one_line(text))
