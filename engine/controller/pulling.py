"""Fetching a checkpoint from a pod: it goes on where it was cut off, and every hash has to be right."""

from __future__ import annotations

import asyncio
import hashlib
import json
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final, Protocol

from engine.errors import BadInput, PodError
from engine.job.folder import JobFolder
from engine.records import Checkpoint, Job

MANIFEST: Final = "manifest.json"
_FILES: Final = 10_000
"""No checkpoint has more files."""

Progress = Callable[[int, int], None]
"""Told how many bytes of how many are here."""


class Source(Protocol):
    """Where files come from."""

    async def read(self, remote: str, limit: int = 1 << 24) -> bytes:
        """A small file's content."""
        ...

    async def download(self, remote: str, local: Path, size: int, progress: Progress) -> None:
        """Append what `local` lacks of a file of `size` bytes."""
        ...


@dataclass(frozen=True, slots=True)
class Wanted:
    """A file of a checkpoint.

    Args:
        name: Below the checkpoint's folder.
        bytes: Its size.
        sha256: Its hash, hex.
    """

    name: str
    bytes: int
    sha256: str


def chosen(job: Job, checkpoints: Sequence[Checkpoint], which: str) -> Checkpoint:
    """The checkpoint that a user means.

    Args:
        job: Whose.
        checkpoints: All of it, by step.
        which: `best`, `last` or a step.

    Raises:
        BadInput: There is none such, or its files were removed.
    """
    there = [item for item in checkpoints if item.path is not None]
    if which == "best":
        found = [item for item in checkpoints if item.is_best]
    elif which == "last":
        found = there[-1:]
    elif which.isdecimal():
        found = [item for item in checkpoints if item.step == int(which)]
    else:
        raise BadInput(f"{which!r} is no checkpoint", "Say best, last, or a step such as 120.")
    kept = ", ".join(str(item.step) for item in there) or "none"
    if not found:
        raise BadInput(f"{job.name} has no checkpoint {which}", f"Those that are kept: {kept}.")
    if found[0].path is None:
        raise BadInput(f"{job.name}: the files of checkpoint {found[0].step} were removed", f"Kept: {kept}.")
    return found[0]


async def pull(
    source: Source, remote: str, folder: JobFolder, checkpoint: Checkpoint, progress: Progress
) -> Path:
    """Fetch a checkpoint, whole and verified or not at all.

    Args:
        source: The pod's files.
        remote: The job's folder there.
        folder: The job's folder here.
        checkpoint: Which.
        progress: Told how far it is.

    Returns:
        Its folder here.

    Raises:
        PodError: It is not there any more, is not what it should be, or can't be written here.
    """
    target, there = folder.checkpoint(checkpoint.step), f"{remote}/checkpoints/checkpoint-{checkpoint.step}"
    manifest = await source.read(f"{there}/{MANIFEST}")
    if checkpoint.sha256 and hashlib.sha256(manifest).hexdigest() != checkpoint.sha256:
        raise PodError(f"checkpoint {checkpoint.step}: its manifest is not the one that the run told of")
    return await _bring(source, there, target, manifest, progress)


def proven(folder: JobFolder, checkpoint: Checkpoint) -> Path:
    """The folder of a checkpoint of a run on this machine, which has nothing to fetch; blocks.

    Raises:
        PodError: It is not there, or a file of it is not what was saved.
    """
    target = folder.checkpoint(checkpoint.step)
    try:
        manifest = (target / MANIFEST).read_bytes()
    except OSError as error:
        raise PodError(
            f"{error.filename}: can't be read ({error.strerror})", "Pull another checkpoint."
        ) from None
    told = not checkpoint.sha256 or hashlib.sha256(manifest).hexdigest() == checkpoint.sha256
    if not told or not _complete(target, manifest, wanted(manifest)):
        raise PodError(f"{target}: a hash is wrong", "Pull another checkpoint.")
    return target


async def pull_final(
    source: Source, remote: str, folder: JobFolder, found: object, progress: Progress
) -> Path:
    """Fetch the final model, what was made of the best checkpoint, whole and verified or not at all.

    Args:
        source: The pod's files.
        remote: The job's folder there.
        folder: The job's folder here.
        found: What is in its folder there now, by `SSHPod.sums`.
        progress: Told how far it is.

    Raises:
        BadInput: There is none.
        PodError: It can't be fetched, or written here.
    """
    if found is None:
        raise BadInput("the run has no final model", "It is made when a run completes.")
    # A folder has no order, a manifest has.
    manifest = json.dumps(found, sort_keys=True, indent=2).encode()
    return await _bring(source, f"{remote}/{folder.final.name}", folder.final, manifest, progress)


