"""Checkpoints that are complete or absent: written aside, hashed into a manifest, synced, renamed."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from engine.job.events import plain, stamp
from engine.job.folder import JobFolder, write_json
from scorer import Score, order_key

MANIFEST: Final = "manifest.json"
_VERSION: Final = 1
_SAVING: Final = ".saving"
_REPLACED: Final = ".replaced-"
_REMOVED: Final = ".removed-"


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A checkpoint's folder and what its manifest says.

    Args:
        path: The folder.
        step: The optimizer step.
        bytes: The size of its files.
        sha256: Of the manifest, and so of everything.
        score: Its score; None when it was saved without an evaluation, or the score can't be read.
    """

    path: Path
    step: int
    bytes: int
    sha256: str
    score: Score | None = None


def staging(folder: JobFolder, other: str = "") -> Path:
    """The folder in which a checkpoint is written before it is renamed into place.

    Args:
        folder: The job's folder.
        other: A name for one that is used besides, and never published.
    """
    return folder.checkpoints / (f"{_SAVING}-{other}" if other else _SAVING)


def clean(folder: JobFolder) -> None:
    """Put right what a crash in mid-save left behind: what it had just put aside is whole, and comes back."""
    for path in sorted(folder.checkpoints.iterdir()):
        if path.name.startswith(_REPLACED):
            target = path.with_name(path.name.removeprefix(_REPLACED))
            if not target.exists():
                path.rename(target)
                continue
        elif not path.name.startswith((_SAVING, _REMOVED)):
            continue
        shutil.rmtree(path)


def publish(
    written: Path, folder: JobFolder, step: int, score: Score | None, epoch: float | None
) -> Checkpoint:
    """Hash, sync and rename what was written aside; afterwards it is complete, before it is absent.

    Args:
        written: The folder below `staging` that holds the files.
        folder: The job's folder.
        step: The optimizer step.
        score: The checkpoint's score, if it was evaluated.
        epoch: The epoch, for people who read the manifest.

    Raises:
        OSError: It can't be written; what was there before is untouched.
    """
    files = {}
    for path in _files(written):
        _sync(path)
        files[str(path.relative_to(written))] = {"bytes": path.stat().st_size, "sha256": _sha256(path)}
    _write_manifest(
        written,
        {
            "version": _VERSION,
            "step": step,
            "epoch": epoch,
            "created_at": stamp(datetime.now(UTC)),
            "score": score.to_json() if score is not None else None,
            "files": files,
        },
    )
    for path in [written, *(item for item in written.rglob("*") if item.is_dir())]:
        _sync(path)
    target = folder.checkpoint(step)
    if target.exists():
        replaced = folder.checkpoints / f"{_REPLACED}{target.name}"
        shutil.rmtree(replaced, ignore_errors=True)
        target.rename(replaced)
        written.rename(target)
        _discard(replaced, target.name)
    else:
        written.rename(target)
    shutil.rmtree(staging(folder))
    _sync(folder.checkpoints)
    shutil.rmtree(_damaged(target), ignore_errors=True)
    return read(target)


def rescore(checkpoint: Checkpoint, score: Score) -> Checkpoint:
    """Write a score that came later into the checkpoint's manifest."""
    manifest = _manifest(checkpoint.path)
    manifest["score"] = score.to_json()
    _write_manifest(checkpoint.path, manifest)
    return read(checkpoint.path)


def read(path: Path) -> Checkpoint:
    """What a checkpoint's manifest says; its files are not looked at.

    Raises:
        ValueError: There is no manifest, or it can't be read.
    """
    manifest = _manifest(path)
    try:
        size = sum(int(entry["bytes"]) for entry in manifest["files"].values())
        step = int(manifest["step"])
    except (KeyError, TypeError, ValueError, AttributeError):
        raise ValueError(f"{MANIFEST} has the wrong shape") from None
    digest = hashlib.sha256((path / MANIFEST).read_bytes()).hexdigest()
    return Checkpoint(path, step, size, digest, _score(manifest))


