"""Wishes about runs that are kept: said of them, tidied away, moved; and about what the account rents."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tui.commands import Command
from tui.wishes import Wish

if TYPE_CHECKING:
    from engine.analysis.curation import Rule
    from engine.analysis.snapshot import Snapshot
    from engine.controller.packing import Which
    from tui.account import AccountPod


class Planned(Wish):
    """A wish whose effects are read first, shown, confirmed, and then carried out exactly as shown."""

    plan: Any = None
    """What the desk found; the desk's own."""


class TagRuns(Wish):
    """Add tags to runs, or take them away.

    Args:
        job_ids: The runs.
        text: `+final -debug`.
    """

    def __init__(self, job_ids: tuple[str, ...], text: str) -> None:
        super().__init__(job_ids)
        self.text = text


class NoteRuns(Wish):
    """Write a note on runs.

    Args:
        job_ids: The runs.
        note: The note; an empty one takes it away.
    """

    def __init__(self, job_ids: tuple[str, ...], note: str) -> None:
        super().__init__(job_ids)
        self.note = note


class RenameRun(Wish):
    """Give a run another name.

    Args:
        job_id: The run.
        name: The name.
    """

    def __init__(self, job_id: str, name: str) -> None:
        super().__init__((job_id,))
        self.name = name


class SaveFilter(Wish):
    """Save a filter under a name; one of the same name is replaced.

    Args:
        name: The name.
        text: The filter.
    """

    LABEL = "replace"

    def __init__(self, name: str, text: str) -> None:
        super().__init__()
        self.name, self.text = name, text

    def warning(self, snapshot: Snapshot) -> str:
        """What the name stands for now."""
        from tui.widgets.clean import clean  # late, as elsewhere

        before = snapshot.filters.get(self.name.strip().removeprefix("@"))
        if before is None or before == self.text:
            return ""
        return f"Replace the saved filter {clean(self.name)}?\nIt stands for {clean(before)} now."


class ForgetFilter(Wish):
    """Forget a saved filter.

    Args:
        name: Its name.
    """

    LABEL = "forget"

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name

    def warning(self, snapshot: Snapshot) -> str:
        """What it stands for: undo does not know it."""
        from tui.widgets.clean import clean  # late, as elsewhere

        text = snapshot.filters.get(self.name)
        return (
            ""
            if text is None
            else f"Forget the saved filter @{clean(self.name)}?\nIt stands for {clean(text)}."
        )


class ChooseColumns(Wish):
    """Remember the columns of the run list.

    Args:
        names: Their names; none for the usual ones.
    """

    def __init__(self, names: tuple[str, ...]) -> None:
        super().__init__()
        self.names = names


class PurgeRuns(Planned):
    """Remove runs that are in the trash for good: their files and all that is known of them."""

    KEYS = "P"
    LABEL = "purge"


class KeepBest(Planned):
    """Remove the files of all but the best checkpoints of runs.

    Args:
        job_ids: The runs.
        keep: How many checkpoints of each stay.
    """

    LABEL = "keep best"

    def __init__(self, job_ids: tuple[str, ...], keep: int) -> None:
        super().__init__(job_ids)
        self.keep = keep


class ArchiveByRule(Planned):
    """Archive the runs that a rule is about.

    Args:
        job_ids: The runs among which it chooses.
        rule: What makes a run one to hide.
    """

    LABEL = "archive"

    def __init__(self, job_ids: tuple[str, ...], rule: Rule) -> None:
        super().__init__(job_ids)
        self.rule = rule


class ExportRuns(Wish):
    """Pack runs into one archive.

    Args:
        job_ids: The runs.
        path: The archive.
        checkpoints: Whose files go along.
    """

    def __init__(self, job_ids: tuple[str, ...], path: str, checkpoints: Which) -> None:
        super().__init__(job_ids)
        self.path = path
        self.checkpoints = checkpoints


class ImportRuns(Wish):
    """Take in the runs of an archive, or those that other tools logged in a folder.

    Args:
        path: The archive, file or folder.
    """

    def __init__(self, path: str) -> None:
        super().__init__()
        self.path = path


class _OfPod(Wish):
    """A wish about a pod of the account's.

    Args:
        pod: Which.
    """

    def __init__(self, pod: AccountPod) -> None:
        super().__init__()
        self.pod = pod


class EndPod(_OfPod):
    """Terminate a pod for good, with all that is on it."""

    LABEL = "terminate"

    def warning(self, snapshot: object) -> str:
        """What goes with it."""
        lines = [f"Terminate {self.pod.name}?", "   goes: all that is on it, /workspace too"]
        return "\n".join([*lines, *(f"   goes: {loss}" for loss in self.pod.losses), self.pod.owner])


class StopPod(_OfPod):
    """Stop a pod: its GPUs are let go of; what is at /workspace is kept, and bills."""

    LABEL = "stop"

    def warning(self, snapshot: object) -> str:
        """What goes with its GPUs."""
        lines = [f"Stop {self.pod.name}?", "   goes: its GPUs, which may not be had back"]
        lines.append("   goes: all that is not at /workspace")
        return "\n".join([*lines, *(f"   goes: {loss}" for loss in self.pod.losses), self.pod.owner])


class CarriedOut(Command):
    """A wish was carried out, or could not be: whoever shows its effects looks again.

    Args:
        wish: Which.
    """

    def __init__(self, wish: Wish) -> None:
        super().__init__()
        self.wish = wish
