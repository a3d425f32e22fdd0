"""What a script's run brings along: every file with its hash, where it comes from and where it goes.

Every run has a copy of its own of what is synced, so that what is edited later changes no run. Data is
large and read only: on this machine it is linked to, on another it is shared by all runs.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import Any, Final

from engine.errors import BadInput, PodError
from engine.job.folder import JobFolder, read_json, write_json
from engine.job.scripting import ScriptSpec

MOST: Final = 50_000
"""Files of one run."""


@dataclass(frozen=True, slots=True)
class Item:
    """One file.

    Args:
        place: Where it goes, below the run's folder.
        source: Where it is on this machine.
        sha256: Of what it holds, hex.
        bytes: Its size.
        program: May it be executed?
        shared: Is it data, which is read only?
    """

    place: str
    source: str
    sha256: str
    bytes: int
    program: bool = False
    shared: bool = False


def packed(script: ScriptSpec) -> list[Item]:
    """All files that a script's section names, hashed.

    Raises:
        BadInput: One of them is not there, can't be read, or there are too many.
    """
    items: dict[str, Item] = {}
    for entries, shared in ((script.sync, False), (script.data, True)):
        for entry in entries:
            root = Path(entry.path)
            if not root.exists():
                section = "data" if shared else "sync"
                raise BadInput(f"script.{section}: {root}: no such file or folder")
            for path in _walk(root, _Excluded(script, entry.place)):
                place = _place(entry.place, path, root)
                items[place] = _item(path, place, shared)
                if len(items) > MOST:
                    raise BadInput(
                        f"{root}: more than {MOST} files to bring along",
                        "Name fewer folders in script.sync, or more in script.exclude.",
                    )
    return list(items.values())


def _place(place: str, path: Path, root: Path) -> str:
    inside = path.relative_to(root).as_posix()
    if inside == ".":
        return root.name if place == "." else place
    return inside if place == "." else f"{place}/{inside}"


def _item(path: Path, place: str, shared: bool) -> Item:
    try:
        with path.open("rb") as file:
            digest, status = hashlib.file_digest(file, "sha256").hexdigest(), os.fstat(file.fileno())
    except OSError as error:
        raise BadInput(f"{path}: can't be read ({error.strerror})", "Name it in script.exclude.") from None
    return Item(place, str(path), digest, status.st_size, bool(status.st_mode & 0o100), shared)


class _Excluded:
    """What stays here.

    Args:
        script: The spec's section.
        place: Where the entry goes that is walked.
    """

    def __init__(self, script: ScriptSpec, place: str) -> None:
        self._patterns, self._place = script.exclude, place
        made = PurePosixPath(script.folder) / script.artifacts
        self._made = "" if script.artifacts == "." else str(made)

    def __call__(self, inside: str) -> bool:
        name = inside.rpartition("/")[2]
        place = inside if self._place == "." else f"{self._place}/{inside}"
        return place == self._made or any(
            fnmatchcase(name, pattern) or fnmatchcase(inside, pattern) for pattern in self._patterns
        )


def _walk(root: Path, excluded: _Excluded) -> Iterator[Path]:
    """The files of a folder in order, links followed but not in circles; a file itself."""
    if root.is_file():
        yield root
        return
    seen = {root.resolve()}
    for folder, names, files in os.walk(root, followlinks=True):
        here = Path(folder)
        inside = here.relative_to(root).as_posix()
        before = "" if inside == "." else f"{inside}/"
        names.sort()
        for name in list(names):
            real = (here / name).resolve()
            if excluded(before + name) or real in seen:
                names.remove(name)
            seen.add(real)
        yield from (
            here / name for name in sorted(files) if not excluded(before + name) and (here / name).is_file()
        )


def lay_out(folder: JobFolder, items: Sequence[Item], *, here: bool) -> None:
    """Write what a run brings along, and where it is to run on this machine, bring it.

    Args:
        folder: The job's folder.
        items: What.
        here: Does it run on this machine?

    Raises:
        OSError: It can't be written, or read any more.
    """
    if here:
        folder.work.mkdir(parents=True, exist_ok=True)
        for item in items:
            target = folder.work / item.place
            target.parent.mkdir(parents=True, exist_ok=True)
            if item.shared:
                target.symlink_to(item.source)
            else:
                shutil.copyfile(item.source, target)
                target.chmod(0o755 if item.program else 0o644)
    write_json(folder.luggage, {"items": [asdict(item) for item in items]})


def read(folder: JobFolder) -> list[Item]:
    """What a run brings along; nothing for one that is no script's."""
    listed: Any = read_json(folder.luggage).get("items") or []
    found = []
    for values in listed:
        with contextlib.suppress(TypeError):
            found.append(Item(**values))
    return found


def changed(item: Item) -> PodError:
    """The error that says why a file can't be brought any more."""
    return PodError(
        f"{item.source}: is not what it was at the launch", "Launch again, or bring the old one back."
    )
