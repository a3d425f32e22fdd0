"""Which code trains: a hash of it, so that two runs can be told apart by it."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Final

_ROOMS: Final = ("engine/job", "engine/trainer", "scorer")
"""What decides on a run's numbers."""


def code_sha256() -> str:
    """The SHA-256 of all our files that decide on a run's numbers, names and contents, hex."""
    root, digest = Path(__file__).resolve().parents[2], hashlib.sha256()
    for room in _ROOMS:
        for path in sorted((root / room).rglob("*")):
            if path.is_file() and path.suffix in (".py", ".yaml"):
                data = path.read_bytes()
                digest.update(f"{path.relative_to(root).as_posix()}\0{len(data)}\0".encode())
                digest.update(data)
    return digest.hexdigest()
