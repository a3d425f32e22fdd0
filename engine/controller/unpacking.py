"""Taking in an archive of runs. Blocking.

What the archive says is not believed: only files that podium.json lists are written, only below the run's own
folder, and a run is added when every hash was right.
"""

from __future__ import annotations

import hashlib
import json
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any, Final

from engine.controller.disk import remove
from engine.controller.packing import BLOCK, FORMAT, INDEX, TOLD, Meter, Progress
from engine.errors import BadInput, PodError
from engine.home import Home
from engine.job.events import Status, parse_stamp
from engine.job.folder import JobFolder, write_json
from engine.records import Job
from engine.store.base import Store
from engine.stream import ingest

_INDEX_LIMIT: Final = 1 << 26


@dataclass(frozen=True, slots=True)
class Taken:
    """What became of a run of an archive.

    Args:
        job_id: Its id.
        name: Its name.
        added: Was it added? Otherwise it was here already.
    """

    job_id: str
    name: str
    added: bool


def unpack(store: Store, home: Home, source: Path, progress: Progress) -> list[Taken]:
    """Take the runs of an archive in, each wholly or not at all.

    Args:
        store: Where they are added.
        home: Where their folders go.
        source: The archive.
        progress: Told how many of its bytes are read.

    Raises:
        BadInput: It is no archive of runs, or a file in it is not what it should be; the runs before it
            are here.
        PodError: It can't be read, or its files can't be written.
    """
    try:
        with tarfile.open(source, "r|*") as archive:
            members = iter(archive)
            index = _index(archive, next(members, None), source)
            return list(_runs(store, home, archive, members, index, Meter(_total(index), progress)))
    except (tarfile.TarError, EOFError) as error:
        raise BadInput(f"{source}: is no whole archive of runs ({error})") from None
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise BadInput(f"{source}: its {INDEX} is not as Podium writes it ({type(error).__name__})") from None
    except OSError as error:
        raise PodError(f"{error.filename or source}: {error.strerror or error}") from None


def _index(archive: tarfile.TarFile, first: tarfile.TarInfo | None, source: Path) -> dict[str, Any]:
    if first is None or first.name != INDEX or not first.isreg() or first.size > _INDEX_LIMIT:
        raise BadInput(
            f"{source}: is no archive of runs: {INDEX} must come first", "podium export makes one."
        )
    index: dict[str, Any] = json.loads(_opened(archive, first).read())
    if index["format"] != FORMAT:
        raise BadInput(
            f"{source}: is of format {index['format']!r}, this Podium knows {FORMAT}", "Update Podium."
        )
    return index


def _total(index: Mapping[str, Any]) -> int:
    return sum(int(described["bytes"]) for run in index["runs"] for described in run["files"])


def _opened(archive: tarfile.TarFile, member: tarfile.TarInfo) -> IO[bytes]:
    file = archive.extractfile(member)
    if file is None:
        raise BadInput(f"{member.name} in the archive is no file")
    return file


def _runs(
    store: Store,
    home: Home,
    archive: tarfile.TarFile,
    members: Iterator[tarfile.TarInfo],
    index: Mapping[str, Any],
    meter: Meter,
) -> Iterator[Taken]:
    known = {job.id for job in store.jobs(archived=True, deleted=True)}
    for run in index["runs"]:
        job_id, name = str(run["id"]), str(run["columns"]["name"])
        if job_id.startswith("."):
            raise BadInput(f"{job_id!r} is no job id")
        # One that seemed alive would be brought back to life here, and do what its job.json says.
        if not Status(run["status"]).ended:
            raise BadInput(
                f"{name[:100]!r} in the archive is {run['status']}", "Only ended runs are taken in."
            )
        incoming = home.jobs / f".incoming-{home.job(job_id).path.name}"
        remove(incoming, home.jobs)
        try:
            for described in run["files"]:
                _take(archive, next(members, None), job_id, described, None if job_id in known else incoming)
                meter.add(int(described["bytes"]))
            if job_id not in known:
                _add(store, home, run, incoming)
        finally:
            remove(incoming, home.jobs)
        yield Taken(job_id, name, job_id not in known)


def _take(
    archive: tarfile.TarFile,
    member: tarfile.TarInfo | None,
    job_id: str,
    described: Mapping[str, Any],
    into: Path | None,
) -> None:
    """Write one file, if it comes next and its hash is right; with nowhere to go, pass over it."""
    path = PurePosixPath(str(described["path"]))
    if path.is_absolute() or ".." in path.parts or not path.parts:
        raise BadInput(f"{path}: leads out of the run's folder")
    if member is None or member.name != f"runs/{job_id}/{path}" or not member.isreg():
        raise BadInput(f"{path} of {job_id} is missing in the archive")
    digest, source = hashlib.sha256(), _opened(archive, member)
    if into is None:
        return
    target = into / path
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.open("xb") as file:
        while block := source.read(BLOCK):
            digest.update(block)
            file.write(block)
    if digest.hexdigest() != described["sha256"]:
        raise BadInput(f"{path} of {job_id} is damaged: its hash is another")


def _add(store: Store, home: Home, run: Mapping[str, Any], incoming: Path) -> None:
    """Put a verified run among the others: the folder first, so that no row is without its files."""
    folder = home.job(str(run["id"]))
    # What a died import left behind: the store does not know it.
    remove(folder.path, home.jobs)
    incoming.mkdir(parents=True, exist_ok=True)
    (incoming / "checkpoints").mkdir(exist_ok=True)
    ending = JobFolder(incoming).exit
    if not ending.exists():
        # Its events may not tell of its end; whoever finds it before we have said so finds it here.
        write_json(ending, {"status": run["status"], "error": run["error_message"]})
    incoming.rename(folder.path)
    columns = {name: run["columns"].get(name) for name in TOLD}
    columns |= {"tags": tuple(columns["tags"] or ()), "config": columns["config"] or {}}
    columns |= {"metadata": {**(columns["metadata"] or {}), "imported": True}}
    job = Job(
        id=str(run["id"]),
        status=Status.COMPLETED,
        created_at=parse_stamp(run["created_at"]),
        job_dir=str(folder.path),
        **columns,
    )
    store.add(job)
    ingest(store, job.id, folder.events)
    # How it ended is not always on the wire: a pod that vanished says nothing.
    if store.job(job.id).status != Status(run["status"]):
        store.update(job.id, status=Status(run["status"]), error_message=run["error_message"])
    _missing(store, job.id, folder)


def _missing(store: Store, job_id: str, folder: JobFolder) -> None:
    """Note the checkpoints whose files did not come along."""
    gone = [
        item.step
        for item in store.checkpoints(job_id)
        if item.path is not None and not folder.checkpoint(item.step).is_dir()
    ]
    if gone:
        store.drop_checkpoints(job_id, gone)
