"""The dialogs of the History screen: what is asked before a wish about runs is made."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal

from engine.errors import BadInput
from engine.records import Job
from tui import run_wishes
from tui.screens.base import PodiumScreen
from tui.screens.entry import Entry, Field
from tui.widgets.clean import clean
from tui.widgets.filter_bar import FilterBar
from tui.widgets.run_list import RunList

if TYPE_CHECKING:
    from engine.analysis.curation import Rule
    from tui.screens.choosing import FilterChoice

_CHECKPOINTS: Final[dict[str, Literal["none", "best", "all"]]] = {
    "none": "none",
    "best": "best",
    "all": "all",
}


class RunDialogs(PodiumScreen):
    """A screen that lists runs and asks about them."""

    COMMANDS: ClassVar[Any] = ()

    @property
    def runs(self) -> RunList:
        """The list."""
        return self.query_one(RunList)

    def subjects(self) -> list[Job]:
        """The marked runs; with none marked, the one under the cursor."""
        runs = self.runs
        return runs.marked_jobs if runs.marks else [runs.job] if runs.job else []

    def widely(self) -> list[Job]:
        """The marked runs; with none marked, all that pass the filter."""
        return self.runs.marked_jobs if self.runs.marks else self.runs.listed

    def _asked(self) -> tuple[tuple[str, ...], str] | None:
        """The subjects' ids and what they are called; says so when there is none."""
        jobs = self.subjects()
        if not jobs:
            self.notify("No run here: go to one, or mark some with space.", timeout=3)
            return None
        ids = tuple(job.id for job in jobs)
        return ids, clean(jobs[0].name) if len(jobs) == 1 else f"{len(jobs)} runs"

    # What is said of runs

    def on_tag_these(self) -> None:
        """Ask for tags."""
        if (asked := self._asked()) is None:
            return
        ids, name = asked
        tags = sorted({tag for job in self.subjects() for tag in job.tags})
        there = f"now: {' '.join(f'#{clean(tag)}' for tag in tags)}" if tags else "no tags yet"

        def tag(texts: tuple[str, ...] | None) -> None:
            if texts:
                self.post_message(run_wishes.TagRuns(ids, texts[0]))

        self.app.push_screen(Entry(f"Tag {name}", (Field(there, "", "+final -debug"),)), tag)

    def on_note_these(self) -> None:
        """Ask for a note."""
        if (asked := self._asked()) is None:
            return
        ids, name = asked
        notes = {str(job.metadata.get("note") or "") for job in self.subjects()}
        before = clean(notes.pop()) if len(notes) == 1 else ""

        def note(texts: tuple[str, ...] | None) -> None:
            if texts is not None:
                self.post_message(run_wishes.NoteRuns(ids, texts[0]))

        field = Field("an empty one takes the note away", before, "what is worth remembering")
        self.app.push_screen(Entry(f"Note on {name}", (field,), needed=0), note)

    def on_rename_this(self) -> None:
        """Ask for a name."""
        if (job := self.runs.job) is None:
            self.notify("No run here: go to one.", timeout=3)
            return

        def rename(texts: tuple[str, ...] | None) -> None:
            if texts:
                self.post_message(run_wishes.RenameRun(job.id, texts[0]))

        self.app.push_screen(Entry(f"Rename run {job.number:02}", (Field("name", clean(job.name)),)), rename)

    # Filters and columns

    def on_save_this_filter(self) -> None:
        """Ask for its name."""
        text = self.query_one(FilterBar).text.strip()
        if not text:
            self.notify("There is no filter to save: / begins one.", timeout=3)
            return

        def save(texts: tuple[str, ...] | None) -> None:
            if texts:
                self.post_message(run_wishes.SaveFilter(texts[0], text))

        self.app.push_screen(Entry(f"Save the filter {text}", (Field("name", "", "candidates"),)), save)

    def on_open_filters(self) -> None:
        """List them."""
        filters = self.snapshot.filters if self.snapshot else {}
        if not filters:
            self.notify("No filter is saved: / filters, F saves.", timeout=3)
            return

        def choose(choice: FilterChoice | None) -> None:
            if choice is None:
                return
            what, name = choice
            if what == "forget":
                self.post_message(run_wishes.ForgetFilter(name))
            else:
                self.query_one(FilterBar).text = f"@{name}"

        from tui.screens.choosing import FilterMenu

        self.app.push_screen(FilterMenu(filters), choose)

    def on_choose_list_columns(self) -> None:
        """Ask which."""

        def choose(names: tuple[str, ...] | None) -> None:
            if names is not None:
                self.post_message(run_wishes.ChooseColumns(names))

        from tui.screens.choosing import ColumnChoice

        self.app.push_screen(ColumnChoice(self.snapshot.columns if self.snapshot else ()), choose)

    # Tidying

    def on_keep_best_of(self) -> None:
        """Ask how many."""
        jobs = [job for job in self.widely() if job.status.ended and not job.deleted]
        if not jobs:
            self.notify("No finished run here.", timeout=3)
            return

        def keep(texts: tuple[str, ...] | None) -> None:
            if not texts:
                return
            if texts[0].isdecimal() and 0 < int(texts[0]) < 1000:
                self.post_message(run_wishes.KeepBest(tuple(job.id for job in jobs), int(texts[0])))
            else:
                self.notify("That is no number from 1 on.", severity="error", timeout=4)

        field = Field("checkpoints of each run; what it frees is shown before anything goes", "1")
        name = clean(jobs[0].name) if len(jobs) == 1 else f"{len(jobs)} runs"
        self.app.push_screen(Entry(f"Keep the best checkpoints of {name}", (field,)), keep)

    def on_archive_bad(self) -> None:
        """Ask for the rule."""
        among = tuple(job.id for job in self.widely())
        above = self.snapshot.archive_above * 100 if self.snapshot else 50.0
        fields = (
            Field("more than so many % worse than their model's best; - for no matter", f"{above:.4g}"),
            Field("or older than so many days; - for no matter", "-"),
            Field("or failed: yes or no", "yes"),
        )

        def archive(texts: tuple[str, ...] | None) -> None:
            if not texts:
                return
            try:
                self.post_message(run_wishes.ArchiveByRule(among, rule_of(texts)))
            except BadInput as error:
                self.notify(str(error), severity="error", markup=False, timeout=4)

        self.app.push_screen(Entry("Archive the runs that are…", fields), archive)

    # Moving

    def on_export_these(self) -> None:
        """Ask for a file."""
        if (asked := self._asked()) is None:
            return
        ids, name = asked
        stem = "".join(letter if letter.isalnum() or letter in "-_" else "-" for letter in name)
        fields = (
            Field("archive: .tar or .tar.gz", str(Path.cwd() / f"{stem}.tar")),
            Field("checkpoints: best, all or none", "best"),
        )

        def export(texts: tuple[str, ...] | None) -> None:
            if not texts:
                return
            which = _CHECKPOINTS.get(texts[1].casefold())
            if which is None:
                self.notify("Checkpoints are best, all or none.", severity="error", timeout=4)
            else:
                self.post_message(run_wishes.ExportRuns(ids, texts[0], which))

        self.app.push_screen(Entry(f"Pack {name}", fields), export)

    def on_import_some(self) -> None:
        """Ask from where."""
        label = "archive of Podium's, or a folder of transformers', TensorBoard's or wandb's offline runs"

        def take(texts: tuple[str, ...] | None) -> None:
            if texts:
                self.post_message(run_wishes.ImportRuns(texts[0]))

        self.app.push_screen(Entry("Take in runs", (Field(label, "", str(Path.cwd())),)), take)


def rule_of(texts: tuple[str, ...]) -> Rule:
    """The rule of three answers: percent, days, failed.

    Raises:
        BadInput: It is none.
    """
    from engine.analysis.curation import Rule  # the screens start without it

    def number(text: str, what: str) -> float | None:
        if text in ("", "-"):
            return None
        try:
            return float(text.rstrip("% d"))
        except ValueError:
            raise BadInput(f"{what} is a number or -, not {text!r}") from None

    worse = number(texts[0], "worse")
    failed = texts[2].casefold() in ("yes", "y")
    return Rule(None if worse is None else worse / 100, number(texts[1], "the age"), failed)
