"""The ranks of a job: processes that train one model together, each on its own rows, and agree on all else.

torchrun starts them and says who they are. Rank 0 leads: it alone writes the job's events, checkpoints and
`final/`, and takes the laptop's requests. What ranks tell each other besides goes over gloo, on CPUs: it
never waits for a GPU. With one process all of this is nothing.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Final, Self, TypeVar

from engine.errors import PodiumError, TrainingError

FAILED_FOR_GOOD: Final = 3
"""Exit status of a rank whose failure would come again."""
AGAIN: Final = 4
"""Exit status of a rank that wants all to be started again, and has seen to what was wrong."""
LOST: Final = 5
"""Exit status of a rank that another one has left alone."""

_WORD: Final = "podium/word"
_CHUNK: Final = 64 << 20
"""Bytes of a file that are sent at once."""
_FALTERED: Final = re.compile(
    r"gloo|nccl|process ?group|tcpstore|connection (closed|reset|refused)|broken pipe|timed out waiting|"
    r"socket|rendezvous",
    re.IGNORECASE,
)

T = TypeVar("T")


def cores() -> int:
    """The processor cores that this process may use; where the system does not say, all of them."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Again(Exception):
    """Leave, so that all ranks are started again."""


class LeadFailed(RuntimeError):
    """Rank 0 met an exception while the others waited for its answer."""


