"""The header of a model's runs: how many, the best, how they got better, and whether it is time to stop."""

from __future__ import annotations

from typing import Final

from rich.cells import cell_len
from textual.content import Content

from engine.analysis import format as words
from engine.analysis.history import ModelRuns, spark_values
from tui.widgets.bars import spark
from tui.widgets.clean import clean
from tui.widgets.run_cells import Piece, fit
from tui.widgets.run_lines import Group

_BARS: Final = 10
"""Cells of the sparkline."""
_GAP: Final = 3


def group_line(group: Group, runs: ModelRuns, width: int) -> Content:
    """The header as one line; what does not fit is left out, the least important first.

    Args:
        group: How many runs are shown, and whether they are folded away.
        runs: All runs of the model, whatever the filter.
        width: Cells.
    """
    mark = " ▸ " if group.folded else " ▾ "
    name = fit(clean(group.model), min(cell_len(clean(group.model)), max(8, width - 20)))
    room = width - cell_len(mark) - cell_len(name)
    parts: list[Piece] = [(mark, "$accent"), (name, "bold")]
    for text, style in _facts(group, runs):
        if cell_len(text) + _GAP <= room:
            parts += [(" " * _GAP, ""), (text, style)]
            room -= cell_len(text) + _GAP
    return Content.assemble(*parts)


def _facts(group: Group, runs: ModelRuns) -> list[Piece]:
    total, story = len(runs.jobs), runs.improvement
    of = f"{group.shown} of " if group.shown != total else ""
    facts: list[Piece] = [(f"{of}{total} {'run' if total == 1 else 'runs'}", "$text-muted")]
    if runs.best is not None:
        reward = runs.best.best_eval_reward
        told = words.loss(runs.best.best_eval_loss) if reward is None else f"reward {reward:+.3g}"
        facts.append((f"best {told}", "$foreground"))
    if len(bars := spark_values(story.best_so_far, _BARS)) > 1:
        facts.append((spark(bars, min(bars), max(bars), len(bars)), "$secondary"))
    if story.sentence:
        facts.append((story.sentence, "$warning" if story.stalled else "$text-muted"))
    return facts
