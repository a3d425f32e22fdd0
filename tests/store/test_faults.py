"""A database that can't be used: one line that says so, and the file as it was."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import threading
from contextlib import closing
from pathlib import Path

import pytest

from engine.errors import StoreError
from engine.job.events import Status
from engine.store.database import Database
from engine.store.migrate import SCHEMA, SCHEMA_VERSION
from engine.store.sqlite import SQLiteStore
from tests.store.wire import Wire, a_job, a_run

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "podium.db"


@pytest.fixture
def filled(path: Path) -> Path:
    """A database with a run of some length, checkpointed into its one file."""
    store = SQLiteStore(path)
    store.add(a_job())
    wire = Wire()
    for step in range(1, 3000):
        wire.train(step, 1.0)
    store.ingest("job-1", wire.bytes, 0)
    store.close()
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return path


def one_line(error: pytest.ExceptionInfo[StoreError]) -> str:
    text = str(error.value)
    assert "\n" not in text
    assert "Traceback" not in text
    return text


@pytest.mark.parametrize(
    "content", [b"not a database at all, but long enough for a header" * 40, b"SQLite format 3\0" * 99]
)
def test_a_file_that_is_no_database_is_refused_and_left_as_it_is(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(StoreError) as error:
        SQLiteStore(path)
    assert str(path) in one_line(error)
    assert "damaged" in str(error.value)
    assert path.read_bytes() == content
    assert [item.name for item in path.parent.iterdir()] == [path.name]


def test_a_database_damaged_inside_is_told_when_it_is_read(filled: Path) -> None:
    content = bytearray(filled.read_bytes())
    content[8192:] = b"\xa5" * (len(content) - 8192)
    filled.write_bytes(content)
    with pytest.raises(StoreError) as error:
        SQLiteStore(filled).events("job-1")
    assert "damaged" in one_line(error)
    assert filled.read_bytes() == content


def test_another_programs_database_is_not_touched(path: Path) -> None:
    with closing(sqlite3.connect(path)) as db:
        db.execute("CREATE TABLE bookmarks (url TEXT)")
    before = path.read_bytes()
    with pytest.raises(StoreError) as error:
        SQLiteStore(path)
    assert "another program" in one_line(error)
    assert path.read_bytes() == before


def test_a_newer_podiums_database_is_not_touched(filled: Path) -> None:
    with closing(sqlite3.connect(filled)) as db:
        db.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    with pytest.raises(StoreError) as error:
        SQLiteStore(filled)
    assert "newer Podium" in one_line(error)


def test_a_locked_database_is_waited_for_and_then_told(filled: Path) -> None:
    store = SQLiteStore(filled, busy=0.2)
    with closing(sqlite3.connect(filled, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreError) as error:
            store.update("job-1", phase="x")
        assert "locked" in one_line(error)
        other.execute("ROLLBACK")
    store.update("job-1", phase="y")
    assert store.job("job-1").phase == "y"


def test_a_writer_waits_for_another_one(filled: Path) -> None:
    store = SQLiteStore(filled)
    with closing(sqlite3.connect(filled, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        waiting = threading.Thread(target=lambda: store.update("job-1", phase="x"))
        waiting.start()
        waiting.join(0.3)
        assert waiting.is_alive()
        other.execute("COMMIT")
        waiting.join(30)
    assert store.job("job-1").phase == "x"


@pytest.mark.parametrize("given", ["missing/podium.db", "folder"])
def test_a_place_where_no_file_can_be_is_told(tmp_path: Path, given: str) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(StoreError) as error:
        SQLiteStore(tmp_path / given)
    assert "can't be opened" in one_line(error)


READ_ONLY = """
import os, sys
from pathlib import Path
from engine.store.sqlite import SQLiteStore
from engine.errors import StoreError
os.setgid(65534); os.setuid(65534)
try:
    store = SQLiteStore(Path(sys.argv[1]), busy=1)
    print(len(store.jobs()))
    store.update("job-1", phase="x")
except StoreError as error:
    print(error)
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can try it as another user")
@pytest.mark.parametrize("mode", [0o444, 0o000])
def test_a_database_without_permission_is_told(filled: Path, mode: int) -> None:
    # Not in pytest's own folder, which no other user may enter.
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        path = Path(shutil.copy(filled, name))
        path.chmod(mode)
        before = path.read_bytes()
        done = subprocess.run(
            [sys.executable, "-c", READ_ONLY, str(path)], cwd=ROOT, capture_output=True, text=True, timeout=60
        )
        assert done.stderr == ""
        assert "can't be" in done.stdout.splitlines()[-1]
        assert path.read_bytes() == before


