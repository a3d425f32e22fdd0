"""The commands that the app itself carries out, wherever they are posted.

A `Wish` goes to the controller and changes the world; everything else here changes only what is shown.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, Literal

from textual.message import Message

from engine.analysis.format import dollars, listed
from engine.analysis.snapshot import Snapshot
from engine.job.events import Status
from engine.records import Job
from tui.commands import Command

if TYPE_CHECKING:
    from engine.analysis.comparison import Comparison

ScreenName = Literal["job", "comparison", "history"]
"""The names of the three screens, which are Textual modes."""


class Ask(Message):
    """Change the question that the next snapshot answers.

    Args:
        changes: New values of the fields of `engine.analysis.snapshot.Question`.
    """

    def __init__(self, **changes: Any) -> None:
        self.changes = changes
        super().__init__()


class Suggest(Message):
    """Compare these runs unless the user has chosen others already.

    Args:
        compared: Their ids.
    """

    def __init__(self, compared: tuple[str, ...]) -> None:
        self.compared = compared
        super().__init__()


class ShowJobScreen(Command):
    """Show one run: progress, charts, checkpoints and log."""

    KEYS = "1"
    LABEL = "job"


class ShowComparisonScreen(Command):
    """Show the marked runs side by side."""

    KEYS = "2"
    LABEL = "comparison"


class ShowHistoryScreen(Command):
    """Show all runs."""

    KEYS = "3"
    LABEL = "history"


class OpenJob(Command):
    """Show this run on the Job screen."""

    KEYS = "enter"
    LABEL = "open"


class CompareJobs(Command):
    """Show these runs side by side on the Comparison screen."""


class ShowLedger(Command):
    """Show where time and money went, by model, week or phase, and how much of it for nothing."""

    KEYS = "dollar_sign"
    SHOWN = "$"
    LABEL = "spending"


class ShowPods(Command):
    """Show what the account rents, what it costs an hour, and end it."""

    KEYS = "p"
    LABEL = "pods"


class NewRun(Command):
    """Launch a run: template or job file, model, data, machine and price, limits."""

    KEYS = "n"
    LABEL = "new run"
    FOOTER = True


class LaunchAgain(Command):
    """Launch this run again, with changes."""

    KEYS = "N"
    LABEL = "launch again"


class ShowHelp(Command):
    """Show what the focused pane's keys do."""

    KEYS = "question_mark,f1"
    SHOWN = "?"
    LABEL = "help"
    FOOTER = True


class ShowPalette(Command):
    """Search for a command or a run by its name."""

    KEYS = "colon,ctrl+p"
    SHOWN = ":"
    LABEL = "commands"
    FOOTER = True


class ChangeTheme(Command):
    """Choose the colours, among them a palette for the colour-blind."""

    LABEL = "theme"


class Back(Command):
    """Close the top layer; on a screen of its own, quit. Runs go on without the app."""

    KEYS = "q"
    LABEL = "back or quit"


class QuitNow(Command):
    """Quit. Runs go on without the app."""

    KEYS = "ctrl+q,ctrl+c"
    LABEL = "quit"


class Wish(Command):
    """Something that the controller does."""

    def warning(self, snapshot: Snapshot) -> str:
        """What is lost, in words and dollars, when it must be confirmed; empty when it need not be."""
        return ""

    def jobs(self, snapshot: Snapshot) -> list[Job]:
        """The jobs that it is about, as the screen knows them."""
        known = {job.id: job for job in snapshot.jobs}
        if snapshot.job is not None:
            known.setdefault(snapshot.job.job.id, snapshot.job.job)
        return [known[job_id] for job_id in self.job_ids if job_id in known]


class StopJob(Wish):
    """Stop this run for good: it saves a checkpoint first."""

    KEYS = "s"
    LABEL = "stop"
    FOOTER = True

    def warning(self, snapshot: Snapshot) -> str:
        """What the run would still have done."""
        watched = [job for job in self.jobs(snapshot) if job.attached]
        ours = [job for job in self.jobs(snapshot) if not job.attached]
        lines = []
        if ours:
            lines.append(f"Stop {listed(job.name for job in ours)} for good? A checkpoint is saved first.")
        if watched:
            lines.append(f"Stop watching {listed(job.name for job in watched)} for good?")
            lines.append("It goes on where it runs, untouched; what was read stays here.")
        for job in ours:
            if job.total_steps and job.current_step is not None:
                left = max(0, job.total_steps - job.current_step)
                lines.append(f"{left:,} of {job.total_steps:,} steps will not be trained.".replace(",", " "))
            if job.cost_total:
                lines.append(f"{dollars(job.cost_total)} spent so far stays spent.")
        return "\n".join(lines)


class PauseJob(Wish):
    """Pause this run: it saves a checkpoint and waits to be resumed."""

    LABEL = "pause"


class ResumeJob(Wish):
    """Resume this run from its last checkpoint."""

    LABEL = "resume"


class SaveNow(Wish):
    """Save a checkpoint at the next step."""

    LABEL = "save now"


class ArchiveJobs(Wish):
    """Hide these runs; everything is kept and can be restored."""

    KEYS = "a"
    LABEL = "archive"


