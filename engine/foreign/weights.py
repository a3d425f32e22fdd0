"""Could a checkpoint's folder be loaded? As far as can be seen without loading it."""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Final

STATE: Final = "trainer_state.json"

_WEIGHTS: Final = re.compile(
    r"(model|adapter_model|diffusion_pytorch_model)(-\d+-of-\d+)?\.safetensors"
    r"|(pytorch_model|adapter_model)(-\d+-of-\d+)?\.bin"
)
_INDEX: Final = re.compile(r"(model\.safetensors|pytorch_model\.bin)\.index\.json")
_SHARDED_FOLDER: Final = re.compile(r"global_step\d+|pytorch_model_fsdp_\d+")
"""Where DeepSpeed and FSDP leave the weights."""
_LONGEST_HEADER: Final = 100_000_000
"""The format's own limit (bytes)."""


@dataclass(frozen=True, slots=True)
class Contents:
    """What a checkpoint's folder holds.

    Args:
        size_bytes: The size of its files.
        problem: What is missing or cut off, a clause; empty when it looks loadable.
    """

    size_bytes: int
    problem: str


def contents(folder: Path) -> Contents:
    """Look into a checkpoint's folder.

    Raises:
        OSError: It can't be read.
    """
    sizes: dict[str, int] = {}
    folders: list[str] = []
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir():
                folders.append(entry.name)
            else:
                sizes[entry.name] = entry.stat().st_size
    size = sum(sizes.values()) + (_size_below(folder, folders) if folders else 0)
    return Contents(size, _problem(str(folder), sizes, folders))


def _size_below(folder: Path, folders: list[str]) -> int:
    return sum(
        path.stat().st_size for name in folders for path in (folder / name).rglob("*") if path.is_file()
    )


def _problem(folder: str, sizes: dict[str, int], folders: list[str]) -> str:
    weights = [name for name in sizes if _WEIGHTS.fullmatch(name)]
    if not weights and not any(_SHARDED_FOLDER.fullmatch(name) for name in folders):
        return "no weights file"
    for name in weights:
        if sizes[name] == 0 or (
            name.endswith(".safetensors") and not _whole(f"{folder}/{name}", sizes[name])
        ):
            return f"{name} is cut off"
    for name in (name for name in sizes if _INDEX.fullmatch(name)):
        missing = _shards(Path(folder, name)) - set(sizes)
        if missing:
            return f"{min(missing)} is missing"
    if STATE not in sizes:
        return f"no {STATE}"
    whole = sizes[STATE] and _ends_well(f"{folder}/{STATE}", sizes[STATE])
    return "" if whole else f"{STATE} is cut off"


def _whole(path: str, size: int) -> bool:
    """Does a safetensors file hold all the bytes that its header promises?"""
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        length = int.from_bytes(os.pread(handle, 8, 0), "little")
        if not 2 <= length <= min(_LONGEST_HEADER, size - 8):
            return False
        return size == 8 + length + _promised(os.pread(handle, length, 8))
    finally:
        os.close(handle)


@lru_cache(maxsize=16)
def _promised(header: bytes) -> int:
    """How many bytes of tensors a safetensors header promises; −1 when it is none.

    The checkpoints of a run have the same header, which a large model makes long: it is parsed once.
    """
    try:
        tensors = json.loads(header)
        ends = [item["data_offsets"][1] for name, item in tensors.items() if name != "__metadata__"]
        return max(ends, default=0) if all(isinstance(end, int) for end in ends) else -1
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError):
        return -1


def _shards(index: Path) -> set[str]:
    """The files that an index of sharded weights names; itself when it can't be read."""
    try:
        return set(map(str, json.loads(index.read_bytes())["weight_map"].values()))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return {f"what {index.name} should list"}


def _ends_well(path: str, size: int) -> bool:
    """Does a file end in a closing brace, as a JSON object does?"""
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.pread(handle, 8, max(0, size - 8)).rstrip().endswith(b"}")
    finally:
        os.close(handle)
