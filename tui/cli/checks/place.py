"""The place that Podium works in: machine, home, disk, store and terminal."""

from __future__ import annotations

import os
import platform
import shutil
import sqlite3
import sys
import tempfile
from pathlib import Path
from typing import Final

from engine.analysis import format as words
from engine.home import Home
from tui.cli.checks.finding import Finding

SMALL_DISK: Final = 5_000_000_000
"""Bytes: below, a few checkpoints of a real model fill the disk."""
FULL_DISK: Final = 50_000_000
"""Bytes: below, not even events and logs are safe."""
ANOTHER: Final = "Set PODIUM_HOME to a folder that you may write to."


def machine() -> Finding:
    """Processor and memory."""
    import psutil

    memory = words.size(psutil.virtual_memory().total)
    kind = f"{platform.system()} {platform.machine()}"
    return Finding("machine", "ok", f"{kind}, {os.cpu_count()} cores, {memory} memory")


def home() -> Finding:
    """The folder that state is kept in."""
    path = Home.default().path
    there = _nearest_that_exists(path)
    try:
        # A file without a name asks the very question; the permission bits alone do not tell.
        tempfile.TemporaryFile(dir=there).close()
    except OSError as error:
        return Finding("home", "bad", f"{path}: can't be written to ({error.strerror})", ANOTHER)
    return Finding("home", "ok", f"{path}" if there == path else f"{path} (made when first needed)")


def disk() -> Finding:
    """Room for checkpoints."""
    try:
        free = shutil.disk_usage(_nearest_that_exists(Home.default().path)).free
    except OSError as error:
        return Finding("disk", "bad", f"unknown ({error.strerror})", ANOTHER)
    advice = "Checkpoints need more: make room, or set PODIUM_HOME to a folder on another disk."
    shown = f"{words.size(free)} free"
    return Finding("disk", "bad" if free < FULL_DISK else "ok", shown, advice if free < SMALL_DISK else "")


def store() -> Finding:
    """The local database, every page of it."""
    path = Home.default().database
    if not path.exists():
        return Finding("store", "ok", "none yet")
    verdict = _quick_check(path)
    if verdict != "ok":
        advice = f"Move {path.name} away, with its -wal and -shm; the jobs' folders keep their runs."
        return Finding("store", "bad", f"{path}: {verdict}", advice)
    size = words.size(path.stat().st_size)
    return Finding("store", "ok", f"{path}: sound, {size} (SQLite {sqlite3.sqlite_version})")


def _quick_check(path: Path) -> str:
    """`ok`, or what is wrong with a database."""
    try:
        database = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)
        try:
            return str(database.execute("PRAGMA quick_check(1)").fetchone()[0])
        finally:
            database.close()
    except sqlite3.Error as error:
        return str(error)


def terminal() -> Finding:
    """Size, colours and characters."""
    if not sys.stdout.isatty():
        return Finding("terminal", "absent", "this is none", "The app needs one; the commands do not.")
    size = shutil.get_terminal_size()
    encoding = sys.stdout.encoding.upper()
    advice = []
    if size.columns < 80 or size.lines < 24:
        advice.append("Make it 80×24 or larger.")
    if encoding not in ("UTF-8", "UTF8"):
        advice.append("Set a UTF-8 locale, such as LANG=C.UTF-8, for charts and frames.")
    kind = os.environ.get("TERM", "unknown")
    shown = f"{kind}, {size.columns}×{size.lines}, {_colours(kind)} colours, {encoding}"
    return Finding("terminal", "ok", shown, " ".join(advice))


def _colours(kind: str) -> str:
    if os.environ.get("NO_COLOR"):
        return "no"
    if os.environ.get("COLORTERM") in ("truecolor", "24bit"):
        return "16 million"
    return "256" if "256" in kind else "few"


def _nearest_that_exists(path: Path) -> Path:
    return next(folder for folder in (path, *path.parents) if folder.exists() or folder == folder.parent)
