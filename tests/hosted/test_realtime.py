"""Realtime wakes who keeps in step, and is never needed: the server may lack it, drop it or lie."""

from __future__ import annotations

import json
import shutil
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from engine.store.hosted.project import Project
from engine.store.hosted.realtime import Realtime
from engine.store.supabase import SupabaseStore
from tests.hosted.conftest import Cloud
from tests.hosted.phoenix import TABLE, Phoenix
from tests.store.wire import a_job, a_run

JOB = "9f0c1f36-6d56-4a52-9b07-0c2f3f5a7d11"
NEVER = 3600.0
"""Seconds: who looks only so often sees nothing by polling."""


def soon(truth: Callable[[], Any], seconds: float = 30) -> Any:
    """Wait until something is true."""
    deadline = time.monotonic() + seconds
    while not (found := truth()):
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.02)
    return found


@pytest.fixture
def phoenix() -> Iterator[Phoenix]:
    with Phoenix().open() as server:
        yield server


class Woken:
    """Counts how often it was woken."""

    def __init__(self) -> None:
        self.times = 0

    def __call__(self) -> None:
        self.times += 1


@pytest.fixture
def woken() -> Woken:
    return Woken()


@pytest.fixture
def listening(phoenix: Phoenix, woken: Woken) -> Iterator[Realtime]:
    """Who has joined, and is tried again soon when the socket is gone."""
    realtime = Realtime(Project(f"http://127.0.0.1:{phoenix.port}", "sb_publishable_x"), woken, again=0.05)
    realtime.reached("first")
    soon(lambda: phoenix.joins and woken.times)
    yield realtime
    realtime.close()


def threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name == "hosted-realtime"]


# ---- the socket


def test_it_joins_for_the_jobs_table_as_who_is_signed_in(listening: Realtime, phoenix: Phoenix) -> None:
    assert phoenix.opened[0].startswith("/realtime/v1/websocket?apikey=sb_publishable_x")
    assert phoenix.joins[0]["access_token"] == "first"
    asked = phoenix.joins[0]["config"]["postgres_changes"]
    assert [(item["event"], item["schema"], item["table"]) for item in asked] == [("*", "public", TABLE)]


def test_a_change_wakes(listening: Realtime, phoenix: Phoenix, woken: Woken) -> None:
    before = woken.times
    phoenix.changed(JOB)
    soon(lambda: woken.times == before + 1)


def test_a_renewed_token_is_handed_on_over_the_same_socket(listening: Realtime, phoenix: Phoenix) -> None:
    listening.reached("first")
    listening.reached("second")
    soon(lambda: phoenix.tokens == ["second"])
    assert len(phoenix.opened) == 1


def test_messages_that_are_none_are_passed_over(
    listening: Realtime, phoenix: Phoenix, woken: Woken, capfd: pytest.CaptureFixture[str]
) -> None:
    before = woken.times
    empty = json.dumps({"topic": "realtime:podium", "event": "postgres_changes", "payload": {}})
    for text in ("no json", "[]", '{"event": "postgres_changes"}', b"\x00\xff", "[" * 10_000, empty):
        phoenix.say(text)
    phoenix.changed(JOB)
    soon(lambda: woken.times == before + 1)
    assert len(phoenix.opened) == 1
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("how", ["dropped", "huge", "closed", "error"])
def test_a_socket_that_ends_is_opened_again_once_the_server_answers(
    how: str, listening: Realtime, phoenix: Phoenix, woken: Woken, capfd: pytest.CaptureFixture[str]
) -> None:
    if how == "dropped":
        phoenix.drop()
    elif how == "huge":
        phoenix.say("x" * (8 << 20))
    else:
        event = {"closed": "phx_close", "error": "phx_error"}[how]
        phoenix.say(json.dumps({"topic": "realtime:podium", "event": event, "payload": {}, "ref": None}))

    def joined_again() -> bool:
        listening.reached("later")
        return len(phoenix.joins) == 2

    soon(joined_again)
    assert phoenix.joins[1]["access_token"] == "later"
    soon(lambda: woken.times >= 2)
    before = woken.times
    phoenix.changed(JOB)
    soon(lambda: woken.times > before)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("answering", [True, False])
