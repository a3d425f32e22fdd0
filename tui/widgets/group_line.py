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
    shown: dict[int, Piece] = {}
    for place, (*texts, style) in _facts(group, runs):
        for text in texts:
            if cell_len(text) + _GAP <= room:
                shown[place] = (text, style)
                room -= cell_len(text) + _GAP
                break
    parts: list[Piece] = [(mark, "$accent"), (name, "bold")]
    for place in sorted(shown):
        parts += [(" " * _GAP, ""), shown[place]]
    return Content.assemble(*parts)


def _facts(group: Group, runs: ModelRuns) -> list[tuple[int, tuple[str, ...]]]:
    """The most important first: its place in the line, its wordings from long to short, and its style."""
    total, story = len(runs.jobs), runs.improvement
    of = f"{group.shown} of " if group.shown != total else ""
    facts: list[tuple[int, tuple[str, ...]]] = [
        (0, (f"{of}{total} {'run' if total == 1 else 'runs'}", "$text-muted"))
    ]
    if runs.best is not None:
        reward = runs.best.best_eval_reward
        told = words.loss(runs.best.best_eval_loss) if reward is None else f"reward {reward:+.3g}"
        facts.append((1, (f"best {told}", "$foreground")))
    if story.stalled:
        facts.append((3, (story.sentence, f"{story.sentence.partition(':')[0]}: stop?", "stop?", "$warning")))
    if len(bars := spark_values(story.best_so_far, _BARS)) > 1:
        facts.append((2, (spark(bars, min(bars), max(bars), len(bars)), "$secondary")))
    if story.sentence and not story.stalled:
        facts.append((3, (story.sentence, "$text-muted")))
    return facts
