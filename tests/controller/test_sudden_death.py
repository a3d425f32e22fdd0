"""SIGKILL in the midst of a bulk deletion or an import: every run is whole, a repetition ends it."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from engine.controller import Controller
from engine.controller.packing import pack
from engine.controller.unpacking import unpack
from engine.home import Home
from engine.job.events import Status
from engine.store.sqlite import SQLiteStore
from tests.cli.recorded import GOOD, record
from tests.store.wire import a_job

RUNS = tuple(f"run-{at:03}" for at in range(100))

_DELETE = """
import asyncio, sys
from pathlib import Path
from engine.controller import Controller
from engine.home import Home
from engine.store.sqlite import SQLiteStore
home = Home(Path(sys.argv[1]))
async def main():
    controller = Controller(SQLiteStore(home.database), home)
    ids = [f"run-{at:03}" for at in range(100)]
    await controller.delete(ids, lambda done, of: print(done, flush=True))
asyncio.run(main())
"""

_IMPORT = """
import sys
from pathlib import Path
from engine.controller.unpacking import unpack
from engine.home import Home
from engine.store.sqlite import SQLiteStore
home = Home(Path(sys.argv[1]))
unpack(SQLiteStore(home.database), home, Path(sys.argv[2]), lambda done, of: print(done, flush=True))
"""


def killed_after(lines: int, program: str, *arguments: Path) -> None:
    """Run a program and kill it as soon as it has told so many lines."""
    process = subprocess.Popen([sys.executable, "-c", program, *arguments], stdout=subprocess.PIPE)
    assert process.stdout is not None
    for _ in range(lines):
        assert process.stdout.readline(), "it ended before it could be killed"
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    process.stdout.close()


@pytest.mark.parametrize("lines", [1, 40])
def test_a_bulk_deletion_killed_in_its_midst_is_finished_by_the_next_start(home: Path, lines: int) -> None:
    place = Home(home)
    place.create()
    store = SQLiteStore(place.database)
    for job_id in RUNS:
        store.add(a_job(job_id, status=Status.COMPLETED, provider="local"))
        place.job(job_id).checkpoint(20).mkdir(parents=True)
        (place.job(job_id).checkpoint(20) / "model.safetensors").write_text(job_id)
    store.close()
    killed_after(lines, _DELETE, home)
    there = [path.name for folder in (place.jobs, place.trash) for path in folder.iterdir()]
    assert sorted(there) == list(RUNS)

    async def start() -> None:
        store = SQLiteStore(place.database)
        controller = Controller(store, place)
        await controller.start()
        assert controller.trouble == ""
        await controller.close()
        assert all(job.deleted for job in store.jobs(archived=True, deleted=True))
        undone = await Controller(store, place).undo()
        assert undone is not None and len(undone.job_ids) == 100
        store.close()

    asyncio.run(start())
    assert list(place.trash.iterdir()) == []
    for job_id in RUNS:
        assert (place.job(job_id).checkpoint(20) / "model.safetensors").read_text() == job_id


def test_an_import_killed_in_its_midst_leaves_whole_runs_and_can_be_repeated(
    home: Path, tmp_path: Path
) -> None:
    names = [f"run{at}" for at in range(4)]
    for name in names:
        job = record(home, name, GOOD)
        for step in (20, 40):
            folder = Home(home).job(job.id).checkpoint(step)
            folder.mkdir(parents=True)
            (folder / "model.safetensors").write_bytes(name.encode() * 300_000)
    store, archive = SQLiteStore(Home(home).database), tmp_path / "runs.tar"
    pack(store, Home(home), store.jobs(), archive, lambda done, of: None, checkpoints="all")
    store.close()
    for blocks in (2, 9, 14):
        kill_and_repeat(Home(tmp_path / f"killed-after-{blocks}"), archive, names, blocks)


def kill_and_repeat(there: Home, archive: Path, names: list[str], blocks: int) -> None:
    there.create()
    killed_after(blocks, _IMPORT, there.path, archive)
    store = SQLiteStore(there.database)
    try:
        for job in store.jobs():
            whole(there, job.id)
        before = {job.id for job in store.jobs()}
        taken = unpack(store, there, archive, lambda done, of: None)
        assert {run.job_id for run in taken if not run.added} == before
        assert {job.id for job in store.jobs()} == {f"{name}-id" for name in names}
        for name in names:
            whole(there, f"{name}-id")
    finally:
        store.close()
    assert {path.name for path in there.jobs.iterdir()} == {f"{name}-id" for name in names}


def whole(home: Home, job_id: str) -> None:
    """The run's row has its numbers, and its files are all there."""
    store = SQLiteStore(home.database)
    job = store.job(job_id)
    store.close()
    assert job.status is Status.COMPLETED and job.best_eval_loss == 4.7
    for step in (20, 40):
        file = home.job(job_id).checkpoint(step) / "model.safetensors"
        assert file.read_bytes() == job_id.removesuffix("-id").encode() * 300_000