def test_closing_ends_it_also_while_a_server_keeps_it_waiting(
    answering: bool, phoenix: Phoenix, woken: Woken
) -> None:
    phoenix.answering = answering
    realtime = Realtime(Project(f"http://127.0.0.1:{phoenix.port}", "sb_publishable_x"), woken)
    realtime.reached("first")
    soon(lambda: phoenix.opened)
    realtime.close()
    soon(lambda: not threads())


def test_closing_ends_it_also_while_nobody_answers(woken: Woken) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        realtime = Realtime(Project(f"http://127.0.0.1:{port}", "sb_publishable_x"), woken)
        realtime.reached("first")
        connection, _ = silent.accept()
        with connection:
            assert connection.recv(1)
            realtime.close()
            soon(lambda: not threads())
    assert woken.times == 0


def test_a_server_that_refuses_is_left_alone_until_it_has_answered_who_polls(woken: Woken) -> None:
    with socket.create_server(("127.0.0.1", 0)) as refusing:
        port = refusing.getsockname()[1]
        realtime = Realtime(Project(f"http://127.0.0.1:{port}", "sb_publishable_x"), woken, again=0.01)

        def asked() -> bool:
            try:
                connection, _ = refusing.accept()
            except TimeoutError:
                return False
            with connection:
                connection.recv(1 << 16)
                connection.sendall(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
            return True

        def asked_again() -> bool:
            realtime.reached("first")
            return asked()

        try:
            realtime.reached("first")
            assert asked()
            refusing.settimeout(0.3)
            assert not asked()
            soon(asked_again)
        finally:
            realtime.close()
    assert woken.times == 0


# ---- the store


@pytest.fixture
def machine(cloud: Cloud, tmp_path: Path, blank: Path) -> Iterator[Callable[..., SupabaseStore]]:
    """Open the store of a machine by its name, as the app does."""
    opened: list[SupabaseStore] = []

    def switch_on(name: str, **options: Any) -> SupabaseStore:
        shutil.copy(blank, tmp_path / f"{name}.db")
        opened.append(SupabaseStore(tmp_path / f"{name}.db", cloud.sign_in(), **options))
        return opened[-1]

    yield switch_on
    for store in opened:
        store.close()


def push_a_run(first: SupabaseStore) -> None:
    first.add(a_job(JOB))
    first.ingest(JOB, a_run().bytes, 0)


def test_a_second_laptop_sees_the_run_by_itself_where_there_is_no_realtime(
    machine: Callable[..., SupabaseStore], cloud: Cloud
) -> None:
    cloud.gateway.asked.clear()
    first, second = machine("first"), machine("second")

    def tried() -> int:
        return sum(path.startswith("/realtime/") for _, path in cloud.gateway.asked)

    soon(lambda: tried() == 2)  # once a machine, and not again
    push_a_run(first)
    soon(lambda: [job.id for job in second.jobs()] == [JOB])
    soon(lambda: len(second.events(JOB)) == len(first.events(JOB)))
    assert tried() == 2


def test_a_second_laptop_that_never_polls_is_woken_by_realtime(
    machine: Callable[..., SupabaseStore], cloud: Cloud, phoenix: Phoenix
) -> None:
    cloud.gateway.realtime = phoenix.port
    first, second = machine("first", live=False), machine("second", pace=NEVER)
    soon(lambda: phoenix.joins)
    assert phoenix.joins[0]["access_token"].count(".") == 2
    push_a_run(first)
    first.sync()
    assert first.state.standing == "synced", first.standing
    # What is told twice is taken in once.
    phoenix.changed(JOB)
    phoenix.changed(JOB)
    soon(lambda: [job.id for job in second.jobs()] == [JOB])
    soon(lambda: second.events(JOB) == first.events(JOB))
    second.close()
    assert not threads()


def test_a_laptop_whose_socket_is_dropped_goes_on_by_polling(
    machine: Callable[..., SupabaseStore], cloud: Cloud, phoenix: Phoenix
) -> None:
    cloud.gateway.realtime = phoenix.port
    first, second = machine("first", live=False), machine("second", pace=0.1)
    soon(lambda: phoenix.joins)
    phoenix.drop()
    push_a_run(first)
    first.sync()
    soon(lambda: [job.id for job in second.jobs()] == [JOB])
    soon(lambda: second.events(JOB) == first.events(JOB))
    assert len(phoenix.opened) == 1
    assert second.standing == ""
