"""Where tests put what they write and sync by the thousand: in memory, where the machine has room there."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

_MEMORY = Path("/dev/shm")
_ROOM = 2 << 30


def quick() -> str:
    """A folder that no disk is waited for in; the usual one where there is no such."""
    if os.access(_MEMORY, os.W_OK) and shutil.disk_usage(_MEMORY).free > _ROOM:
        return str(_MEMORY)
    return tempfile.gettempdir()
