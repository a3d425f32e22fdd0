"""Files below a folder that patterns such as `artifacts/**/*.csv` match."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import Final

MOST: Final = 200
"""Files of one run that are read."""


def found(root: Path, patterns: Sequence[str], most: int = MOST) -> list[str]:
    """The names of what matches, below `root`, each once, in order; no more than `most`.

    What leads out of `root` is left out, links included.
    """
    names: dict[str, None] = {}
    inside = root.resolve()
    for pattern in patterns:
        with contextlib.suppress(OSError, ValueError, NotImplementedError):
            for path in sorted(root.glob(pattern)):
                if len(names) >= most:
                    return list(names)
                if path.resolve().is_relative_to(inside):
                    names[path.relative_to(root).as_posix()] = None
    return list(names)