def damage(path: Path) -> str:
    """What is wrong with a checkpoint's files, one line; empty when every hash is right."""
    try:
        files = _manifest(path)["files"]
        expected = {name: (entry["bytes"], entry["sha256"]) for name, entry in files.items()}
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        return str(error) if isinstance(error, ValueError) else f"{MANIFEST} has the wrong shape"
    present = {str(file.relative_to(path)) for file in _files(path)} - {MANIFEST}
    for name, (size, digest) in expected.items():
        if name not in present:
            return f"{name} is missing"
        if (path / name).stat().st_size != size:
            return f"{name} has another size than when it was saved"
        if _sha256(path / name) != digest:
            return f"{name} has other bytes than when it was saved"
    return ""


def steps(folder: JobFolder) -> list[int]:
    """The steps of all checkpoints, whole or damaged, newest first."""
    names = [path.name for path in folder.checkpoints.glob("checkpoint-*") if path.is_dir()]
    numbers = [name.removeprefix("checkpoint-") for name in names]
    return sorted((int(number) for number in numbers if number.isdigit()), reverse=True)


def readable(folder: JobFolder) -> list[Checkpoint]:
    """All checkpoints whose manifest can be read, newest first; their files are not looked at."""
    found = []
    for step in steps(folder):
        try:
            found.append(read(folder.checkpoint(step)))
        except (OSError, ValueError):
            continue
    return found


def by_score(checkpoints: list[Checkpoint]) -> list[Checkpoint]:
    """Those that have a score, best first, in the scorer's total order."""
    scored = [(order_key(item.score), item) for item in checkpoints if item.score is not None]
    return [item for _, item in sorted(scored, key=lambda pair: pair[0])]


def surplus(checkpoints: list[Checkpoint], keep: int | None) -> list[Checkpoint]:
    """Those that rotation may remove: all but the best, the newest and the `keep` newest besides them.

    Args:
        checkpoints: All of them, newest first.
        keep: How many to keep besides the best and the newest; None keeps all.
    """
    if keep is None or not checkpoints:
        return []
    kept = {checkpoints[0].step, *(item.step for item in by_score(checkpoints)[:1])}
    return [item for item in checkpoints if item.step not in kept][keep:]


def set_aside(path: Path) -> None:
    """Rename a damaged checkpoint so that nothing takes it for one; `publish` of the same step deletes it."""
    aside = _damaged(path)
    shutil.rmtree(aside, ignore_errors=True)
    path.rename(aside)


def remove(checkpoint: Checkpoint) -> None:
    """Delete a checkpoint so that no half of it can be taken for a whole: renamed first."""
    _discard(checkpoint.path, checkpoint.path.name)


def _discard(path: Path, name: str) -> None:
    aside = path.with_name(f"{_REMOVED}{name}")
    shutil.rmtree(aside, ignore_errors=True)
    path.rename(aside)
    shutil.rmtree(aside)


def _damaged(path: Path) -> Path:
    return path.with_name(f"damaged-{path.name}")


def _score(manifest: dict[str, Any]) -> Score | None:
    try:
        return Score.from_json(manifest["score"]) if manifest.get("score") else None
    except ValueError:
        return None


def _manifest(path: Path) -> dict[str, Any]:
    try:
        manifest = json.loads((path / MANIFEST).read_bytes())
    except FileNotFoundError:
        raise ValueError(f"{MANIFEST} is missing") from None
    except (ValueError, RecursionError):
        raise ValueError(f"{MANIFEST} is not JSON") from None
    if not isinstance(manifest, dict):
        raise ValueError(f"{MANIFEST} has the wrong shape")
    return manifest


def _write_manifest(path: Path, manifest: dict[str, Any]) -> None:
    write_json(path / MANIFEST, plain(manifest))


def _files(path: Path) -> Iterator[Path]:
    return (item for item in sorted(path.rglob("*")) if item.is_file())


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
