"""Where Podium keeps its things on this machine: `PODIUM_HOME`, else the platform's data folder."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from engine.errors import BadInput
from engine.job.folder import JobFolder


@dataclass(frozen=True, slots=True)
class Home:
    """The folder of Podium's state.

    Args:
        path: The folder.
    """

    path: Path

    @classmethod
    def default(cls) -> Home:
        """`PODIUM_HOME` if set, else the platform's data folder for `podium`."""
        if given := os.environ.get("PODIUM_HOME"):
            return cls(Path(given).expanduser().absolute())
        import platformdirs

        return cls(Path(platformdirs.user_data_dir("podium", appauthor=False)))

    @property
    def database(self) -> Path:
        """The SQLite store."""
        return self.path / "podium.db"

    @property
    def jobs(self) -> Path:
        """The job folders: of local jobs the very folders, of others their mirrors."""
        return self.path / "jobs"

    @property
    def trash(self) -> Path:
        """The folders of deleted jobs, until they are purged."""
        return self.path / "trash"

    @property
    def slot(self) -> Path:
        """The lock that the one local job that trains holds."""
        return self.path / "local.slot"

    @property
    def host_keys(self) -> Path:
        """The SSH host keys that are pinned, by pod id."""
        return self.path / "host_keys.json"

    @property
    def machines(self) -> Path:
        """What is known here of the machines that jobs are on, and the keys that open them."""
        return self.path / "machines"

    @property
    def laptop(self) -> Path:
        """What this machine itself has alerted of, as events."""
        return self.path / "laptop"

    def machine(self, job_id: str) -> Path:
        """The folder of what is known of one job's machine.

        Raises:
            ValueError: The id is no name of a folder.
        """
        return self.machines / _plain(job_id)

    def launching(self, job_id: str) -> Path:
        """The file whose lock says that somebody is bringing a job to its machine.

        Raises:
            ValueError: The id is no name of a folder.
        """
        return self.machine(job_id) / "launching.lock"

    def job(self, job_id: str) -> JobFolder:
        """The folder of one job.

        Raises:
            ValueError: The id is no name of a folder: it would lead out of here.
        """
        return JobFolder(self.jobs / _plain(job_id))

    def trashed(self, job_id: str) -> Path:
        """Where the folder of a deleted job is kept.

        Raises:
            ValueError: The id is no name of a folder.
        """
        return self.trash / _plain(job_id)

    def found(self, job_id: str, *, deleted: bool) -> JobFolder:
        """Where a job's folder is now: beside the others or, deleted, in the trash."""
        return JobFolder(self.trashed(job_id)) if deleted else self.job(job_id)

    def create(self) -> None:
        """Make the folders.

        Raises:
            BadInput: They can't be made or written to.
        """
        try:
            for folder in (self.path, self.jobs, self.trash):
                folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise BadInput(
                f"{error.filename or self.path}: can't be made ({error.strerror})",
                "Set PODIUM_HOME to a folder that you may write to.",
            ) from None
        if not os.access(self.path, os.W_OK):
            raise BadInput(
                f"{self.path}: no write permission", "Set PODIUM_HOME to a folder that you may write to."
            )


def _plain(job_id: str) -> str:
    """The id, if it is the name of something inside a folder."""
    if job_id in ("", ".", "..") or "/" in job_id or "\0" in job_id:
        raise ValueError(f"{job_id!r} is no job id")
    return job_id