def test_a_full_disk_is_told_and_costs_nothing_that_was_stored(small_disk: Path) -> None:
    store = SQLiteStore(small_disk / "podium.db")
    store.add(a_job())
    wire, stored = Wire(), 0
    for step in range(1, 20_000):
        wire.train(step, 1.0)
    with pytest.raises(StoreError) as error:
        for at in range(0, len(wire.lines), 100):
            stored = store.ingest("job-1", b"".join(wire.lines[at : at + 100]), stored).offset
    assert "full" in one_line(error)
    assert stored > 0
    assert store.offset("job-1", "events.jsonl") == stored
    assert store.curve("job-1", "loss").total == len(store.events("job-1"))
    assert store.job("job-1").status is Status.QUEUED
    store.close()


def test_a_thread_that_reads_while_the_store_is_closed_reads_to_the_end(filled: Path) -> None:
    database = Database(filled)
    reading, closed, found = threading.Event(), threading.Event(), []

    def read() -> None:
        with database.reading() as db:
            rows = db.execute("SELECT step FROM local_training_metrics ORDER BY step")
            found.append(rows.fetchone()[0])
            reading.set()
            closed.wait(30)
            found.append(len(rows.fetchall()))

    thread = threading.Thread(target=read)
    thread.start()
    reading.wait(30)
    database.close()
    closed.set()
    thread.join()
    assert found == [1, 2998]
    with pytest.raises(StoreError, match="closed"), database.reading():
        pass


def test_a_closed_store_says_so(path: Path) -> None:
    store = SQLiteStore(path)
    store.close()
    with pytest.raises(StoreError, match="closed"):
        store.jobs()


@pytest.mark.parametrize("name", ["with space", "100%25", "a?b#c", "ünï-ชื่อ", "it's; DROP TABLE", 'quo"te'])
def test_the_folder_may_have_any_name(tmp_path: Path, name: str) -> None:
    folder = tmp_path / name
    folder.mkdir()
    store = SQLiteStore(folder / "podium.db")
    store.add(a_job())
    store.close()
    assert len(SQLiteStore(folder / "podium.db").jobs()) == 1
    assert {item.name.removesuffix("-wal").removesuffix("-shm") for item in folder.iterdir()} == {"podium.db"}


def test_opening_a_current_database_does_not_load_the_migrations(filled: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from engine.store.sqlite import SQLiteStore\n"
        "print(len(SQLiteStore(Path(sys.argv[1])).jobs()), 'yoyo' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(filled)], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert done.stdout == "1 False\n"


def test_the_schema_version_is_that_of_the_newest_migration(path: Path) -> None:
    numbers = [int(item.name.partition("_")[0]) for item in SCHEMA.glob("*.sql")]
    assert max(numbers) == SCHEMA_VERSION
    SQLiteStore(path).close()
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("PRAGMA user_version").fetchone() == (SCHEMA_VERSION,)
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert db.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_what_an_older_podium_archived_is_taken_back_by_this_one(path: Path) -> None:
    import yoyo

    backend = yoyo.get_backend(f"sqlite:///{path}")
    older = yoyo.read_migrations(str(SCHEMA)).filter(lambda each: each.id < "0004")
    backend.apply_migrations(older)
    backend.connection.close()
    with closing(sqlite3.connect(path)) as db:
        db.executescript(
            "INSERT INTO local_training_jobs (id, name, status, created_at, archived_at) "
            "VALUES ('job-1', 'old', 'completed', '2026-11-01T00:00:00Z', '2026-11-02T00:00:00Z');"
            "INSERT INTO actions (id, action, done_at) VALUES (1, 'archive', '2026-11-02T00:00:00Z');"
            "INSERT INTO action_items VALUES (1, 'job-1', NULL, NULL, '2026-11-02T00:00:00Z', NULL);"
        )
    store = SQLiteStore(path)
    assert store.job("job-1").archived
    done = store.undo()
    assert done is not None and (done.action, done.job_ids) == ("archive", ("job-1",))
    assert not store.job("job-1").archived


def test_a_half_made_database_is_made_whole(path: Path) -> None:
    # A process that died between yoyo's own tables and the first migration.
    with closing(sqlite3.connect(path)) as db:
        db.execute(
            "CREATE TABLE yoyo_lock "
            "(locked INT DEFAULT 1, ctime TIMESTAMP, pid INT NOT NULL, PRIMARY KEY (locked))"
        )
        db.execute("INSERT INTO yoyo_lock VALUES (1, '2026-11-21', 1)")
        db.commit()
    store = SQLiteStore(path)
    store.add(a_job())
    store.ingest("job-1", a_run().bytes, 0)
    assert store.job("job-1").status is Status.COMPLETED
