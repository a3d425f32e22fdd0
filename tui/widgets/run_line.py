"""The run under the cursor, in one line: what the columns have no room for."""

from __future__ import annotations

from datetime import datetime

from rich.cells import cell_len
from textual.content import Content
from textual.widget import Widget

from engine.analysis import format as words
from engine.job.events import Status
from engine.records import Job
from tui.themes import run_style
from tui.widgets.clean import clean
from tui.widgets.run_cells import Piece, fit, learning_rate


def facts(job: Job, now: datetime) -> list[str]:
    """What is worth knowing of a run, the most important first."""
    said = []
    if job.status is Status.FAILED and job.error_message:
        said.append(clean(job.error_message.strip().partition("\n")[0]))
    said.append(" ".join(filter(None, (job.method, clean(job.gpu_type or ""), job.provider))))
    if job.best_step is not None:
        of = f" of {words.count(job.total_steps)}" if job.total_steps else ""
        said.append(f"best at step {words.count(job.best_step)}{of}")
    if (rate := learning_rate(job)) is not None:
        said.append(f"lr {words.short(rate)}")
    if job.checkpoint_count is not None:
        said.append(f"{job.checkpoint_count} checkpoint{'s' if job.checkpoint_count != 1 else ''}")
    if job.status.live:
        said.append(f"heard from {words.age(job.last_heartbeat_at, now)}")
    said.append(job.id)
    return [text for text in said if text]


class RunLine(Widget):
    """One line; what does not fit is left out from the right."""

    def __init__(self) -> None:
        super().__init__()
        self._job: Job | None = None
        self._now: datetime | None = None

    def show(self, job: Job | None, now: datetime) -> None:
        """Show this run, or nothing."""
        self._job, self._now = job, now
        self.refresh()

    def render(self) -> Content:
        """Number, name, facts."""
        if self._job is None or self._now is None:
            return Content("")
        job, width = self._job, self.size.width
        name = fit(clean(job.name), min(cell_len(clean(job.name)), max(8, width // 3)))
        parts: list[Piece] = [(f"{job.number:02} ", f"bold {run_style(job.number)}"), (name, "bold")]
        room = width - sum(cell_len(text) for text, _ in parts)
        for fact in facts(job, self._now):
            if room < 8:
                break
            text = fit(fact, min(cell_len(fact), room - 3))
            parts.append((" · " + text, "$text-muted"))
            room -= cell_len(text) + 3
        return Content.assemble(*parts)
