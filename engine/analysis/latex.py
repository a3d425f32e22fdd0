"""A comparison as a LaTeX table, with the recommendation as its caption. Pure."""

from __future__ import annotations

import re
from typing import Final

from engine.analysis.compared import Cell, Comparison, Row
from engine.analysis.export import cell_text, one_line, setting_text
from engine.analysis.reasons import names_of

_MEANT: Final = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "%": r"\%",
    "_": r"\_",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    "—": "---",
    "∞": r"$\infty$",
    "±": r"$\pm$",
    "−": "$-$",
    "\u202f": r"\,",
}
_SPECIAL: Final = re.compile("[" + re.escape("".join(_MEANT)) + "]")


def to_latex(comparison: Comparison, *, all_rows: bool = False) -> str:
    """A table that needs no package: metrics, then what differs; the best of each row is bold.

    Args:
        comparison: What to write.
        all_rows: Also the rows that the screen shows only when asked?
    """
    names = names_of(comparison.jobs)
    heads = [escaped(names[job.id]) for job in comparison.jobs]
    rows = [row for row in comparison.rows if all_rows or row.primary]
    body = [_line([escaped(row.label), *(_cell(row, cell) for cell in row.cells)]) for row in rows]
    settings = [
        _line([escaped(item.key), *(escaped(setting_text(item.key, value)) for value in item.values)])
        for item in comparison.differences
    ]
    advice = comparison.recommendation
    caption = " ".join(escaped(text) for text in (advice.headline, *advice.reasons))
    return "\n".join(
        [
            r"\begin{table}",
            r"\centering",
            rf"\begin{{tabular}}{{l{'r' * len(heads)}}}",
            r"\hline",
            _line(["", *heads]),
            r"\hline",
            *body,
            *([r"\hline", *settings] if settings else []),
            r"\hline",
            r"\end{tabular}",
            rf"\caption{{{caption}}}",
            r"\end{table}",
            "",
        ]
    )


def _cell(row: Row, cell: Cell) -> str:
    text = escaped(cell_text(row, cell))
    return rf"\textbf{{{text}}}" if cell.best else text


def _line(cells: list[str]) -> str:
    return " & ".join(cells) + r" \\"


def escaped(text: str) -> str:
    """Text that means itself in LaTeX."""
    return _SPECIAL.sub(lambda found: _MEANT[found[0]], one_line(text))