class RestoreJobs(Wish):
    """Bring these archived or deleted runs back."""

    KEYS = "r"
    LABEL = "restore"


class DeleteJobs(Wish):
    """Move these runs to the trash, after asking; undo brings them back."""

    KEYS = "d"
    LABEL = "delete"

    def warning(self, snapshot: Snapshot) -> str:
        """Which runs go, what they hold, and whether a model's best is among them."""
        from tui.what_goes import what_goes  # the screens start without it

        return what_goes(self.jobs(snapshot), snapshot.jobs)


class UndoLast(Wish):
    """Take back the last archive, restore, delete, rename, tag or note."""

    KEYS = "z,u"
    SHOWN = "z"
    LABEL = "undo"


class PullBest(Wish):
    """Download the best checkpoint of these runs, every hash checked."""

    KEYS = "p"
    LABEL = "download best"


class PullCheckpoint(Wish):
    """Download one checkpoint of a run, every hash checked.

    Args:
        job_id: The run.
        step: Which checkpoint.
    """

    def __init__(self, job_id: str, step: int) -> None:
        super().__init__((job_id,))
        self.step = step


class SetLearningRate(Wish):
    """Give a running job another peak learning rate from its next step on.

    Args:
        job_id: The run.
        value: The rate.
    """

    def __init__(self, job_id: str, value: float) -> None:
        super().__init__((job_id,))
        self.value = value


class SetLimits(Wish):
    """Give a running job other limits; never below what is used already.

    Args:
        job_id: The run.
        changes: `max_hours`, `max_cost_usd`, or both.
    """

    LABEL = "change limits"

    def __init__(self, job_id: str, changes: Mapping[str, float]) -> None:
        super().__init__((job_id,))
        self.changes = dict(changes)

    def warning(self, snapshot: Snapshot) -> str:
        """What it can come to now."""
        from tui.caps import question  # the screens start without it

        return "\n".join(question(job, self.changes) for job in self.jobs(snapshot))


class DeployBest(Wish):
    """Merge the best checkpoint of this run, push it to the Hub, and serve it if asked.

    Args:
        job: The run.
        repo: `owner/name`.
        serverless: Also behind an endpoint? Its price is shown first.
        gpu: Which GPU serves it; None is the cheapest that fits.
    """

    LABEL = "deploy"

    def __init__(self, job: Job, repo: str, serverless: bool, gpu: str | None = None) -> None:
        super().__init__((job.id,))
        self.job, self.repo, self.serverless, self.gpu = job, repo, serverless, gpu


class SaveComparison(Wish):
    """Save a comparison.

    Args:
        job_ids: Its runs, in their order.
        reference: The run that deltas are against; None for the best.
        name: What it is called; one of the same name is replaced.
        notes: What is noted of it.
    """

    LABEL = "replace"

    def __init__(self, job_ids: tuple[str, ...], reference: str | None, name: str, notes: str) -> None:
        super().__init__(job_ids)
        self.reference, self.name, self.notes = reference, name, notes

    def warning(self, snapshot: Snapshot) -> str:
        """Which other comparison has that name, and would be lost."""
        from tui.widgets.clean import clean  # the screens know it, the command line need not

        name = " ".join(self.name.split())
        same = next((saved for saved in snapshot.saved if saved.name == name), None)
        if same is None or same.job_ids == self.job_ids:
            return ""
        return f"Replace the comparison of {len(same.job_ids)} other runs that is saved as {clean(name)}?"


class ForgetComparison(Wish):
    """Forget a saved comparison; its runs stay.

    Args:
        comparison_id: Which.
    """

    LABEL = "forget"

    def __init__(self, comparison_id: str) -> None:
        super().__init__()
        self.comparison_id = comparison_id

    def warning(self, snapshot: Snapshot) -> str:
        """Which one, with what was noted: undo does not know it."""
        from tui.widgets.clean import clean  # the screens know it, the command line need not

        saved = next((each for each in snapshot.saved if each.id == self.comparison_id), None)
        if saved is None:
            return ""
        lines = [f"Forget the comparison {clean(saved.name)}?", "Its runs stay. This can't be undone."]
        return "\n".join([*lines, *([clean(saved.notes)] if saved.notes else [])])


class ExportComparison(Wish):
    """Write a comparison to a file, in the kind that its ending says.

    Args:
        comparison: What to write.
        path: Where.
        name: What it is called.
        notes: What is noted of it.
    """

    def __init__(self, comparison: Comparison, path: str, name: str = "", notes: str = "") -> None:
        super().__init__()
        self.comparison, self.path, self.name, self.notes = comparison, path, name, notes


class ArchiveAbove(Wish):
    """Remember how much worse than the best a run must be to be offered for archiving.

    Args:
        fraction: That much.
    """

    def __init__(self, fraction: float) -> None:
        super().__init__()
        self.fraction = fraction


WHEN: Final[Mapping[type[Command], frozenset[Status]]] = {
    StopJob: frozenset({Status.QUEUED, Status.PENDING, Status.RUNNING, Status.PAUSED}),
    PauseJob: frozenset({Status.RUNNING}),
    ResumeJob: frozenset({Status.PAUSED}),
    SaveNow: frozenset({Status.RUNNING}),
}
"""The states of a run in which a wish makes sense; those that are not here always do."""
