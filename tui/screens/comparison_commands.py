"""What can be asked of the Comparison screen."""

from __future__ import annotations

from tui.commands import Command


class CompareSuggested(Command):
    """Compare the best run of the newest model with its newest other ones."""

    KEYS = "c"
    LABEL = "compare"
    FOOTER = True


class SaveThis(Command):
    """Save this comparison under a name, with notes."""

    KEYS = "w"
    LABEL = "save"
    FOOTER = True


class OpenSaved(Command):
    """Open a saved comparison, or forget one."""

    KEYS = "W"
    LABEL = "saved ones"


class ExportThis(Command):
    """Write this comparison to a file: CSV, JSON, Markdown, LaTeX, or an HTML page with the curves."""

    KEYS = "e"
    LABEL = "export"
    FOOTER = True


class CopyThis(Command):
    """Copy this comparison as Markdown."""

    KEYS = "y"
    LABEL = "copy"


class DeployThis(Command):
    """Put the best checkpoint into use: merged on the Hub, and served if asked; the price is shown first."""

    KEYS = "D"
    LABEL = "deploy best"


class ToggleFamily(Command):
    """Group runs by their model's family, whatever the size and tuning, or by the exact model."""

    KEYS = "f"
    LABEL = "family"


class ArchiveWorse(Command):
    """Archive all runs of the compared models that are far worse than the best; undo brings them back."""

    KEYS = "A"
    LABEL = "archive all far worse"


class ChooseThreshold(Command):
    """Set how much worse than the best a run must be to be offered for archiving."""

    LABEL = "archiving threshold"
