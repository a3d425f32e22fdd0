"""What can be asked on the History screen."""

from __future__ import annotations

from tui.commands import Command


class FilterRuns(Command):
    """Filter the runs: words, model:, status:, tag:, loss<0.7, cost>2, -tag:debug, @saved."""

    KEYS = "slash"
    LABEL = "filter"
    FOOTER = True


class OpenFilters(Command):
    """Choose one of the saved filters, or forget one."""

    KEYS = "f"
    LABEL = "filters"


class SaveThisFilter(Command):
    """Save the filter under a name: @name stands for it from then on."""

    KEYS = "F"
    LABEL = "save filter"


class CompareMarked(Command):
    """Show the marked runs side by side; with none marked, this run beside the best of its model."""

    KEYS = "c"
    LABEL = "compare"


class CompareNew(Command):
    """Show the finished runs side by side that were never compared, with the best of their model."""

    KEYS = "C"
    LABEL = "compare new"


class TagThese(Command):
    """Add tags to the marked runs, or take them away: +final -debug."""

    KEYS = "t"
    LABEL = "tag"


class NoteThese(Command):
    """Write a note on the marked runs; an empty one takes it away."""

    KEYS = "w"
    LABEL = "note"


class RenameThis(Command):
    """Give this run another name."""

    KEYS = "R"
    LABEL = "rename"


class KeepBestOf(Command):
    """Remove the files of all but the best checkpoints of each marked run, of all listed ones if none is."""

    KEYS = "K"
    LABEL = "keep best"


class ArchiveBad(Command):
    """Archive by a rule: far worse than the best, old, failed; what it finds is shown first."""

    KEYS = "A"
    LABEL = "archive by rule"


class ExportThese(Command):
    """Pack the marked runs into one archive."""

    KEYS = "e"
    LABEL = "export"


class ImportSome(Command):
    """Take in an archive of runs, or what other tools logged."""

    KEYS = "i"
    LABEL = "import"


class ChooseListColumns(Command):
    """Choose the columns of the list."""

    KEYS = "vertical_line"
    SHOWN = "|"
    LABEL = "columns"


class ToggleHidden(Command):
    """Also show archived runs and the trash, or hide them again."""

    KEYS = "full_stop"
    SHOWN = "."
    LABEL = "show hidden"
    FOOTER = True


class StepBack(Command):
    """Give up the range, else the marks, else the filter."""

    KEYS = "escape"
    LABEL = "step back"
