"""What ships to a pod: trainer, supervisor, job and scorer as one archive that is named by its content."""

from __future__ import annotations

import gzip
import hashlib
import io
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

SHIPPED: Final = (
    "scorer",
    "engine/__init__.py",
    "engine/errors.py",
    "engine/job",
    "engine/script",
    "engine/supervisor",
    "engine/trainer",
)
"""Files and folders, below the folder that holds the packages."""

NEEDED: Final = {
    "torch": (">=2.8", "2.13.0"),
    "transformers": (">=5.20,<6", "5.23.0"),
    "trl": (">=1.16,<1.17", "1.16.0"),
    "peft": (">=0.21", "0.21.2"),
    "accelerate": (">=1.15", "1.15.0"),
    "datasets": (">=5", "5.2.0"),
    "pydantic": (">=2.11,<3", "2.14.3"),
    "pyyaml": (">=6.0", "6.0.3"),
}
"""What the trainer imports: the versions it runs with, and the one to install where there is none of them."""

_SKIPPED: Final = (".pyc", ".pyo")


@dataclass(frozen=True, slots=True)
class Bundle:
    """The archive.

    Args:
        sha256: Of `data`, hex: its name on every pod.
        data: A gzipped tar file; the same files give the same bytes.
    """

    sha256: str
    data: bytes


@cache
def bundle(root: Path | None = None) -> Bundle:
    """Pack what ships.

    Args:
        root: The folder that holds the packages; by default the one that this file comes from.
    """
    root = root or Path(__file__).parents[2]
    packed = io.BytesIO()
    # Neither times nor owners: only what the files hold may change the name.
    with (
        gzip.GzipFile(fileobj=packed, mode="wb", mtime=0, filename="") as zipped,
        tarfile.open(fileobj=zipped, mode="w", format=tarfile.USTAR_FORMAT) as archive,
    ):
        for path in sorted(_files(root)):
            content = path.read_bytes()
            item = tarfile.TarInfo(path.relative_to(root).as_posix())
            item.size, item.mode = len(content), 0o644
            archive.addfile(item, io.BytesIO(content))
    data = packed.getvalue()
    return Bundle(hashlib.sha256(data).hexdigest(), data)


def _files(root: Path) -> Iterator[Path]:
    for name in SHIPPED:
        path = root / name
        for found in path.rglob("*") if path.is_dir() else [path]:
            if found.is_file() and found.suffix not in _SKIPPED:
                yield found
