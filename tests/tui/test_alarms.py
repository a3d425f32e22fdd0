"""What happens to a followed run is heard once: a bell, and a notification in this terminal's own words."""

from __future__ import annotations

import stat
from datetime import UTC, datetime
from pathlib import Path

import pytest

from engine.analysis.snapshot import Alarm
from engine.home import Home
from engine.job.events import Event, EventType, Status, encode
from engine.records import Job
from engine.store.sqlite import SQLiteStore
from tests.processes import until
from tui.alarms import Alarms
from tui.bell import on_desktop, sequence, texts


class Bench:
    """A live run whose events the test writes."""

    def __init__(self, home: Path) -> None:
        self.home = Home(home)
        self.home.create()
        self.store = SQLiteStore(self.home.database)
        self.store.add(Job(id="a", name="run", status=Status.RUNNING, created_at=datetime.now(UTC)))
        self.folder = self.home.job("a")
        self.folder.create()
        self.seq = self.size = 0
        self.tell(EventType.STATE, status="running")

    def tell(self, type: EventType, **data: object) -> None:
        self.seq += 1
        line = encode(Event(self.seq, datetime.now(UTC), 1, type, None, data))
        with self.folder.events.open("ab") as file:
            file.write(line)
        self.store.ingest("a", line, self.size)
        self.size += len(line)


@pytest.fixture
def bench(home: Path) -> Bench:
    return Bench(home)


def test_what_is_new_is_heard_once_and_what_was_before_is_not(bench: Bench) -> None:
    bench.tell(EventType.ALERT, alert="stall", severity="error", message="before the app was opened")
    alarms = Alarms(bench.home)
    assert alarms.fresh(bench.store) == ()
    bench.tell(EventType.ALERT, alert="loss_nan", severity="error", message="the loss is no number")
    bench.tell(EventType.ALERT, alert="learning_rate_changed", severity="info", message="as asked")
    assert alarms.fresh(bench.store) == (Alarm("run", "loss_nan", "the loss is no number"),)
    assert alarms.fresh(bench.store) == ()
    bench.tell(EventType.STATE, status="completed")
    assert [alarm.alert for alarm in alarms.fresh(bench.store)] == ["job_completed"]
    assert alarms.fresh(bench.store) == ()


def test_settings_say_what_is_heard(bench: Bench) -> None:
    (bench.home.path / "alerts.yaml").write_text("terminal: {bell: false, severity: error}")
    alarms = Alarms(bench.home)
    alarms.fresh(bench.store)
    bench.tell(EventType.ALERT, alert="disk_warning", severity="warning", message="little room")
    bench.tell(EventType.ALERT, alert="stall", severity="error", message="it hangs")
    assert alarms.fresh(bench.store) == (Alarm("run", "stall", "it hangs", bell=False),)


HOSTILE = Alarm("run\x07;\x1b]52;c;aGk=\x07", "stall", "a;b\x1b\\\x1b[2J\x9c\nc" + "x" * 1000)


@pytest.mark.parametrize(
    ("environment", "begins"),
    [
        ({"TERM": "xterm-kitty"}, "\x1b]99;"),
        ({"TERM": "xterm", "TERM_PROGRAM": "WezTerm"}, "\x1b]9;"),
        ({"TERM": "foot"}, "\x1b]777;notify;"),
    ],
)
def test_a_terminal_is_asked_in_its_own_words_and_a_pods_text_can_not_break_out(
    environment: dict[str, str], begins: str
) -> None:
    [(title, text)] = texts([HOSTILE])
    asked = sequence(title, text, environment)
    assert asked.startswith(begins) and len(asked) < 500
    ends = asked.count("\x07") + asked.count("\x1b\\")
    assert ends == asked.count("\x1b]")
    assert asked.count("\x1b") == asked.count("\x1b]") + asked.count("\x1b\\") and "\x9c" not in asked


def test_an_unknown_terminal_is_sent_nothing_and_the_desktop_is_asked(tmp_path: Path) -> None:
    assert sequence("a", "b", {"TERM": "linux"}) == ""
    tool, said = tmp_path / "notify-send", tmp_path / "said"
    tool.write_text(f'#!/bin/sh\nfor word in "$@"; do echo "$word" >>{said}; done\necho end >>{said}\n')
    tool.chmod(tool.stat().st_mode | stat.S_IXUSR)
    environment = {"PATH": str(tmp_path)}
    assert not on_desktop("--help", "text", environment)
    assert on_desktop("--help", "text", {**environment, "DISPLAY": ":0"})
    until(lambda: said.exists() and said.read_text().endswith("end\n"), "the notification")
    assert said.read_text().splitlines()[1:4] == ["--", "--help", "text"]


def test_of_many_only_the_last_ones_are_notified() -> None:
    assert len(texts([Alarm("run", "stall", str(number)) for number in range(50)])) == 3
