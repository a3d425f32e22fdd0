"""A script's files to an SSH machine: what it has already, of this run or another, is not sent again."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Coroutine, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Protocol

from engine.errors import PodError
from engine.pods.luggage import Item, changed
from engine.pods.ssh_calls import Calls

SMALL: Final = 1 << 20
"""Bytes below which files travel together."""
_TOGETHER: Final = 16 << 20
_HASH_SECONDS: Final = 600.0
_TRIES: Final = 3


class Send(Protocol):
    """Sends large files, which go on where they were cut off."""

    def __call__(
        self, store: str, wanted: Mapping[Path, int], facts: Mapping[Path, tuple[str, int]]
    ) -> Coroutine[Any, Any, None]:
        """Send from the given byte on each."""
        ...


async def bring(calls: Calls, send: Send, store: str, folder: str, items: Sequence[Item]) -> None:
    """Bring a run's files to a machine.

    Args:
        calls: Commands there.
        send: Sends large files.
        store: Where files are kept there by their hashes, absolute.
        folder: The run's folder there, absolute.
        items: What.

    Raises:
        PodError: A file changed since the launch, or does not arrive as it is.
    """
    files = {item.place: [item.sha256, item.bytes, item.program, item.shared] for item in items}
    mark = hashlib.sha256(json.dumps(files, sort_keys=True).encode()).hexdigest()
    request = {"store": store, "folder": folder, "mark": mark, "files": files, "pack": []}
    known = {item.sha256: item for item in items}
    lacking: Mapping[str, int] = await calls.call("unload", request, timeout=_HASH_SECONDS)
    for _ in range(_TRIES):
        if not lacking:
            return
        wanted = [known[digest] for digest in lacking if digest in known]
        large = [item for item in wanted if item.bytes >= SMALL]
        if large:
            arrived = {Path(item.source): int(lacking[item.sha256]) for item in large}
            facts = {Path(item.source): (item.sha256, item.bytes) for item in large}
            await asyncio.to_thread(_unchanged, large)
            await send(store, arrived, facts)
        for pack in [*_packs(item for item in wanted if item.bytes < SMALL), []]:
            payload = await asyncio.to_thread(_payload, pack)
            head = {**request, "pack": [[item.sha256, item.bytes] for item in pack]}
            lacking = await calls.call("unload", head, payload, timeout=_HASH_SECONDS)
    if lacking:
        raise PodError(f"{calls.where}: files did not arrive as they were sent, three times", "Try again.")


def _packs(items: Iterator[Item]) -> Iterator[list[Item]]:
    pack: list[Item] = []
    size = 0
    for item in items:
        pack.append(item)
        size += item.bytes
        if size >= _TOGETHER:
            yield pack
            pack, size = [], 0
    if pack:
        yield pack


def _payload(pack: Sequence[Item]) -> bytes:
    parts = []
    for item in pack:
        try:
            data = Path(item.source).read_bytes()
        except OSError:
            raise changed(item) from None
        if hashlib.sha256(data).hexdigest() != item.sha256:
            raise changed(item)
        parts.append(data)
    return b"".join(parts)


def _unchanged(items: Sequence[Item]) -> None:
    for item in items:
        try:
            with Path(item.source).open("rb") as file:
                same = hashlib.file_digest(file, "sha256").hexdigest() == item.sha256
        except OSError:
            same = False
        if not same:
            raise changed(item)
