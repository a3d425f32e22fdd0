"""What can be asked of the run list."""

from __future__ import annotations

from tui.commands import Command


class ToggleMark(Command):
    """Mark this run, or take its mark away; on a model's line, all its runs."""

    KEYS = "space"
    LABEL = "mark"
    FOOTER = True


class MarkRange(Command):
    """Begin a range of marks here; v again at its other end marks it, esc gives it up."""

    KEYS = "v"
    LABEL = "mark range"


class MarkAll(Command):
    """Mark every run that passes the filter; again takes all marks away."""

    KEYS = "asterisk"
    SHOWN = "*"
    LABEL = "mark all"


class NextSort(Command):
    """Sort by the next column; a click on a heading sorts by it."""

    KEYS = "s"
    LABEL = "sort"
    FOOTER = True


class ReverseSort(Command):
    """Turn the order round."""

    KEYS = "S"


class ToggleGroups(Command):
    """Group the runs by model, or list them flat."""

    KEYS = "m"
    LABEL = "by model"
    FOOTER = True


class Fold(Command):
    """Fold this model's runs away."""

    KEYS = "left,h"
    LABEL = "fold"


class Unfold(Command):
    """Unfold this model's runs."""

    KEYS = "right,l"
    LABEL = "unfold"


class CopyId(Command):
    """Copy this run's id for the command line."""

    KEYS = "y"
    LABEL = "copy id"
