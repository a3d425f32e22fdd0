"""The dialogs of the Comparison screen: what is asked before a comparison is kept or acted on."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from textual.reactive import reactive

from engine.analysis.comparison import Comparison
from engine.analysis.export import to_markdown
from engine.analysis.families import group_of
from engine.analysis.recommendation import beyond
from engine.records import SavedComparison
from tui import wishes
from tui.screens.base import PodiumScreen
from tui.screens.entry import Entry, Field
from tui.screens.saved import Choice, Saved


class ComparisonDialogs(PodiumScreen):
    """A screen that compares runs, keeps comparisons, and acts on what they say."""

    COMMANDS: ClassVar[Any] = ()

    comparison: reactive[Comparison | None] = reactive(None)

    # Kept: saved, exported, copied

    @property
    def saved(self) -> SavedComparison | None:
        """The saved comparison that is shown, if it is one."""
        comparison = self.comparison
        if comparison is None or self.snapshot is None:
            return None
        ids = tuple(job.id for job in comparison.jobs)
        return next((saved for saved in self.snapshot.saved if saved.job_ids == ids), None)

    def on_save_this(self) -> None:
        """Ask for a name and notes."""
        saved = self.saved
        fields = (
            Field("name", saved.name if saved else "", "lr sweep"),
            Field("notes", saved.notes if saved else "", "optional"),
        )

        def save(texts: tuple[str, ...] | None) -> None:
            comparison = self.comparison
            if texts and comparison is not None:
                ids = tuple(job.id for job in comparison.jobs)
                pinned = comparison.reference != comparison.recommendation.job_id
                reference = comparison.reference if pinned else None
                self.post_message(wishes.SaveComparison(ids, reference, texts[0], texts[1]))

        self.app.push_screen(Entry("Save this comparison", fields), save)

    def on_open_saved(self) -> None:
        """List them."""
        assert self.snapshot is not None
        names = {job.id: job.name for job in self.snapshot.jobs}

        def choose(choice: Choice | None) -> None:
            if choice is None:
                return
            what, saved = choice
            if what == "forget":
                self.post_message(wishes.ForgetComparison(saved.id))
            else:
                self.post_message(wishes.Ask(compared=saved.job_ids, reference=saved.reference_job_id))

        self.app.push_screen(Saved(self.snapshot.saved, names, self.snapshot.taken_at), choose)

    def on_export_this(self) -> None:
        """Ask for a file."""
        saved = self.saved
        title = saved.name if saved else "comparison"
        name = "".join(letter if letter.isalnum() else "-" for letter in title)
        field = Field("file: .html .md .csv .json .tex", str(Path.cwd() / f"{name}.html"))

        def export(texts: tuple[str, ...] | None) -> None:
            if texts and self.comparison is not None:
                said = (saved.name, saved.notes) if saved else ("", "")
                self.post_message(wishes.ExportComparison(self.comparison, texts[0], *said))

        self.app.push_screen(Entry("Export this comparison", (field,)), export)

    def on_copy_this(self) -> None:
        """Copy all rows."""
        if self.comparison is not None:
            self.app.copy_to_clipboard(to_markdown(self.comparison, all_rows=True))
            self.notify("copied as Markdown", timeout=2)

    def on_deploy_this(self) -> None:
        """Ask where to, and whether it is to be served."""
        if self.comparison is None or (advice := self.comparison.recommendation).job_id is None:
            return
        job = next(job for job in self.comparison.jobs if job.id == advice.job_id)
        fields = (
            Field("repository on the Hub", "", "owner/name"),
            Field("also a serverless endpoint: no, yes, or a GPU's name; its price is shown first", "no"),
        )

        def deploy(texts: tuple[str, ...] | None) -> None:
            if not texts:
                return
            served = texts[1].casefold() not in ("", "no", "n")
            gpu = texts[1] if served and texts[1].casefold() not in ("yes", "y") else None
            self.post_message(wishes.DeployBest(job, texts[0], served, gpu))
            self.notify("It is merged and pushed, which takes minutes. You are told.", timeout=4)

        self.app.push_screen(Entry(f"Deploy checkpoint {advice.step}", fields), deploy)

    # Clearing up

    def on_archive_worse(self) -> None:
        """All that are far worse than the best of their models."""
        if self.comparison is None or self.snapshot is None:
            return
        family = self.snapshot.family
        groups = {group_of(job, family) for job in self.comparison.jobs}
        runs = [job for job in self.snapshot.jobs if group_of(job, family) in groups]
        far = beyond(runs, self.snapshot.archive_above)
        if far:
            self.post_message(wishes.ArchiveJobs(tuple(job.id for job in far)))
        else:
            above = self.snapshot.archive_above * 100
            self.notify(f"No run of these models is more than {above:.3g} % worse than the best.", timeout=3)

    def on_choose_threshold(self) -> None:
        """Ask for it."""
        above = self.snapshot.archive_above * 100 if self.snapshot else 0.0
        field = Field("percent worse than the best", f"{above:.4g}")

        def remember(texts: tuple[str, ...] | None) -> None:
            if not texts:
                return
            try:
                percent = float(texts[0].rstrip("% "))
            except ValueError:
                percent = 0.0
            if 0 < percent < 1e6:
                self.post_message(wishes.ArchiveAbove(percent / 100))
            else:
                self.notify("That is no percentage above 0.", severity="error", timeout=4)

        self.app.push_screen(Entry("From where on is a run offered for archiving?", (field,)), remember)
