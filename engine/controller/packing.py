"""Runs in one archive, for another machine or another person: packed and hashed. Blocking.

    podium.json                 first: format, and for each run its row and its files with size and SHA-256
    runs/ID/events.jsonl …      the files, as they lie in the job's folder

Everything that follows from the events is made from the events again; the rest of a run's row travels.
"""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Literal

from engine.errors import BadInput, PodError
from engine.home import Home
from engine.job.events import plain
from engine.job.folder import JobFolder
from engine.records import Job
from engine.store.base import Store

FORMAT: Final = 1
"""Rises when an older Podium could misread an archive."""

INDEX: Final = "podium.json"
BLOCK: Final = 1 << 20
_ENDINGS: Final = (".tar", ".tar.gz", ".tgz")
_ALWAYS: Final = ("job.json", "events.jsonl", "train.log", "exit.json")
_DATA: Final = ("dataset.jsonl", "eval.jsonl")
TOLD: Final = (
    "name", "model_name", "base_model", "dataset_path", "method", "config", "metadata", "tags",
    "learning_rate", "batch_size", "gradient_accumulation_steps", "provider", "gpu_type", "gpu_count",
    "cost_per_hour", "resumed_from_job_id",
)  # fmt: skip
"""The columns that no event tells; the others are made from the events again."""

Which = Literal["none", "best", "all"]
"""Whose files go along: no checkpoint's, the best one's, all that are here."""

Progress = Callable[[int, int], None]
"""Told how many bytes of how many are done."""


def is_archive(path: Path) -> bool:
    """Is it an archive of runs by its name, and no folder?"""
    return path.name.endswith(_ENDINGS) and not path.is_dir()


def pack(
    store: Store,
    home: Home,
    jobs: Sequence[Job],
    target: Path,
    progress: Progress,
    *,
    checkpoints: Which = "best",
    data: bool = False,
) -> int:
    """Write runs into one archive, whole or not at all.

    Args:
        store: Where they are known.
        home: Where their folders are.
        jobs: The runs; none may be under way.
        target: The archive: a tar, gzipped where its name ends so; one that is there is replaced.
        progress: Told how far it is.
        checkpoints: Whose files go along.
        data: Do the training data go along?

    Returns:
        The archive's size, bytes.

    Raises:
        BadInput: A run is under way, or nobody would take the archive for one by its name.
        PodError: A file can't be read, or the archive can't be written.
    """
    if not is_archive(target):
        raise BadInput(f"{target}: is no archive by its name", "End it in .tar or .tar.gz.")
    for job in jobs:
        if not job.status.ended:
            raise BadInput(f"{job.name} is {job.status}: its files still change", "Stop it first.")
    aside = target.with_name(f".{target.name}.part")
    try:
        folders = {job.id: home.found(job.id, deleted=job.deleted) for job in jobs}
        files = {job.id: list(_files(store, job, folders[job.id], checkpoints, data)) for job in jobs}
        total = sum(path.stat().st_size for paths in files.values() for path in paths)
        meter = Meter(2 * total, progress)
        index = {
            "format": FORMAT,
            "made_at": plain(datetime.now(UTC)),
            "runs": [_described(job, folders[job.id], files[job.id], meter) for job in jobs],
        }
        with tarfile.open(aside, "w:gz" if target.name.endswith(("gz", "tgz")) else "w") as archive:
            text = json.dumps(index, indent=1, allow_nan=False).encode()
            entry = tarfile.TarInfo(INDEX)
            entry.size = len(text)
            archive.addfile(entry, io.BytesIO(text))
            for described in index["runs"]:
                _write(archive, described, folders[described["id"]], meter)
        aside.replace(target)
    except OSError as error:
        raise PodError(f"{error.filename or target}: {error.strerror}", "No archive was written.") from None
    finally:
        aside.unlink(missing_ok=True)
    return target.stat().st_size


def _files(store: Store, job: Job, folder: JobFolder, which: Which, data: bool) -> Iterator[Path]:
    """The files of a run that go along; links do not."""
    for name in (*_ALWAYS, *(_DATA if data else ())):
        if (folder.path / name).is_file():
            yield folder.path / name
    if which == "none":
        return
    for item in store.checkpoints(job.id):
        if item.path is not None and (which == "all" or item.is_best):
            yield from sorted(
                path
                for path in folder.checkpoint(item.step).rglob("*")
                if path.is_file() and not path.is_symlink()
            )


def _described(job: Job, folder: JobFolder, files: Sequence[Path], meter: Meter) -> dict[str, Any]:
    """A run's row and files, as the index has them."""
    return {
        "id": job.id,
        "created_at": plain(job.created_at),
        "status": str(job.status),
        "error_message": job.error_message,
        "columns": {name: plain(getattr(job, name)) for name in TOLD},
        "files": [
            {
                "path": str(path.relative_to(folder.path)),
                "bytes": path.stat().st_size,
                "sha256": _hash(path, meter),
            }
            for path in files
        ],
    }


def _hash(path: Path, meter: Meter) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            digest.update(block)
            meter.add(len(block))
    return digest.hexdigest()


def _write(archive: tarfile.TarFile, run: Mapping[str, Any], folder: JobFolder, meter: Meter) -> None:
    for described in run["files"]:
        entry = tarfile.TarInfo(f"runs/{run['id']}/{described['path']}")
        entry.size = described["bytes"]
        with (folder.path / described["path"]).open("rb") as file:
            archive.addfile(entry, file)
        meter.add(entry.size)


class Meter:
    """Adds up bytes and tells of them."""

    def __init__(self, total: int, progress: Progress) -> None:
        self._done, self._total, self._progress = 0, total, progress

    def add(self, count: int) -> None:
        """So many more are done."""
        self._done += count
        self._progress(self._done, self._total)
