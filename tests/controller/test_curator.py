"""The curator frees what was asked for and nothing beside it, whenever it dies."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from engine.controller.curator import Curator
from engine.controller.disk import remove
from engine.errors import BadInput, PodError
from engine.home import Home
from engine.records import Job
from engine.store.sqlite import SQLiteStore
from engine.supervisor.locks import Lock
from tests.cli.recorded import GOOD, POOR, record
from tests.processes import until


def filled(home: Path, name: str, losses: tuple[tuple[float, float], ...] = GOOD) -> Job:
    """A finished run whose checkpoints have files."""
    job = record(home, name, losses)
    for at in range(1, len(losses) + 1):
        folder = Home(home).job(job.id).checkpoint(20 * at)
        folder.mkdir(parents=True)
        (folder / "model.safetensors").write_bytes(b"x" * 1000)
    return job


@contextmanager
def opened(home: Path) -> Iterator[tuple[SQLiteStore, Curator]]:
    store = SQLiteStore(Home(home).database)
    try:
        yield store, Curator(store, Home(home))
    finally:
        store.close()


def trashed(store: SQLiteStore, home: Path, *job_ids: str) -> None:
    """Delete runs as the controller does."""
    from engine.controller.trash import place

    place(Home(home), [store.job(job_id) for job_id in store.act("delete", job_ids).job_ids])


def test_purging_frees_a_deleted_run_and_leaves_the_others(home: Path) -> None:
    filled(home, "gone"), filled(home, "kept", POOR)
    with opened(home) as (store, curator):
        trashed(store, home, "gone-id")
        [run] = curator.purgeable(datetime.now(UTC), 0)
        assert run.bytes > 4000
        assert curator.purge([run]) == run.bytes
        assert [job.id for job in store.jobs(archived=True, deleted=True)] == ["kept-id"]
    assert [path.name for path in Home(home).trash.iterdir() if not path.name.startswith(".lock")] == []
    assert len(list(Home(home).job("kept-id").checkpoints.iterdir())) == 4


def test_only_what_has_been_in_the_trash_long_enough_is_due(home: Path) -> None:
    filled(home, "gone")
    with opened(home) as (store, curator):
        trashed(store, home, "gone-id")
        now = datetime.now(UTC)
        assert curator.purgeable(now + timedelta(days=29)) == []
        assert [run.job.id for run in curator.purgeable(now + timedelta(days=31))] == ["gone-id"]


def test_a_run_outside_the_trash_is_never_purged(home: Path) -> None:
    job = filled(home, "kept")
    with opened(home) as (store, curator):
        with pytest.raises(BadInput, match="not in the trash"):
            curator.named([job])
        trashed(store, home, "kept-id")
        [run] = curator.purgeable(datetime.now(UTC), 0)
        store.act("restore", ["kept-id"])
        with pytest.raises(BadInput, match="not in the trash"):
            curator.purge([run])
    # Its folder is where it was: the next start moves it beside the others.
    assert (Home(home).trashed("kept-id") / "events.jsonl").exists()


def test_what_a_link_points_to_stays(home: Path, tmp_path: Path) -> None:
    treasure = tmp_path / "treasure"
    treasure.mkdir()
    (treasure / "gold").write_text("gold")
    job = filled(home, "linked")
    folder = Home(home).job(job.id)
    (folder.path / "elsewhere").symlink_to(treasure)
    (folder.checkpoint(20) / "deeper").symlink_to(treasure)
    filled(home, "whole")
    with opened(home) as (store, curator):
        trashed(store, home, "linked-id", "whole-id")
        # The folder itself a link: it goes, what it points to stays.
        whole = Home(home).trashed("whole-id")
        whole.rename(tmp_path / "moved")
        whole.symlink_to(tmp_path / "moved")
        curator.purge(curator.purgeable(datetime.now(UTC), 0))
    assert (treasure / "gold").read_text() == "gold"
    assert (tmp_path / "moved" / "events.jsonl").exists()
    assert not folder.path.exists()
    assert not whole.is_symlink()


def test_a_mounted_disk_in_the_folder_keeps_everything(home: Path, small_disk: Path) -> None:
    job = filled(home, "mounted")
    place = Home(home).job(job.id).path / "disk"
    place.mkdir()
    (small_disk / "precious").write_text("x")
    subprocess.run(["mount", "--bind", small_disk, place], check=True)
    try:
        with opened(home) as (store, curator):
            store.act("delete", [job.id])
            Home(home).job(job.id).path.rename(Home(home).trashed(job.id))
            with pytest.raises(PodError, match="a disk is mounted"):
                curator.purge(curator.purgeable(datetime.now(UTC), 0))
    finally:
        going = Home(home).trash / f".purged-{job.id}" / "disk"
        mounted = next(path for path in (going, Home(home).trashed(job.id) / "disk") if path.is_mount())
        subprocess.run(["umount", mounted], check=True)
    assert (small_disk / "precious").exists()


def test_a_run_that_is_still_at_work_is_not_purged(home: Path) -> None:
    filled(home, "busy")
    with opened(home) as (store, curator):
        trashed(store, home, "busy-id")
        lock = Lock(Home(home).trashed("busy-id") / "supervisor.lock")
        assert lock.take()
        with pytest.raises(PodError, match="at work"):
            curator.purge(curator.purgeable(datetime.now(UTC), 0))
        lock.release()
        assert store.job("busy-id").deleted


@pytest.mark.parametrize("forgotten", [False, True])
def test_a_purge_that_died_is_taken_back_or_finished(home: Path, forgotten: bool) -> None:
    filled(home, "gone")
    with opened(home) as (store, curator):
        trashed(store, home, "gone-id")
        trash = Home(home).trash
        (trash / "gone-id").rename(trash / ".purged-gone-id")
        if forgotten:
            store.forget(["gone-id"])
        curator.put_right()
        assert (trash / "gone-id").exists() is not forgotten
        assert not (trash / ".purged-gone-id").exists()


_PURGE = """
import sys
from datetime import UTC, datetime
from pathlib import Path
from engine.controller.curator import Curator
from engine.controller.disk import remove
from engine.home import Home
from engine.store.sqlite import SQLiteStore
home = Home(Path(sys.argv[1]))
curator = Curator(SQLiteStore(home.database), home)
curator.purge(curator.purgeable(datetime.now(UTC), 0), lambda done, of: print(done, flush=True))
"""


def test_a_purge_killed_in_its_midst_leaves_every_run_whole_or_gone(home: Path) -> None:
    names = [f"run{at}" for at in range(12)]
    for name in names:
        filled(home, name)
    with opened(home) as (store, _):
        trashed(store, home, *(f"{name}-id" for name in names))
    process = subprocess.Popen([sys.executable, "-c", _PURGE, home], stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    process.stdout.close()
    with opened(home) as (store, curator):
        curator.put_right()
        left = {job.id for job in store.jobs(archived=True, deleted=True)}
        assert left != {f"{name}-id" for name in names}
        assert {path.name for path in Home(home).trash.iterdir()} - {".lock"} == left
        for job_id in left:
            assert len(list((Home(home).trashed(job_id) / "checkpoints").iterdir())) == 4
        curator.purge(curator.purgeable(datetime.now(UTC), 0))
        assert store.jobs(archived=True, deleted=True) == []


def test_thinning_keeps_the_best_the_newest_and_the_lowest_loss(home: Path) -> None:
    job = filled(home, "good")
    folder = Home(home).job(job.id)
    with opened(home) as (store, curator):
        best = store.job(job.id).best_step
        [run] = curator.thinnable([store.job(job.id)], 1)
        assert run.bytes == 1000 * len(run.checkpoints) > 0
        assert curator.thin([run]) == run.bytes
        left = {int(path.name.removeprefix("checkpoint-")) for path in folder.checkpoints.iterdir()}
        assert left == {20, 40, 60, 80} - {item.step for item in run.checkpoints}
        assert {best, 80} <= left
        assert store.job(job.id).best_step == best
        assert {item.step for item in store.checkpoints(job.id) if item.path} == left
        assert curator.thinnable([store.job(job.id)], 1) == []


def test_a_run_that_trains_again_keeps_its_checkpoints(home: Path) -> None:
    job = filled(home, "good")
    with opened(home) as (store, curator):
        runs = curator.thinnable([store.job(job.id)], 1)
        lock = Lock(Home(home).job(job.id).lock)
        until(lock.take)
        with pytest.raises(PodError, match="at work"):
            curator.thin(runs)
        lock.release()
        assert len(list(Home(home).job(job.id).checkpoints.iterdir())) == 4


def test_live_runs_and_deleted_ones_are_not_thinned(home: Path) -> None:
    record(home, "live", GOOD, ends=False)
    filled(home, "gone")
    with opened(home) as (store, curator):
        trashed(store, home, "gone-id")
        assert curator.thinnable(store.jobs(archived=True, deleted=True), 1) == []


@pytest.mark.parametrize("linked", ["folder", "checkpoints"])
def test_checkpoints_behind_a_link_are_not_the_runs_own_and_stay(
    home: Path, tmp_path: Path, linked: str
) -> None:
    job = filled(home, "good")
    with opened(home) as (store, curator):
        before = curator.thinnable([store.job(job.id)], 1)
        folder = Home(home).job(job.id)
        away = folder.path if linked == "folder" else folder.checkpoints
        away.rename(tmp_path / "precious")
        away.symlink_to(tmp_path / "precious")
        assert curator.thinnable([store.job(job.id)], 1) == []
        with pytest.raises(PodError, match="leads out"):
            curator.thin(before)
        assert len(list(folder.checkpoints.iterdir())) == 4
        assert sum(item.path is not None for item in store.checkpoints(job.id)) == 4


def test_nothing_beside_the_folder_is_ever_removed(tmp_path: Path) -> None:
    inside, precious = tmp_path / "trash", tmp_path / "precious"
    inside.mkdir()
    (precious / "deep").mkdir(parents=True)
    (tmp_path / "link").symlink_to(precious)
    ways = (precious, inside / ".." / "precious", inside / "..", inside, tmp_path / "link" / "deep")
    for path in ways:
        with pytest.raises(PodError, match="is not in"):
            remove(path, inside)
    assert (precious / "deep").is_dir()
    for job_id in ("..", ".", "", "../precious", "a/b"):
        with pytest.raises(ValueError, match="no job id"):
            Home(tmp_path).trashed(job_id)
