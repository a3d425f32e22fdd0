"""What can be asked of a chart."""

from __future__ import annotations

from tui.commands import Command


class Smooth(Command):
    """Smooth more; after the strongest, not at all. The last point stays where it is."""

    KEYS = "S"
    LABEL = "smooth"
    FOOTER = True


class CycleAxis(Command):
    """Draw against steps, epochs, tokens, hours or dollars."""

    KEYS = "X"
    LABEL = "x-axis"
    FOOTER = True


class LogY(Command):
    """Logarithmic or linear y."""

    KEYS = "Y"
    LABEL = "log y"
    FOOTER = True


class LogX(Command):
    """Logarithmic or linear x."""

    KEYS = "x"
    LABEL = "log x"


class ClipOutliers(Command):
    """Leave outliers out, and say how many, or show all."""

    KEYS = "O"
    LABEL = "outliers"


class ShowBand(Command):
    """Show between which values the focused curve went up and down, or only its mean."""

    KEYS = "E"
    LABEL = "min/max"


class FocusNextCurve(Command):
    """Focus the next curve of the chart."""

    KEYS = "down,j"
    LABEL = "next curve"


class FocusPreviousCurve(Command):
    """Focus the curve before."""

    KEYS = "up,k"
    LABEL = "curve before"


class ZoomIn(Command):
    """Look closer at the crosshair, or at the newest points."""

    KEYS = "plus"
    LABEL = "zoom in"


class ZoomOut(Command):
    """Look at more."""

    KEYS = "minus"
    LABEL = "zoom out"


class PanLeft(Command):
    """Look at what was before."""

    KEYS = "left_square_bracket"
    LABEL = "pan left"


class PanRight(Command):
    """Look at what came after."""

    KEYS = "right_square_bracket"
    LABEL = "pan right"


class ResetView(Command):
    """Show everything, without crosshair."""

    KEYS = "equals_sign,escape"
    LABEL = "reset"


class CrossLeft(Command):
    """Move the crosshair to the left; with shift, ten columns."""

    KEYS = "left,h"
    LABEL = "crosshair left"


class CrossRight(Command):
    """Move the crosshair to the right; with shift, ten columns."""

    KEYS = "right,l"
    SHOWN = "←→"
    LABEL = "crosshair"
    FOOTER = True


class CrossFarLeft(Command):
    """Move the crosshair ten columns to the left."""

    KEYS = "shift+left,H"
    SHOWN = "⇧←"


class CrossFarRight(Command):
    """Move the crosshair ten columns to the right."""

    KEYS = "shift+right,L"
    SHOWN = "⇧→"
