"""Taking folders away for good, and never anything beside them. Blocking."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from engine.errors import PodError

_MOUNTS: Final = Path("/proc/self/mountinfo")


def size_of(path: Path) -> int:
    """The bytes of all files below a folder, or of a file; what links point to does not count."""
    if path.is_symlink() or not path.is_dir():
        return path.lstat().st_size if path.is_symlink() or path.exists() else 0
    return sum(entry.stat(follow_symlinks=False).st_size for entry in _files(path))


def _files(folder: Path) -> Iterator[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    yield from _files(Path(entry.path))
                else:
                    yield entry
    except FileNotFoundError:
        return


def remove(path: Path, inside: Path) -> int:
    """Remove a folder with everything in it; a link is removed as a link, what it points to stays.

    Args:
        path: The folder; one that is not there is removed already.
        inside: The folder that it must lie in, as it really is: a link on the way is refused.

    Returns:
        The bytes that are free now.

    Raises:
        PodError: It lies elsewhere, a disk is mounted in it, or it can't be removed.
    """
    if path.parent.resolve() != inside.resolve() or path.name in ("", ".", ".."):
        raise PodError(f"{path}: is not in {inside}", "It was left as it is.")
    if path.is_symlink():
        path.unlink()
        return 0
    if not path.exists():
        return 0
    if mounted := next(_mounted(path.resolve()), None):
        raise PodError(
            f"{path}: a disk is mounted in it, at {mounted}", "Unmount it first: nothing was removed."
        )
    freed = size_of(path)
    try:
        shutil.rmtree(path)
    except OSError as error:
        raise PodError(f"{error.filename or path}: can't be removed ({error.strerror})") from None
    return freed


def _mounted(path: Path) -> Iterator[Path]:
    """Where disks are mounted at or below a folder: what the kernel lists and what is another device."""
    try:
        table = _MOUNTS.read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        table = ""
    for line in table.splitlines():
        # The fifth field; blanks and the like stand there as octal escapes.
        place = Path(re.sub(r"\\([0-7]{3})", lambda code: chr(int(code[1], 8)), line.split(" ")[4]))
        if place == path or path in place.parents:
            yield place
    device = path.stat().st_dev
    for folder, names, _ in os.walk(path):
        yield from (Path(folder, name) for name in names if os.lstat(Path(folder, name)).st_dev != device)
