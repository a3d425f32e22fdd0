"""A script's checkpoints: recognised by their names once they rest, linked and hashed as Podium's own are.

Each becomes `checkpoints/checkpoint-STEP/` with hard links to the script's files and a manifest, so that
table, score, `podium pull` and rotation work as for our trainer. What the script removes is let go of.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from engine.job.events import plain, stamp
from engine.job.folder import JobFolder, read_json, write_json
from engine.script.finding import found
from engine.script.teller import Teller

MANIFEST: Final = "manifest.json"
_NUMBER: Final = re.compile(r"(epoch|ep|step|iter)?[^a-z0-9]{0,2}(\d{1,15})(?!.*\d)", re.IGNORECASE)
_AT_REST: Final = 1.0
"""Seconds that nothing may have been written to it."""
_MOST: Final = 1000


@dataclass(frozen=True, slots=True)
class Found:
    """One checkpoint of the script's.

    Args:
        path: Its file or folder.
        number: The epoch or step in its name.
        epoch: Is that an epoch, as far as the name says it? None where it says nothing.
        size: Bytes.
        written: When it was last written, seconds since 1970.
    """

    path: Path
    number: int
    epoch: bool | None
    size: int
    written: float


class Checkpoints:
    """Watches the script's checkpoints.

    Args:
        folder: The job's folder.
        work: Where the script runs.
        patterns: What its checkpoints are called, from there.
        teller: Who tells of them.
    """

    def __init__(self, folder: JobFolder, work: Path, patterns: Sequence[str], teller: Teller) -> None:
        self._folder, self._work, self._patterns, self._teller = folder, work, patterns, teller
        self._seen: dict[Path, Found] = {}
        self._taken: dict[Path, tuple[int, Found, bool]] = {}

    def newest(self) -> Path | None:
        """The newest of those that were taken in and are still as they were then: what to go on from."""
        found = []
        for path in self._folder.checkpoints.glob(f"checkpoint-*/{MANIFEST}"):
            manifest = read_json(path)
            source, step = manifest.get("source"), manifest.get("step")
            if isinstance(source, str) and isinstance(step, int) and _as_taken(self._work / source, manifest):
                found.append((step, self._work / source))
        return max(found)[1] if found else None

    def look(self, *, ended: bool = False) -> None:
        """Take in those that rest; let go of those that are gone.

        Args:
            ended: The script ended well: all of them are whole.
        """
        listed = {item.path: item for item in self._list()}
        now = datetime.now(UTC).timestamp()
        for path, item in sorted(listed.items(), key=lambda pair: pair[1].number):
            rests = ended or (self._seen.get(path) == item and now - item.written >= _AT_REST)
            taken = self._taken.get(path)
            if rests and item.size and (taken is None or taken[1] != item):
                with contextlib.suppress(OSError):
                    self._take(item)
            elif taken is not None and not taken[2] and taken[0] in self._teller.scores:
                self._tell(item, taken[0])  # its evaluation came later
        self._seen = listed
        for path in [path for path in self._taken if path not in listed]:
            self._forget(path)

    def _list(self) -> Iterator[Found]:
        for name in found(self._work, self._patterns, _MOST):
            path = self._work / name
            number = _NUMBER.search(path.stem if path.is_file() else path.name)
            if number is None:
                continue
            with contextlib.suppress(OSError):
                sizes = [file.stat() for file in _files(path)]
                word = (number[1] or "").lower()
                epoch = word.startswith("ep") if word else None
                size, written = sum(s.st_size for s in sizes), max((s.st_mtime for s in sizes), default=0.0)
                yield Found(path, int(number[2]), epoch, size, written)

    def _step(self, item: Found) -> int | None:
        if item.epoch is False:
            return item.number
        return self._teller.step_of(item.number) if item.epoch or self._teller.by_epochs else item.number

    def _take(self, item: Found) -> None:
        step = self._step(item)
        if step is None:
            return
        target = self._folder.checkpoint(step)
        aside = target.with_name(f".saving-{target.name}")
        shutil.rmtree(aside, ignore_errors=True)
        aside.mkdir(parents=True)
        entries: dict[str, Any] = {}
        for file in _files(item.path):
            name = file.name if file == item.path else file.relative_to(item.path).as_posix()
            if name == MANIFEST:
                continue
            (aside / name).parent.mkdir(parents=True, exist_ok=True)
            os.link(file, aside / name)
            with (aside / name).open("rb") as opened:
                digest = hashlib.file_digest(opened, "sha256").hexdigest()
            entries[name] = {"bytes": (aside / name).stat().st_size, "sha256": digest}
        told = self._teller.scores.get(step, {})
        manifest = {
            "version": 1,
            "step": step,
            "epoch": told.get("epoch"),
            "created_at": stamp(datetime.now(UTC)),
            "score": told.get("score"),
            "source": item.path.relative_to(self._work).as_posix(),
            "files": entries,
        }
        write_json(aside / MANIFEST, plain(manifest))
        shutil.rmtree(target, ignore_errors=True)
        aside.rename(target)
        self._tell(item, step)

    def _tell(self, item: Found, step: int) -> None:
        manifest = self._folder.checkpoint(step) / MANIFEST
        try:
            digest = hashlib.sha256(manifest.read_bytes()).hexdigest()
        except OSError:
            return
        self._taken[item.path] = step, item, step in self._teller.scores
        path = f"checkpoints/{manifest.parent.name}"
        source = item.path.relative_to(self._work).as_posix()
        self._teller.checkpoint(step, path=path, bytes=item.size, sha256=digest, source=source)

    def _forget(self, path: Path) -> None:
        """The script removed it: so do we."""
        step, _, _ = self._taken.pop(path)
        if any(other[0] == step for other in self._taken.values()):
            return
        shutil.rmtree(self._folder.checkpoint(step), ignore_errors=True)
        self._teller.checkpoint(step, path=f"checkpoints/checkpoint-{step}", removed=True)


def _as_taken(source: Path, manifest: dict[str, Any]) -> bool:
    """Are the script's files those that the manifest lists? By size: both are links to the same bytes."""
    try:
        sizes = {
            file.name if file == source else file.relative_to(source).as_posix(): file.stat().st_size
            for file in _files(source)
        }
        return bool(sizes) and sizes == {name: entry["bytes"] for name, entry in manifest["files"].items()}
    except (OSError, KeyError, TypeError, AttributeError):
        return False


def _files(path: Path) -> list[Path]:
    """A file alone, or those in a folder; links are not followed."""
    if path.is_symlink():
        return []
    if path.is_file():
        return [path]
    return [item for item in sorted(path.rglob("*")) if item.is_file() and not item.is_symlink()]
