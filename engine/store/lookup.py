"""The job that a user means."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

from engine.errors import NoSuchJob
from engine.records import Job

SHOWN = 5
"""Names that an error lists at most."""


def find(jobs: Sequence[Job], given: str) -> Job:
    """The job with that id or name, or with the only id or name that begins so.

    Args:
        jobs: All jobs, newest first among those of one name, hidden ones included.
        given: What the user typed.

    Raises:
        NoSuchJob: None answers to it, or several do.
    """
    for exact in ([job for job in jobs if job.id == given], [job for job in jobs if job.name == given]):
        if exact:
            return _newest(exact)
    begun = [job for job in jobs if given and (job.id.startswith(given) or job.name.startswith(given))]
    for matches in (_shown(begun), begun):
        if len({job.name if job.name.startswith(given) else job.id for job in matches}) == 1:
            return _newest(matches)
        if matches:
            listed = _listed(matches)
            raise NoSuchJob(f"{len(matches)} jobs begin with {given!r}: {listed}", "Give more of the name.")
    raise NoSuchJob(f"no job {given!r}", _nearest(jobs, given))


def _newest(jobs: Sequence[Job]) -> Job:
    return max(_shown(jobs) or jobs, key=lambda job: (job.created_at, job.number))


def _shown(jobs: Sequence[Job]) -> list[Job]:
    return [job for job in jobs if not (job.archived or job.deleted)]


def _listed(jobs: Sequence[Job]) -> str:
    names = [f"{job.name} ({job.id})" for job in jobs[:SHOWN]]
    return ", ".join([*names, "…"] if len(jobs) > SHOWN else names)


def _nearest(jobs: Sequence[Job], given: str) -> str:
    close = difflib.get_close_matches(given, list({job.name for job in jobs}), n=3, cutoff=0.4)
    return f"Did you mean {' or '.join(close)}?" if close else "podium jobs lists them."
