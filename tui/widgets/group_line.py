"""The header of a model's runs: how many, the best, how they developed, and whether it is time to stop."""

from __future__ import annotations

from collections.abc import Sequence

from rich.cells import cell_len
from textual.content import Content

from engine.records import Job
from tui import words
from tui.widgets.clean import clean
from tui.widgets.run_columns import Piece, Scene, finite, fit
from tui.widgets.run_lines import Group, model_of
from tui.widgets.sparkline import sparkline

_TREND_RUNS = 12
"""How many of the last runs the sparkline shows."""


class Groups:
    """What is known of each model's runs; made once for a snapshot, whatever the filter.

    Args:
        jobs: All runs.
    """

    def __init__(self, jobs: Sequence[Job]) -> None:
        self.best: dict[str, Job] = {}
        self._runs: dict[str, list[Job]] = {}
        for job in jobs:
            model = model_of(job)
            self._runs.setdefault(model, []).append(job)
            if finite(job.best_eval_loss) and _lower(job, self.best.get(model)):
                self.best[model] = job

    def draw(self, group: Group, width: int, scene: Scene) -> Content:
        """The header as one line; what does not fit is left out from the right."""
        runs = self._runs.get(group.model, [])
        noun = "run" if len(runs) == 1 else "runs"
        of = f"{group.shown} of " if group.shown != len(runs) else ""
        pieces: list[Piece] = [(f"{of}{len(runs)} {noun}", "$text-muted")]
        if best := self.best.get(group.model):
            pieces.append((f"best {words.loss(best.best_eval_loss)}", "$foreground"))
        losses = [job.best_eval_loss for job in sorted(runs, key=lambda job: job.created_at)]
        if trend := sparkline([loss for loss in losses if loss is not None][-_TREND_RUNS:]):
            pieces.append((trend, "$secondary"))
        mark = " ▸ " if group.folded else " ▾ "
        room = width - cell_len(mark) - 1
        name = clean(group.model)
        parts: list[Piece] = [(mark, "$accent"), (fit(name, min(cell_len(name), room)), "bold")]
        room -= min(cell_len(name), room)
        for text, style in pieces:
            if (room := room - cell_len(text) - 3) < 0:
                break
            parts += [("   ", ""), (text, style)]
        return Content.assemble(*parts)


def _lower(job: Job, best: Job | None) -> bool:
    """Is its eval loss lower than the best so far, or as low and older?"""
    if best is None:
        return True
    return (job.best_eval_loss or 0, job.created_at) < (best.best_eval_loss or 0, best.created_at)
