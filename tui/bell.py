"""The terminal's bell, and a notification of the desktop, for what happens to runs while the app is open."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from typing import Final

from engine.analysis.snapshot import Alarm
from tui.widgets.clean import clean

_MOST: Final = 3
"""Notifications at once: what happened overnight is on the screen."""
_OSC9: Final = ("iTerm.app", "WezTerm", "ghostty", "WarpTerminal")


def texts(alarms: Sequence[Alarm]) -> list[tuple[str, str]]:
    """Title and sentence of each, the newest last; of many the last ones."""
    return [
        (clean(f"{alarm.alert.replace('_', ' ')} · {alarm.job}", 100), clean(alarm.message, 200))
        for alarm in alarms[-_MOST:]
    ]


def sequence(title: str, text: str, environment: Mapping[str, str] = os.environ) -> str:
    """What makes this terminal notify its user; empty where it is not known to."""
    # Semicolons part the fields of these sequences.
    title, text = title.replace(";", ","), text.replace(";", ",")
    term = environment.get("TERM", "")
    if "kitty" in term:
        return f"\x1b]99;i=podium:d=0;{title}\x1b\\\x1b]99;i=podium:p=body;{text}\x1b\\"
    if environment.get("TERM_PROGRAM") in _OSC9 or "WT_SESSION" in environment:
        return f"\x1b]9;{title}: {text}\x07"
    if term.startswith(("foot", "rxvt")):
        return f"\x1b]777;notify;{title};{text}\x07"
    return ""


def on_desktop(title: str, text: str, environment: Mapping[str, str] = os.environ) -> bool:
    """Ask the desktop to notify, where there is one; does not wait for it."""
    tool = shutil.which("notify-send", path=environment.get("PATH"))
    if tool is None or not (environment.get("DISPLAY") or environment.get("WAYLAND_DISPLAY")):
        return False
    quiet = subprocess.DEVNULL
    with contextlib.suppress(OSError):
        # What follows -- is text, whatever it begins with.
        subprocess.Popen(
            [tool, "--app-name=Podium", "--", title, text], stdin=quiet, stdout=quiet, stderr=quiet
        )
        return True
    return False
