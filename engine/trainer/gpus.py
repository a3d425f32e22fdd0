"""GPU memory as this process holds it: of every GPU, now and at its peak in each phase.

Everything is read through a device with the functions of `torch.cuda`; there is none without a GPU.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from typing import Any, Final

from engine.trainer.distributed import Ranks

_NEWS: Final = 1.01
"""How much a phase's peak must exceed the one that was told before to be told again."""


@dataclass(frozen=True, slots=True)
class Reading:
    """One GPU's memory, GB (10⁹ bytes).

    Args:
        index: The GPU, from 0.
        allocated_gb: In use by tensors.
        reserved_gb: Held from the driver, what is free for reuse included.
        peak_gb: The most that was in use by tensors since the last reset.
        peak_reserved_gb: The most that was held since the last reset.
    """

    index: int
    allocated_gb: float
    reserved_gb: float
    peak_gb: float
    peak_reserved_gb: float


def device() -> Any | None:
    """`torch.cuda` where there is a GPU; None elsewhere, and before torch is loaded."""
    torch = sys.modules.get("torch")
    cuda = getattr(torch, "cuda", None)
    return cuda if cuda is not None and cuda.is_available() else None


def readings(cuda: Any | None = None) -> tuple[Reading, ...]:
    """The memory of every GPU that this process can use; none without a GPU.

    Args:
        cuda: Has the functions of `torch.cuda`; None takes it.
    """
    cuda = device() if cuda is None else cuda
    if cuda is None:
        return ()
    return tuple(
        Reading(
            index,
            cuda.memory_allocated(index) / 1e9,
            cuda.memory_reserved(index) / 1e9,
            cuda.max_memory_allocated(index) / 1e9,
            cuda.max_memory_reserved(index) / 1e9,
        )
        for index in range(cuda.device_count())
    )


def everywhere(ranks: Ranks, cuda: Any | None = None) -> tuple[Reading, ...]:
    """The memory of every GPU that a job trains on; with several ranks each has one, and all must ask."""
    found = readings(cuda)
    if ranks.alone or not found:
        return found
    each = ranks.all(found[ranks.local % len(found)])
    return tuple(replace(reading, index=rank) for rank, reading in enumerate(each))


def figures(found: tuple[Reading, ...]) -> dict[str, float]:
    """Readings as figures of a step: the sums over all GPUs, and each GPU's own."""
    if not found:
        return {}
    told = {
        "gpu_memory_allocated_gb": sum(each.allocated_gb for each in found),
        "gpu_memory_reserved_gb": sum(each.reserved_gb for each in found),
    }
    for each in found:
        told[f"gpu{each.index}_memory_allocated_gb"] = each.allocated_gb
        told[f"gpu{each.index}_memory_reserved_gb"] = each.reserved_gb
        told[f"gpu{each.index}_memory_peak_gb"] = each.peak_gb
    return told


class Peaks:
    """The most memory that each phase took.

    Args:
        cuda: Has the functions of `torch.cuda`; None takes it.
    """

    def __init__(self, cuda: Any | None = None) -> None:
        self._cuda = cuda
        self._phase: str | None = None
        self._told: dict[str, float] = {}
        self._news: dict[str, tuple[Reading, ...]] = {}

    def now(self) -> float | None:
        """The most in use on any GPU since the phase began, GB; None without a GPU."""
        return max((each.peak_gb for each in readings(self._cuda)), default=None)

    def turn(self, phase: str) -> None:
        """Another phase begins; what the one that ends took is news where it is more than was told."""
        ended, self._phase = self._phase, phase
        found = readings(self._cuda)
        cuda = device() if self._cuda is None else self._cuda
        if cuda is not None:
            for each in found:
                cuda.reset_peak_memory_stats(each.index)
        if ended is None or not found:
            return
        most = max(each.peak_gb for each in found)
        if most > self._told.get(ended, 0.0) * _NEWS:
            self._told[ended], self._news[ended] = most, found

    def news(self, ranks: Ranks) -> list[dict[str, Any]]:
        """What was not told yet, by phase, of every GPU that the job trains on; with several all must ask."""
        mine, self._news = self._news, {}
        if ranks.alone:
            return [_event(phase, found) for phase, found in mine.items()]
        own = {phase: found[ranks.local % len(found)] for phase, found in mine.items()}
        told: dict[str, list[Reading]] = {}
        for rank, theirs in enumerate(ranks.all(own)):
            for phase, reading in theirs.items():
                told.setdefault(phase, []).append(replace(reading, index=rank))
        return [_event(phase, found) for phase, found in told.items()]


def _event(phase: str, found: Iterable[Reading]) -> dict[str, Any]:
    return {"phase": phase, "gpus": [asdict(each) for each in found]}
