"""What a run holds in checkpoints: on this machine, and on its pod or volume. A value."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from engine.records import Checkpoint, Job


@dataclass(frozen=True, slots=True)
class Holding:
    """The checkpoints of a run whose files exist.

    Args:
        job: The run.
        here: Those on this machine, by step.
        there: Those that are not here.
        where: Where else files of the run are kept, such as `on volume v1`; empty for nowhere.
    """

    job: Job
    here: tuple[Checkpoint, ...] = ()
    there: tuple[Checkpoint, ...] = ()
    where: str = ""

    @property
    def only_best(self) -> bool:
        """Is this machine the only one that has the run's best checkpoint?"""
        return not self.where and any(item.is_best for item in self.here)


def size_of(checkpoints: Iterable[Checkpoint]) -> int | None:
    """Bytes of some checkpoints; None where the size of one is not known."""
    sizes = [item.size_bytes for item in checkpoints]
    return None if None in sizes else sum(size for size in sizes if size is not None)
