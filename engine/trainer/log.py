"""What the trainer prints: lines for `train.log`, readable and stamped."""

from __future__ import annotations

import sys
import time

_muted = False


def mute() -> None:
    """From now on nothing is printed: another rank on this machine says the same."""
    global _muted
    _muted = True


def line(text: str, *, always: bool = False) -> None:
    """Print one line at once, with the local time of day.

    Args:
        text: What to print.
        always: Also where this process is mute.

    A log that can't be written (a full disk, a closed pipe) never stops training.
    """
    if _muted and not always:
        return
    try:
        sys.stdout.write(f"{time.strftime('%H:%M:%S')}  {text}\n")
        sys.stdout.flush()
    except OSError:
        pass


def figures(**values: float | int | None) -> str:
    """Named figures as one text, such as `loss 0.5903  lr 1.37e-04`; unknown ones are left out."""
    return "  ".join(f"{name} {_figure(value)}" for name, value in values.items() if value is not None)


def _figure(value: float | int) -> str:
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.2e}" if value != 0 and abs(value) < 0.001 else f"{value:.4f}"
