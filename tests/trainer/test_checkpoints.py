"""Checkpoints are complete or absent, and no damage goes unseen. No torch needed."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from engine.job.folder import JobFolder
from engine.trainer import checkpoints
from scorer import CheckpointMetrics, Score, score

FILES = {
    "model.safetensors": b"w" * 5000,
    "optimizer.pt": b"o" * 300,
    "deep/er/part.bin": b"",
    "progress.json": b"{}",
}


@pytest.fixture
def folder(tmp_path: Path) -> JobFolder:
    made = JobFolder(tmp_path / "job")
    made.create()
    return made


def scored(step: int, loss: float) -> Score:
    return score(CheckpointMetrics(step=step, eval_loss=loss, train_loss=loss))


def save(folder: JobFolder, step: int, loss: float | None = None) -> checkpoints.Checkpoint:
    aside = checkpoints.staging(folder) / f"checkpoint-{step}"
    for name, data in FILES.items():
        (aside / name).parent.mkdir(parents=True, exist_ok=True)
        (aside / name).write_bytes(data)
    return checkpoints.publish(aside, folder, step, None if loss is None else scored(step, loss), 0.5)


def test_what_is_published_is_read_back_whole(folder: JobFolder) -> None:
    saved = save(folder, 20, 1.5)
    assert checkpoints.read(saved.path) == saved
    assert saved.bytes == sum(map(len, FILES.values()))
    assert saved.score == scored(20, 1.5)
    assert checkpoints.damage(saved.path) == ""
    assert [path.name for path in folder.checkpoints.iterdir()] == ["checkpoint-20"]


@pytest.mark.parametrize("name", [*FILES, "manifest.json"])
@pytest.mark.parametrize("harm", ["truncated", "flipped", "removed", "emptied"])
def test_every_harm_to_every_file_is_seen(folder: JobFolder, name: str, harm: str) -> None:
    saved = save(folder, 20, 1.5)
    path = saved.path / name
    data = bytearray(path.read_bytes())
    if harm == "removed":
        path.unlink()
    elif harm == "emptied":
        path.write_bytes(b"x" if not data else b"")
    elif harm == "truncated":
        path.write_bytes(data[:-1] if data else b"x")
    else:
        middle = len(data) // 2
        path.write_bytes(bytes([*data[:middle], (data[middle] if data else 0) ^ 1, *data[middle + 1 :]]))
    changed = path.exists() and checkpoints.damage(saved.path) == ""
    if changed and name == "manifest.json":
        # A bit of a manifest that is neither a hash nor a size: the wire still has the manifest's own hash.
        assert checkpoints.read(saved.path).sha256 != saved.sha256
    else:
        assert checkpoints.damage(saved.path)


def test_a_crash_in_mid_save_leaves_what_was_there(folder: JobFolder) -> None:
    save(folder, 20, 1.5)
    aside = checkpoints.staging(folder) / "checkpoint-40"
    aside.mkdir(parents=True)
    (aside / "model.safetensors").write_bytes(b"half")
    assert checkpoints.steps(folder) == [20]
    checkpoints.clean(folder)
    assert [path.name for path in folder.checkpoints.iterdir()] == ["checkpoint-20"]


def test_a_step_that_is_saved_again_is_replaced(folder: JobFolder) -> None:
    save(folder, 20)
    again = save(folder, 20, 2.0)
    assert checkpoints.read(folder.checkpoint(20)) == again
    assert again.score == scored(20, 2.0)
    assert [path.name for path in folder.checkpoints.iterdir()] == ["checkpoint-20"]


def test_a_score_that_comes_later_changes_the_manifest_alone(folder: JobFolder) -> None:
    saved = save(folder, 20)
    later = checkpoints.rescore(saved, scored(20, 1.0))
    assert later.score == scored(20, 1.0)
    assert later.sha256 != saved.sha256
    assert checkpoints.damage(saved.path) == ""


def test_what_is_no_checkpoint_is_not_taken_for_one(folder: JobFolder) -> None:
    save(folder, 20)
    for name in ("checkpoint-x", "checkpoint--3", "damaged-checkpoint-40", "checkpoint-"):
        (folder.checkpoints / name).mkdir()
    (folder.checkpoints / "checkpoint-60").write_text("a file")
    (folder.checkpoints / "checkpoint-80").mkdir()
    assert checkpoints.steps(folder) == [80, 20]
    assert [found.step for found in checkpoints.readable(folder)] == [20]
    assert checkpoints.damage(folder.checkpoint(80)) == "manifest.json is missing"


def test_rotation_spares_the_best_the_newest_and_as_many_as_are_to_be_kept(folder: JobFolder) -> None:
    losses = {10: 3.0, 20: 1.0, 30: 2.0, 40: 2.5, 50: 2.2, 60: 4.0}
    for step, loss in losses.items():
        save(folder, step, loss)
    found = checkpoints.readable(folder)
    assert [item.step for item in checkpoints.surplus(found, 2)] == [30, 10]
    assert [item.step for item in checkpoints.surplus(found, 1)] == [40, 30, 10]
    assert checkpoints.surplus(found, None) == []
    assert checkpoints.surplus([], 1) == []


def test_checkpoints_without_a_score_come_after_all_others(folder: JobFolder) -> None:
    save(folder, 10, 3.0)
    save(folder, 20)
    save(folder, 30, float("nan"))
    assert [item.step for item in checkpoints.by_score(checkpoints.readable(folder))] == [10, 30]


def test_a_damaged_checkpoint_that_was_set_aside_goes_when_its_step_is_saved_again(folder: JobFolder) -> None:
    saved = save(folder, 20)
    checkpoints.set_aside(saved.path)
    assert checkpoints.steps(folder) == []
    save(folder, 20)
    assert [path.name for path in folder.checkpoints.iterdir()] == ["checkpoint-20"]


def test_a_removed_checkpoint_leaves_nothing(folder: JobFolder) -> None:
    checkpoints.remove(save(folder, 20))
    assert list(folder.checkpoints.iterdir()) == []


FILE_WORK = ("open", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "shutil.rmtree", "os.truncate")
"""Audit events of what changes a folder, each raised just before it happens."""


def killed_before(number: int, work: Callable[[], Any]) -> bool:
    """Do some work in a process that SIGKILL ends just before its so manieth file operation; was it?"""
    pid = os.fork()
    if pid == 0:
        left = number

        def hook(event: str, arguments: tuple[Any, ...]) -> None:
            nonlocal left
            if event in FILE_WORK:
                left -= 1
                if left < 0:
                    os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(hook)
        work()
        os._exit(0)
    _, status = os.waitpid(pid, 0)
    assert status == 0 or os.WTERMSIG(status) == signal.SIGKILL
    return status != 0


@pytest.mark.parametrize("again", [False, True], ids=["a new step", "a step that is saved again"])
def test_sigkill_before_any_file_operation_of_a_save_loses_nothing(
    again: bool, folder: JobFolder, tmp_path: Path
) -> None:
    """Whatever is there afterwards is whole, and what was there before still is, or its successor."""
    step = 20 if again else 40
    for number in count():
        here = JobFolder(tmp_path / str(number))
        here.create()
        old = save(here, 20, 1.5)
        killed = killed_before(number, lambda place=here: save(place, step, 2.0))  # type: ignore[misc]
        checkpoints.clean(here)
        found = checkpoints.readable(here)
        assert not any(checkpoints.damage(item.path) for item in found)
        assert {path.name for path in here.checkpoints.iterdir()} == {item.path.name for item in found}
        losses = [item.score.metrics.eval_loss for item in found if item.score is not None]
        if again:
            assert losses in ([1.5], [2.0])
        else:
            assert losses in ([1.5], [2.0, 1.5])
            assert found[-1] == old
        if not killed:
            assert losses[0] == 2.0
            break
    assert number > 20


def test_sigkill_before_any_file_operation_of_a_removal_leaves_it_whole_or_gone(tmp_path: Path) -> None:
    for number in count():
        here = JobFolder(tmp_path / str(number))
        here.create()
        old = save(here, 20, 1.5)
        killed = killed_before(number, lambda saved=old: checkpoints.remove(saved))  # type: ignore[misc]
        checkpoints.clean(here)
        assert checkpoints.readable(here) in ([old], [])
        assert not any(checkpoints.damage(item.path) for item in checkpoints.readable(here))
        if not killed:
            break
    assert number > 3
