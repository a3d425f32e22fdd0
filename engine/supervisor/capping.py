"""Other limits for a job that is under way, asked for through `control/limits`; never below what is used."""

from __future__ import annotations

from engine.job.folder import JobFolder, write_json
from engine.supervisor.failure import clean
from engine.supervisor.limits import Limits

_SHOWN = 100
"""Characters of a wrong request that are shown."""


def taken(folder: JobFolder, limits: Limits, seconds: float) -> tuple[Limits, str] | None:
    """Take a waiting request; what is granted is written down, for the guard and for successors.

    Args:
        folder: The job's.
        limits: As they are now.
        seconds: How long the job has run, or has been paid for.

    Returns:
        The limits from now on, and why they stay as they were, if they do; None without a request.
    """
    try:
        wanted = folder.take_request("limits")
    except OSError:
        return None
    if wanted is None:
        return None
    changed = limits.changed(wanted)
    if changed == limits:
        return limits, f"{clean(repr(wanted))[:_SHOWN]} changes nothing"
    if (reached := changed.reached(seconds)) is not None:
        return limits, f"{reached} would be used up already"
    try:
        write_json(folder.limits, changed.caps)
    except OSError as error:
        return limits, f"{folder.limits} can't be written ({error.strerror})"
    return changed, ""
