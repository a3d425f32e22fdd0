"""GPU memory by phase, with a device that counts bytes as a real one does: the arithmetic alone is tried."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from engine.job.events import Phase
from engine.trainer import gpus
from engine.trainer.distributed import Ranks
from engine.trainer.gpus import Peaks, Reading
from tests.trainer import jobs


class Device:
    """Counts what two GPUs hold, as `torch.cuda` does."""

    def __init__(self) -> None:
        self.held, self.most = [0, 0], [0, 0]

    def take(self, index: int, size: int) -> None:
        self.held[index] += size
        self.most[index] = max(self.most[index], self.held[index])

    def device_count(self) -> int:
        return 2

    def memory_allocated(self, index: int) -> int:
        return self.held[index]

    def max_memory_allocated(self, index: int) -> int:
        return self.most[index]

    def memory_reserved(self, index: int) -> int:
        return self.held[index] + 10**9

    def max_memory_reserved(self, index: int) -> int:
        return self.most[index] + 10**9

    def reset_peak_memory_stats(self, index: int) -> None:
        self.most[index] = self.held[index]


def test_a_step_tells_every_gpu_and_their_sum() -> None:
    device = Device()
    device.take(0, 3 * 10**9)
    device.take(1, 10**9)
    told = gpus.figures(gpus.readings(device))
    assert told["gpu_memory_allocated_gb"] == 4 and told["gpu_memory_reserved_gb"] == 6
    assert (told["gpu0_memory_allocated_gb"], told["gpu1_memory_allocated_gb"]) == (3, 1)
    assert (told["gpu0_memory_reserved_gb"], told["gpu1_memory_reserved_gb"]) == (4, 2)


def test_with_several_ranks_each_tells_the_gpu_that_is_its_own() -> None:
    class Second(Ranks):
        """Rank 1 of two; what rank 0 says is known."""

        def all(self, value: Any) -> list[Any]:
            return [Reading(0, 1.0, 2.0, 3.0, 4.0), value]

    device = Device()
    device.take(1, 5 * 10**9)
    told = gpus.figures(gpus.everywhere(Second(rank=1, world=2, local=1), device))
    assert (told["gpu0_memory_allocated_gb"], told["gpu1_memory_allocated_gb"]) == (1, 5)
    assert told["gpu_memory_allocated_gb"] == 6


def test_each_phases_peak_is_told_for_every_gpu_when_it_ends_and_when_it_grows(tmp_path: Path) -> None:
    folder, device = jobs.make_job(tmp_path / "a"), Device()
    attempt = jobs.attempt_at(folder)
    attempt.peaks = Peaks(device)

    def spend(phase: Phase, *sizes: int) -> None:
        attempt.phase(phase, 1)
        for index, size in enumerate(sizes):
            device.take(index, size * 10**9)
            device.take(index, -size * 10**9)

    spend(Phase.LOAD, 5, 1)
    spend(Phase.TRAIN, 7, 8)
    spend(Phase.EVAL, 2, 2)
    spend(Phase.TRAIN, 7, 8)
    spend(Phase.EVAL, 2, 3)
    attempt.phase(Phase.SAVE, 1)
    told = [
        (event.data["phase"], [gpu["peak_gb"] for gpu in event.data["gpus"]])
        for event in jobs.events(folder, "memory")
    ]
    assert told == [("load", [5, 1]), ("train", [7, 8]), ("eval", [2, 2]), ("eval", [2, 3])]


def test_ranks_tell_the_peaks_of_all_their_gpus_when_all_are_asked(tmp_path: Path) -> None:
    """Rank 0 alone comes to the predictions, and waits for nobody there."""

    class Lead(Ranks):
        def all(self, value: Any) -> list[Any]:
            return [value, {"train": Reading(1, 0.0, 0.0, 8.0, 9.0), "load": Reading(1, 0.0, 0.0, 2.0, 3.0)}]

    folder, device = jobs.make_job(tmp_path / "a"), Device()
    attempt = jobs.attempt_at(folder)
    attempt.peaks, attempt.ranks = Peaks(device), Lead(rank=0, world=2)
    for phase, size in ((Phase.LOAD, 1), (Phase.TRAIN, 7), (Phase.PREDICT, 3), (Phase.TRAIN, 0)):
        attempt.phase(phase, 1)
        device.take(0, size * 10**9)
        device.take(0, -size * 10**9)
    assert jobs.events(folder, "memory") == []
    attempt.tell_peaks(4)
    told = {
        event.data["phase"]: [(gpu["index"], gpu["peak_gb"]) for gpu in event.data["gpus"]]
        for event in jobs.events(folder, "memory")
    }
    assert told == {"load": [(0, 1), (1, 2)], "train": [(0, 7), (1, 8)], "predict": [(0, 3)]}


def test_without_a_gpu_nothing_is_told(tmp_path: Path) -> None:
    folder = jobs.make_job(tmp_path / "a")
    attempt = jobs.attempt_at(folder)
    attempt.phase(Phase.LOAD)
    attempt.phase(Phase.TRAIN)
    if gpus.device() is None:
        assert jobs.events(folder, "memory") == []
        assert gpus.figures(gpus.readings()) == {}
