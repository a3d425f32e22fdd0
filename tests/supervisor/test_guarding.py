"""When a guard ends its pod, and how: decided here without a provider, on folders and clocks made for it."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from engine.errors import ProviderDown
from engine.job.events import EventType, EventWriter
from engine.job.folder import JobFolder, read_json, write_json
from engine.supervisor.ending import Api, How, Proof, Ways
from engine.supervisor.guard import Guard, Pace, Told
from engine.supervisor.guarded import fetching_file, guard_file
from engine.supervisor.limits import Limits
from engine.supervisor.locks import Lock
from tests.processes import until

HASTE = Pace(tick=0.01, note=0.01, proof=0.05, retry=0.01, longest_retry=0.02, leave=0.1, again=60)
LIMITS = {"max_cost_usd": 1.0, "retrieve_minutes": 30}


class Recorder:
    """A way that is always open."""

    def __init__(self, rate: float | None = None) -> None:
        self.rate = rate
        self.ordered: list[How] = []

    def prove(self) -> Proof:
        return Proof(self.rate)

    def end(self, how: How) -> None:
        self.ordered.append(how)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "jobs").mkdir()
    (tmp_path / "guard").mkdir()
    return tmp_path


def told(root: Path, limits: dict[str, Any] | None = None, **changes: Any) -> Told:
    spec = {"limits": limits or {}, "pod": {"provider": "runpod", "cost_per_hour": 2.0}}
    return Told(root, limits=Limits.of(spec), pace=HASTE, **changes)


def before(root: Path, hours: float, **state: Any) -> None:
    """What an earlier guard wrote down of a pod that has run so long."""
    write_json(guard_file(root), {"seconds": 3600 * hours, "at": 0, "boot": "another", **state})


@contextmanager
def watching(guard: Guard) -> Iterator[None]:
    thread = threading.Thread(target=guard.run)
    thread.start()
    yield
    guard.leave = True
    thread.join(30)
    assert not thread.is_alive()


def trained(root: Path) -> JobFolder:
    """A run that an earlier start of the pod left on its disk."""
    folder = JobFolder(root / "jobs" / "a-job")
    folder.create()
    with EventWriter(folder.events) as events:
        events.append(EventType.TRAIN, 1, loss=1.0)
    return folder


def ends(guard: Guard, way: Recorder) -> How:
    with watching(guard):
        until(lambda: way.ordered, "it is ended")
    return way.ordered[0]


@pytest.mark.parametrize(("billed", "believed"), [(0.5, 0.5), (3.0, 3.0), (0.0001, 0.4)])
def test_the_billed_rate_counts_and_none_below_every_candidates(
    root: Path, billed: float, believed: float
) -> None:
    """$ 2 an hour was confirmed, for the dearest of several candidates."""
    way = Recorder(billed)
    before(root, hours=0.25)
    guard = Guard(told(root, LIMITS, least=0.4), Ways(way))
    with watching(guard):
        until(lambda: read_json(guard_file(root)).get("rate") == believed, "the rate")
    assert way.ordered == []
    before(root, hours=1.01 / believed, rate=believed)
    assert "max_cost_usd" in Guard(told(root, LIMITS, least=0.4), Ways()).due()


def test_what_an_earlier_start_left_on_the_pods_own_disk_is_never_deleted(root: Path) -> None:
    """Somebody resumed it and did not come: it is stopped again, for its checkpoints are there alone."""
    trained(root)
    before(root, hours=1, ordered="stop")
    way = Recorder()
    assert ends(Guard(told(root, volume="persistent", grace=0.05), Ways(way)), way) == "stop"
    # A pod on which nothing ever was is none that anybody wants back.
    empty = root / "empty"
    other = Recorder()
    assert ends(Guard(told(empty, volume="persistent", grace=0.05), Ways(other)), other) == "terminate"


def test_a_pod_that_is_resumed_beyond_its_limits_gives_the_minutes_for_fetching(root: Path) -> None:
    trained(root)
    before(root, hours=9, ordered="stop")
    guard = Guard(told(root, {"max_hours": 2, "retrieve_minutes": 1.5 / 60}, volume="persistent"), Ways())
    assert guard.due() == ""
    until(guard.due, "and then it ends")
    # Not so one that nobody resumed: its guard alone was started anew.
    before(root, hours=9)
    assert Guard(told(root, {"max_hours": 2, "retrieve_minutes": 5}), Ways()).due()


def test_who_fetches_from_a_resumed_pod_is_not_cut_off(root: Path) -> None:
    trained(root)
    before(root, hours=1, ordered="stop")
    guard = Guard(told(root, volume="persistent", grace=0.3), Ways())
    assert {touched(guard, root) for _ in range(60)} == {""}
    until(guard.due, "once nobody fetches any more")


def touched(guard: Guard, root: Path) -> str:
    """A look of the guard, a hundredth of a second after the laptop gave its sign."""
    fetching_file(root).touch()
    threading.Event().wait(0.01)
    return guard.due()


def test_a_supervisor_that_could_not_write_its_name_on_a_full_disk_is_at_work(root: Path) -> None:
    folder = trained(root)
    lock = Lock(folder.lock)
    assert lock.take()
    folder.lock.write_bytes(b"")
    guard = Guard(told(root, grace=0.0), Ways())
    assert guard.due() == ""
    lock.release()


def test_what_cannot_be_read_keeps_no_pod_alive(root: Path) -> None:
    """A lock that is a loop, events that are a folder: the machine's disk is broken."""
    folder = trained(root)
    folder.events.unlink()
    folder.events.mkdir()
    folder.lock.symlink_to(folder.lock.name)
    way = Recorder()
    before(root, hours=9)
    assert ends(Guard(told(root, {"max_hours": 2}), Ways(way)), way) == "terminate"


@pytest.mark.parametrize(
    "answer", [b"rubbish\r\n\r\n", b"HTTP/1.1 200 " * 9000], ids=["rubbish", "an endless line"]
)
def test_an_answer_that_is_no_http_is_an_outage(answer: bytes) -> None:
    """Who stands between the pod and its provider may say anything; no guard may die of it."""
    with saying(answer) as url, pytest.raises(ProviderDown):
        Api(url, "p", "k").prove()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_proof_that_breaks_keeps_no_limit_from_holding(root: Path) -> None:
    class Broken(Recorder):
        def prove(self) -> Proof:
            raise RuntimeError("nobody thought of that")

    way = Broken()
    before(root, hours=9)
    assert ends(Guard(told(root, {"max_hours": 2}), Ways(way)), way) == "terminate"


@contextmanager
def saying(answer: bytes) -> Iterator[str]:
    """A server that says the same to everybody."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=_say, args=(server, answer), daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


def _say(server: socket.socket, answer: bytes) -> None:
    connection, _ = server.accept()
    with connection:
        connection.recv(1 << 16)
        connection.sendall(answer)
