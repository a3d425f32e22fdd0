"""A pod is a machine that a job runs on: run, follow, put, get, close."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Completed:
    """A command that ended.

    Args:
        code: Its exit status; negative for a signal.
        out: Its standard output.
        err: Its standard error.
    """

    code: int
    out: bytes
    err: bytes


@dataclass(frozen=True, slots=True)
class Chunk:
    """Some bytes of one followed file, in order.

    Args:
        file: The file's name below the job's folder, such as `events.jsonl`.
        offset: Where in the file they start.
        data: The bytes; empty when only `restarted` or the beat is of interest.
        restarted: The file was truncated or replaced: what was mirrored before is of an older file.
    """

    file: str
    offset: int
    data: bytes
    restarted: bool = False


class Pod(Protocol):
    """A machine that a job runs on.

    Raises:
        PodLost: The connection is gone.
        PodError: The machine refused.
    """

    id: str
    in_place: bool
    """Is the pod's folder the laptop's own, so that there is nothing to mirror?"""

    def folder(self, job_id: str) -> str:
        """The job's folder on the pod."""
        ...

    async def run(
        self, argv: Sequence[str], *, env: Mapping[str, str] | None = None, timeout: float = 60  # noqa: ASYNC109
    ) -> Completed:
        """Run a command to its end; `timeout` in seconds."""
        ...

    async def start(self, job_id: str) -> None:
        """Start the job's supervisor, detached: it outlives this process and the connection."""
        ...

    async def alive(self, job_id: str) -> bool:
        """Does a supervisor hold the job's lock?"""
        ...

    async def request(self, job_id: str, name: str, value: object = True) -> None:
        """Leave a control request in the job's folder."""
        ...

    def follow(self, job_id: str, cursors: Mapping[str, int]) -> AsyncGenerator[Chunk, None]:
        """Stream files of the job's folder from the given offsets, for ever, as they grow.

        An empty chunk is yielded now and then as a sign of life, and soon after the last byte; it
        also says that all files were at their ends. Missing files are waited for.
        """
        ...

    async def put(self, local: Path, remote: str) -> None:
        """Copy a file or a folder to the pod."""
        ...

    async def get(self, remote: str, local: Path) -> None:
        """Copy a file or a folder from the pod."""
        ...

    async def close(self) -> None:
        """Let go of the connection; what runs on the pod goes on."""
        ...