@dataclass(slots=True)
class Ranks:
    """This process among those that train together.

    Args:
        rank: Which one it is, from 0, over all machines.
        world: How many there are.
        local: Which one it is on this machine, from 0.
        node: Which machine this is, from 0.
        nodes: How many machines there are.
        group: Over which they agree; None before `join`.
        store: What outlives the group; None before `join`.
    """

    rank: int = 0
    world: int = 1
    local: int = 0
    node: int = 0
    nodes: int = 1
    group: Any = None
    store: Any = None

    @classmethod
    def from_environment(cls) -> Self:
        """What torchrun told this process; the only one where it told nothing."""
        world = int(os.environ.get("WORLD_SIZE", "1"))
        if world == 1:
            return cls()
        rank, local, node = (int(os.environ[name]) for name in ("RANK", "LOCAL_RANK", "GROUP_RANK"))
        return cls(rank, world, local, node, world // int(os.environ["LOCAL_WORLD_SIZE"]))

    @property
    def alone(self) -> bool:
        """Is this the only one?"""
        return self.world == 1

    @property
    def leads(self) -> bool:
        """Is this rank 0?"""
        return self.rank == 0

    def join(self, timeout: float) -> None:
        """Meet the others; every rank must come.

        Args:
            timeout: Seconds that ranks wait for each other, now and later.
        """
        if self.alone or self.group is not None:
            return
        import torch
        from torch import distributed

        wait = timedelta(seconds=timeout)
        on_gpu = torch.cuda.is_available()
        if on_gpu:
            torch.cuda.set_device(self.local)
        backend = "cpu:gloo,cuda:nccl" if on_gpu else "gloo"
        if not distributed.is_initialized():
            distributed.init_process_group(backend, timeout=wait)
        self.group = distributed.new_group(backend="gloo", timeout=wait)
        address, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
        self.store = distributed.TCPStore(
            address, port, is_master=False, timeout=timedelta(seconds=10), wait_for_workers=False
        )

    def part(self) -> None:
        """Training is over: what follows is each one's own."""
        if self.group is not None:
            from torch import distributed

            distributed.destroy_process_group()
            self.group = None

    # What they agree on. Every rank must call these, in the same order.

    def told(self, value: T) -> T:
        """Rank 0's value."""
        if self.group is None:
            return value
        from torch import distributed

        box = [value]
        distributed.broadcast_object_list(box, src=0, group=self.group)
        return box[0]

    def all(self, value: T) -> list[T]:
        """Every rank's value, by rank."""
        if self.group is None:
            return [value]
        from torch import distributed

        found: list[Any] = [None] * self.world
        distributed.all_gather_object(found, value, group=self.group)
        return found

    def sums(self, *values: float) -> list[float]:
        """The sums over all ranks, in double precision."""
        return self._reduced("SUM", values)

    def any(self, *flags: bool) -> list[bool]:
        """Which flags some rank has raised."""
        return [value > 0 for value in self._reduced("MAX", [float(flag) for flag in flags])]

    def _reduced(self, how: str, values: Any) -> list[float]:
        if self.group is None:
            return list(values)
        import torch
        from torch import distributed

        tensor = torch.tensor(values, dtype=torch.float64)
        distributed.all_reduce(tensor, getattr(distributed.ReduceOp, how), group=self.group)
        return [float(value) for value in tensor]

    def wait(self) -> None:
        """Until all are here."""
        if self.group is not None:
            from torch import distributed

            distributed.barrier(group=self.group)

    @contextmanager
    def first_of_each_machine(self) -> Iterator[None]:
        """The first rank of each machine does what is inside before the others there do it."""
        if self.local != 0:
            self.wait()
        yield
        if self.local == 0:
            self.wait()

    def lead_does(self, work: Callable[[], T]) -> T:
        """Rank 0 does something, and all have what came of it.

        Raises:
            TrainingError: It failed for good there.
            LeadFailed: It failed there in another way; rank 0 itself sees the exception.
        """
        if self.group is None:
            return work()
        if not self.leads:
            answer: Any = self.told(None)
            if answer[0]:
                return answer[1]
            kind, what, advice = answer[1]
            raise TrainingError(kind, what, advice) if kind else LeadFailed(what)
        try:
            value = work()
        except PodiumError as error:
            self.told((False, (getattr(error, "kind", "unknown"), error.what, error.advice)))
            raise
        except Exception as error:
            self.told((False, ("", str(error), "")))
            raise
        self.told((True, value))
        return value

    def gather_files(self, folder: Path, target: Path) -> None:
        """Bring the files that each other rank has in its folder into rank 0's.

        Args:
            folder: This rank's; small files.
            target: Rank 0's.
        """
        mine = {} if self.leads else {path.name: path.read_bytes() for path in folder.iterdir()}
        for files in self.all(mine):
            for name, content in files.items() if self.leads else ():
                (target / name).write_bytes(content)

    def share(self, source: Path, place: Path) -> Path:
        """A folder of rank 0's on every machine: the folder itself on the first, a copy on the others.

        Args:
            source: The folder there; flat.
            place: Where the copy is made, anew.
        """
        if self.nodes == 1:
            return source
        sizes = self.lead_does(lambda: {path.name: path.stat().st_size for path in source.iterdir()})
        keeps = self.local == 0 and self.node > 0
        if keeps:
            shutil.rmtree(place, ignore_errors=True)
            place.mkdir(parents=True)
        for name, size in sizes.items():
            with contextlib.ExitStack() as opened:
                reads = opened.enter_context((source / name).open("rb")) if self.leads else None
                writes = opened.enter_context((place / name).open("wb")) if keeps else None
                self._send(size, reads, writes)
        self.wait()
        return source if self.node == 0 else place

    def _send(self, size: int, reads: Any, writes: Any) -> None:
        import torch
        from torch import distributed

        for start in range(0, size, _CHUNK):
            length = min(_CHUNK, size - start)
            content = bytearray(reads.read(length)) if reads is not None else bytearray(length)
            piece = torch.frombuffer(content, dtype=torch.uint8)
            distributed.broadcast(piece, src=0, group=self.group)
            if writes is not None:
                writes.write(piece.numpy().tobytes())

    # What one says to whoever listens, also when the group is broken.

    def say(self, kind: str, **about: Any) -> None:
        """Leave a word for the others; the last one counts."""
        if self.store is not None:
            with contextlib.suppress(RuntimeError):
                self.store.set(_WORD, json.dumps({"kind": kind, **about}))

    def heard(self) -> dict[str, Any]:
        """The word that was left; empty when there is none, or nobody to ask."""
        with contextlib.suppress(RuntimeError, ValueError):
            if self.store is not None and self.store.check([_WORD]):
                return dict(json.loads(self.store.get(_WORD)))
        return {}

    def await_lead(self, leave: Callable[[], bool], live: Callable[[], None], every: float = 60.0) -> None:
        """Wait until rank 0 says that it is done, however long that takes.

        Args:
            leave: Is waiting to end anyway?
            live: Called now and then, to show that this one lives.
            every: Seconds between these calls.

        Raises:
            RuntimeError: Rank 0's machine does not answer any more.
        """
        shown = time.monotonic()
        while not leave() and not self.store.check([_WORD]):
            if time.monotonic() - shown >= every:
                shown = time.monotonic()
                live()
            time.sleep(0.2)


def faltered(error: BaseException) -> bool:
    """Does an exception mean that another rank has gone?"""
    if isinstance(error, LeadFailed):
        return True
    known = type(error).__name__.startswith("Dist")
    return isinstance(error, RuntimeError) and (known or bool(_FALTERED.search(str(error))))
