"""Several machines as one pod: what goes wrong with one of them is never silent."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from pathlib import Path
from typing import Any

import pytest

from engine.errors import PodError, PodLost, StartLost
from engine.home import Home
from engine.pods.base import Chunk
from engine.pods.ssh_group import SSHGroup


class Talker:
    """A machine whose stream ends as it is told to, after a word."""

    address = "somewhere"

    def __init__(self, end: Exception | None) -> None:
        self.id, self.end = "m", end

    async def follow(self, job_id: str, *what: Any) -> AsyncGenerator[Chunk, None]:
        yield Chunk("train.log", 0, b"x")
        if self.end is not None:
            raise self.end

    async def alive(self, job_id: str) -> bool:
        return True


async def heard(group: SSHGroup, cursors: Mapping[str, int], much: int) -> list[str]:
    async with asyncio.timeout(30):
        return [chunk.file async for chunk in _first(group.follow("j", cursors), much)]


async def _first(chunks: AsyncGenerator[Chunk, None], much: int) -> AsyncGenerator[Chunk, None]:
    for _ in range(much):
        yield await anext(chunks)
    await chunks.aclose()


@pytest.mark.parametrize("end", [RuntimeError("nobody thought of that"), None])
async def test_the_end_of_the_first_machines_stream_is_the_end_of_all(
    tmp_path: Path, end: Exception | None
) -> None:
    """Else the job would be waited for, and bill, for ever: the others go on talking."""
    group: Any = SSHGroup([Talker(end), Talker(PodLost("gone"))], Home(tmp_path))  # type: ignore[list-item]
    with pytest.raises(type(end) if end else PodLost):
        await heard(group, {"train.log": 0}, 100)


class Starting:
    """A machine that starts as it is told to."""

    address = "somewhere"

    def __init__(self, id: str, failure: PodError | None = None) -> None:
        self.id, self.failure = id, failure
        self.place: Mapping[str, object] = {}

    async def alive(self, job_id: str) -> bool:
        return False

    async def node(self, job_id: str) -> Mapping[str, object]:
        return self.place

    async def be_node(self, job_id: str, place: Mapping[str, object]) -> None:
        self.place = place

    async def meeting(self) -> tuple[str, int]:
        return "10.0.0.1", 29500

    async def forget_end(self, job_id: str) -> None:
        pass

    async def start(self, job_id: str) -> None:
        if self.failure is not None:
            raise self.failure


async def test_a_start_of_which_nobody_knows_is_told_from_one_that_failed(tmp_path: Path) -> None:
    """What may be at work is followed, and started if it is not; the others are left to wait for it."""
    for failure in (StartLost("gone"), PodError("no disk")):
        machines: Any = [Starting("a"), Starting("b", failure)]
        with pytest.raises(PodError) as raised:
            await SSHGroup(machines, Home(tmp_path)).start("j")
        assert isinstance(raised.value, StartLost) == isinstance(failure, StartLost)
