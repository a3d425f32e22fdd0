"""Runs go into an archive and come out of it the same; an archive that lies adds nothing."""

from __future__ import annotations

import asyncio
import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from engine.controller import Controller
from engine.controller.packing import INDEX, pack
from engine.controller.unpacking import Taken, unpack
from engine.errors import BadInput, PodError
from engine.home import Home
from engine.job.events import Status
from engine.store.sqlite import SQLiteStore
from tests.cli.recorded import GOOD, POOR, record

OURS = {"updated_at", "job_dir", "metadata", "number", "size_bytes", "checkpoint_count"}
"""Columns that may differ on another machine."""


def quiet(done: int, total: int) -> None:
    assert 0 <= done <= total


@pytest.fixture
def there(tmp_path: Path, home: Path) -> Path:
    """Another machine's home."""
    path = tmp_path / "there"
    Home(path).create()
    return path


def filled(home: Path, name: str, losses: Any = GOOD) -> str:
    job = record(home, name, losses)
    for step in (20, 40, 60, 80):
        folder = Home(home).job(job.id).checkpoint(step)
        (folder / "deep").mkdir(parents=True)
        (folder / "deep" / "model.safetensors").write_bytes(bytes([step]) * 3000)
    return job.id


def packed(home: Path, target: Path, **options: Any) -> Path:
    store = SQLiteStore(Home(home).database)
    pack(store, Home(home), store.jobs(), target, quiet, **options)
    store.close()
    return target


def taken(home: Path, source: Path) -> list[Taken]:
    store = SQLiteStore(Home(home).database)
    try:
        return unpack(store, Home(home), source, quiet)
    finally:
        store.close()


def columns(home: Path, job_id: str) -> dict[str, Any]:
    store = SQLiteStore(Home(home).database)
    job = store.job(job_id)
    store.close()
    return {name: getattr(job, name) for name in job.__dataclass_fields__ if name not in OURS}


@pytest.mark.parametrize("name", ["runs.tar", "runs.tar.gz"])
def test_runs_come_out_as_they_went_in(home: Path, there: Path, tmp_path: Path, name: str) -> None:
    ids = [filled(home, "good"), filled(home, "poor", POOR)]
    store = SQLiteStore(Home(home).database)
    store.annotate(ids[:1], note="keep", add=("final",), name="renamed")
    store.update(ids[1], status=Status.FAILED, error_message="the pod vanished")
    store.close()
    archive = packed(home, tmp_path / name, checkpoints="all")
    assert [(run.job_id, run.added) for run in taken(there, archive)] == [
        ("poor-id", True),
        ("good-id", True),
    ]
    for job_id in ids:
        assert columns(there, job_id) == columns(home, job_id)
        folder = Home(there).job(job_id)
        assert folder.events.read_bytes() == Home(home).job(job_id).events.read_bytes()
        assert (folder.checkpoint(60) / "deep" / "model.safetensors").read_bytes() == b"\x3c" * 3000
    assert [run.added for run in taken(there, archive)] == [False, False]


def test_an_import_killed_before_the_end_was_noted_is_ended_and_not_trained_on(
    home: Path, there: Path, tmp_path: Path
) -> None:
    job_id = filled(home, "poor", POOR)
    store = SQLiteStore(Home(home).database)
    store.update(job_id, status=Status.FAILED, error_message="the pod vanished", provider="local")
    store.close()
    taken(there, packed(home, tmp_path / "runs.tar"))
    store = SQLiteStore(Home(there).database)
    store.update(job_id, status=Status.RUNNING, error_message=None)

    async def start() -> None:
        controller = Controller(store, Home(there))
        await controller.start()
        await controller.settle([job_id])
        await controller.close()

    asyncio.run(start())
    found = store.job(job_id)
    assert (found.status, found.error_message) == (Status.FAILED, "the pod vanished")
    assert not Home(there).job(job_id).lock.exists()
    store.close()


def test_by_default_the_best_checkpoint_goes_along_and_no_data(
    home: Path, there: Path, tmp_path: Path
) -> None:
    job_id = filled(home, "good")
    Home(home).job(job_id).dataset.write_text('{"text": "secret"}\n')
    taken(there, packed(home, tmp_path / "runs.tar"))
    folder = Home(there).job(job_id)
    assert [path.name for path in folder.checkpoints.iterdir()] == ["checkpoint-40"]
    assert not folder.dataset.exists()
    store = SQLiteStore(Home(there).database)
    assert [item.step for item in store.checkpoints(job_id) if item.path] == [40]
    assert store.job(job_id).best_step == 40
    assert len(store.checkpoints(job_id)) == 4
    store.close()


def test_a_run_under_way_is_not_packed(home: Path, tmp_path: Path) -> None:
    record(home, "live", GOOD, ends=False)
    with pytest.raises(BadInput, match="still change"):
        packed(home, tmp_path / "runs.tar")
    assert list(tmp_path.glob("*.tar*")) == []


def test_links_do_not_go_along(home: Path, there: Path, tmp_path: Path) -> None:
    job_id = filled(home, "good")
    (tmp_path / "secret").write_text("secret")
    (Home(home).job(job_id).checkpoint(40) / "link").symlink_to(tmp_path / "secret")
    taken(there, packed(home, tmp_path / "runs.tar"))
    assert not (Home(there).job(job_id).checkpoint(40) / "link").exists()


def forged(source: Path, change: Callable[[dict[str, Any], dict[str, bytes]], None]) -> Path:
    """The archive with another index or other files."""
    with tarfile.open(source) as archive:
        contents = {entry.name: _read(archive, entry) for entry in archive}
    index = json.loads(contents.pop(INDEX))
    change(index, contents)
    target = source.with_name("forged.tar")
    with tarfile.open(target, "w") as archive:
        for name, content in {INDEX: json.dumps(index).encode(), **contents}.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return target