async def _bring(source: Source, there: str, target: Path, manifest: bytes, progress: Progress) -> Path:
    """Fetch what a manifest lists."""
    files = wanted(manifest)
    total = sum(file.bytes for file in files)
    if await asyncio.to_thread(_complete, target, manifest, files):
        progress(total, total)
        return target
    aside = target.with_name(f".pulling-{target.name.removeprefix('checkpoint-')}")
    done = 0
    for file in files:
        await _fetch(source, there, aside, file, lambda now, _, before=done: progress(before + now, total))  # type: ignore[misc]
        done += file.bytes
    await asyncio.to_thread(_publish, aside, target, manifest)
    return target


@asynccontextmanager
async def announced(touch: Callable[[], Awaitable[object]], every: float = 30.0) -> AsyncIterator[None]:
    """Tell a rented pod's guard, as long as this lasts, that something is being fetched.

    Args:
        touch: Tells it once.
        every: Seconds between two times.
    """

    async def hold() -> None:
        while True:
            with suppress(PodError):
                await touch()
            await asyncio.sleep(every)

    holding = asyncio.create_task(hold())
    try:
        yield
    finally:
        holding.cancel()
        await asyncio.gather(holding, return_exceptions=True)


def wanted(manifest: bytes) -> list[Wanted]:
    """The files that a manifest lists; it comes from a pod, so it is not trusted.

    Raises:
        PodError: It is no manifest, or it names a file outside the checkpoint.
    """
    try:
        files: Mapping[str, Mapping[str, object]] = json.loads(manifest)["files"]
        found = [Wanted(name, _size(entry["bytes"]), str(entry["sha256"])) for name, entry in files.items()]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise PodError("the checkpoint's manifest makes no sense") from None
    for file in found:
        parts = PurePosixPath(file.name).parts
        outside = file.name.startswith("/") or ".." in parts or not parts or not file.name.isprintable()
        if outside or file.name == MANIFEST or len(found) > _FILES:
            raise PodError(f"the checkpoint's manifest names {file.name[:100]!r}, which is no file of it")
    return found


def _size(value: object) -> int:
    if not isinstance(value, int) or value < 0:
        raise ValueError
    return value


async def _fetch(source: Source, there: str, aside: Path, file: Wanted, progress: Progress) -> None:
    """Fetch one file; a damaged beginning is thrown away, once."""
    path = aside / file.name
    for last in (False, True):
        await asyncio.to_thread(_make_room, path, file.bytes)
        await source.download(f"{there}/{file.name}", path, file.bytes, progress)
        if await asyncio.to_thread(_is, path, file):
            return
        await asyncio.to_thread(path.unlink)
        if last:
            raise PodError(f"{file.name}: its hash is wrong on the pod, too", "Pull another checkpoint.")


def _make_room(path: Path, size: int) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        here = path.stat().st_size
        if here > size:
            path.write_bytes(b"")
        if shutil.disk_usage(path.parent).free < size - here:
            raise PodError(f"{path.parent}: no room for {size - here} bytes more", "Make room there.")
    except OSError as error:
        raise PodError(f"{path}: can't be written ({error.strerror})") from None


def _is(path: Path, file: Wanted) -> bool:
    try:
        if path.stat().st_size != file.bytes:
            return False
        with path.open("rb") as opened:
            return hashlib.file_digest(opened, "sha256").hexdigest() == file.sha256
    except OSError:
        return False


def _complete(target: Path, manifest: bytes, files: Sequence[Wanted]) -> bool:
    try:
        same = (target / MANIFEST).read_bytes() == manifest
    except OSError:
        return False
    return same and all(_is(target / file.name, file) for file in files)


def _publish(aside: Path, target: Path, manifest: bytes) -> None:
    """Give it its name; what bears it already is not whole, and goes."""
    try:
        aside.mkdir(parents=True, exist_ok=True)
        (aside / MANIFEST).write_bytes(manifest)
        shutil.rmtree(target, ignore_errors=True)
        aside.rename(target)
    except OSError as error:
        raise PodError(f"{target}: can't be written ({error.strerror})", "Make room there.") from None
