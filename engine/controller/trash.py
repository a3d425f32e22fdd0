"""Where the folders of deleted jobs go, and come back from. Blocking."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from engine.errors import PodError
from engine.home import Home
from engine.records import Job


def place(home: Home, jobs: Iterable[Job]) -> None:
    """Move the folders of jobs to where the store says they belong: beside the others, or to the trash.

    A rename within one disk, so a folder is in one place or the other, whatever happens; a link is moved
    as a link and never followed. A folder that is nowhere, or in its place already, is let be.

    Raises:
        PodError: A folder can't be moved; those before it are moved.
    """
    for job in jobs:
        beside, trashed = home.job(job.id).path, home.trashed(job.id)
        if job.deleted:
            _move(beside, trashed)
        else:
            _move(trashed, beside)


def _move(source: Path, target: Path) -> None:
    if not _there(source):
        return
    if _there(target):
        raise PodError(
            f"{target}: is in the way of {source}", "Move one of the two away; both were left as they are."
        )
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        source.rename(target)
    except OSError as error:
        raise PodError(
            f"{source}: can't be moved to {target} ({error.strerror})", "It is tried again at the next start."
        ) from None


def _there(path: Path) -> bool:
    """Is there anything, a dangling link too?"""
    return path.is_symlink() or path.exists()