def _read(archive: tarfile.TarFile, entry: tarfile.TarInfo) -> bytes:
    file = archive.extractfile(entry)
    assert file is not None
    return file.read()


def escape(to: str) -> Callable[[dict[str, Any], dict[str, bytes]], None]:
    """An archive whose last file wants to be elsewhere."""

    def change(index: dict[str, Any], contents: dict[str, bytes]) -> None:
        run = index["runs"][0]
        content = contents.pop(f"runs/{run['id']}/{run['files'][-1]['path']}")
        run["files"][-1]["path"] = to
        contents[f"runs/{run['id']}/{to}"] = content

    return change


def rename(to: str) -> Callable[[dict[str, Any], dict[str, bytes]], None]:
    """An archive whose run bears a name that leads elsewhere."""

    def change(index: dict[str, Any], contents: dict[str, bytes]) -> None:
        old = index["runs"][0]["id"]
        index["runs"][0]["id"] = to
        for name in list(contents):
            contents[name.replace(old, to)] = contents.pop(name)

    return change


def flip(index: dict[str, Any], contents: dict[str, bytes]) -> None:
    name = next(name for name in contents if name.endswith("events.jsonl"))
    contents[name] = contents[name][:-2] + b"!\n"


def lose(index: dict[str, Any], contents: dict[str, bytes]) -> None:
    contents.popitem()


def newer(index: dict[str, Any], contents: dict[str, bytes]) -> None:
    index["format"] = 2


def alive(index: dict[str, Any], contents: dict[str, bytes]) -> None:
    index["runs"][0]["status"] = "running"


def nonsense(index: dict[str, Any], contents: dict[str, bytes]) -> None:
    index["runs"][0]["columns"] = 7


@pytest.mark.parametrize(
    "change",
    [escape("../../evil"), escape("/tmp/evil-podium"), rename("../evil"), rename(".."), rename(".evil"),
     flip, lose, newer, alive, nonsense],
)  # fmt: skip
def test_an_archive_that_lies_adds_nothing(
    home: Path, there: Path, tmp_path: Path, change: Callable[[dict[str, Any], dict[str, bytes]], None]
) -> None:
    filled(home, "good")
    bad = forged(packed(home, tmp_path / "runs.tar"), change)
    before = sorted(path for path in there.rglob("*") if "podium.db" not in path.name)
    with pytest.raises(BadInput):
        taken(there, bad)
    assert sorted(path for path in there.rglob("*") if "podium.db" not in path.name) == before
    store = SQLiteStore(Home(there).database)
    assert store.jobs(archived=True, deleted=True) == []
    store.close()
    assert not Path("/tmp/evil-podium").exists()


def test_a_link_in_an_archive_is_refused(home: Path, there: Path, tmp_path: Path) -> None:
    job_id = filled(home, "good")
    source = packed(home, tmp_path / "runs.tar", checkpoints="none")
    target = tmp_path / "linked.tar"
    with tarfile.open(source) as old, tarfile.open(target, "w") as new:
        for entry in old:
            if entry.name.endswith("train.log"):
                entry.type, entry.linkname, entry.size = tarfile.SYMTYPE, "/etc/passwd", 0
                new.addfile(entry)
            else:
                new.addfile(entry, old.extractfile(entry))
    with pytest.raises(BadInput, match=r"train\.log"):
        taken(there, target)
    assert not Home(there).job(job_id).path.exists()


@pytest.mark.parametrize("content", [b"", b"not a tar", b"\0" * 4096])
def test_what_is_no_archive_is_refused(there: Path, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.tar").write_bytes(content)
    with pytest.raises(BadInput, match="archive"):
        taken(there, tmp_path / "x.tar")


def test_an_archive_cut_off_anywhere_adds_whole_runs_only(home: Path, there: Path, tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        filled(home, name)
    whole = packed(home, tmp_path / "runs.tar").read_bytes()
    for at in range(1000, len(whole) - 20_000, 7001):
        (tmp_path / "cut.tar").write_bytes(whole[:at])
        with pytest.raises(BadInput):
            taken(there, tmp_path / "cut.tar")
        store = SQLiteStore(Home(there).database)
        folders = {path.name for path in Home(there).jobs.iterdir()}
        assert {job.id for job in store.jobs()} == folders
        store.close()
    (tmp_path / "cut.tar").write_bytes(whole)
    taken(there, tmp_path / "cut.tar")
    assert len(list(Home(there).jobs.iterdir())) == 3


def test_a_full_disk_leaves_no_half_archive(home: Path, small_disk: Path) -> None:
    job_id = filled(home, "good")
    (Home(home).job(job_id).checkpoint(40) / "big").write_bytes(b"x" * 3_000_000)
    with pytest.raises(PodError, match="No space left"):
        packed(home, small_disk / "runs.tar")
    assert list(small_disk.iterdir()) == []


def test_a_damaged_file_is_named(home: Path, there: Path, tmp_path: Path) -> None:
    filled(home, "good")
    source = packed(home, tmp_path / "runs.tar")
    with pytest.raises(BadInput, match=r"events\.jsonl of good-id is damaged"):
        taken(there, forged(source, flip))


def test_what_a_died_import_left_is_replaced(home: Path, there: Path, tmp_path: Path) -> None:
    job_id = filled(home, "good")
    archive = packed(home, tmp_path / "runs.tar")
    Home(there).job(job_id).create()
    (Home(there).job(job_id).path / "half").write_text("x")
    assert [run.added for run in taken(there, archive)] == [True]
    assert not (Home(there).job(job_id).path / "half").exists()
