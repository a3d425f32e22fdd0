"""Runs that other tools trained, put among ours. Blocking."""

from __future__ import annotations

from collections.abc import Sequence

from engine.controller.disk import remove
from engine.controller.unpacking import Taken
from engine.errors import PodError
from engine.foreign.retelling import began, id_of, retell, timed
from engine.foreign.track import Track
from engine.home import Home
from engine.job.events import Status, plain
from engine.records import Job
from engine.store.base import Store
from engine.stream import ingest


def adopt(store: Store, home: Home, tracks: Sequence[Track]) -> list[Taken]:
    """Add runs, each once however often it is asked for; their checkpoints stay where they are.

    Raises:
        PodError: A folder can't be written; the runs before it are here.
    """
    known = {job.id: job.name for job in store.jobs(archived=True, deleted=True)}
    taken = []
    for track in tracks:
        job_id = id_of(track)
        if job_id not in known:
            _add(store, home, track, job_id)
        taken.append(Taken(job_id, known.get(job_id, track.name), job_id not in known))
    return taken


def _add(store: Store, home: Home, track: Track, job_id: str) -> None:
    folder = home.job(job_id)
    # What a died import left behind: the store does not know it.
    remove(folder.path, home.jobs)
    try:
        folder.create()
        folder.events.write_bytes(retell(track))
    except OSError as error:
        raise PodError(f"{folder.path}: can't be written ({error.strerror})") from None
    model = _model(track)
    job = store.add(
        Job(
            id=job_id,
            name=track.name[:100],
            status=Status.COMPLETED,
            created_at=began(track),
            model_name=model,
            base_model=model,
            config=plain(track.config),
            metadata={"imported": True, "tool": track.tool, "imported_from": str(track.path)},
            provider="imported",
            job_dir=str(folder.path),
        )
    )
    ingest(store, job.id, folder.events)
    if not timed(track):
        store.update(job.id, elapsed_seconds=None)


def _model(track: Track) -> str | None:
    """What it was trained from, where its configuration says so."""
    for name in ("model_name_or_path", "model_name", "base_model", "_name_or_path", "model"):
        found = track.config.get(name)
        if isinstance(found, dict):
            found = found.get("name")
        if isinstance(found, str) and found:
            return found
    return None
