"""`podium alerts`: settings checked, messages sent to real receivers, deliveries listed, secrets nowhere."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from engine.home import Home
from engine.job.events import Event, EventType, EventWriter, Status, encode
from engine.records import Job
from engine.store.sqlite import SQLiteStore
from tests.conftest import Podium
from tests.emulators.receiver import Receiver, Reply

SECRET = "T0PSECRET-0123456789"


@pytest.fixture
def settings(home: Path) -> Path:
    Home(home).create()
    path = home / "alerts.yaml"
    path.write_text(
        "channels:\n"
        "  - {name: team, kind: slack, url: '${HOOK}/team', severity: warning}\n"
        "  - {name: ops, kind: webhook, url: '${HOOK}/ops', secret: '${SIGN}'}\n"
    )
    return path


def test_a_test_message_goes_to_every_channel_and_its_outcome_is_said_and_kept(
    podium: Podium, settings: Path, home: Path
) -> None:
    with Receiver() as there:
        env = {"HOOK": f"{there.url}/{SECRET}", "SIGN": SECRET}
        checked = podium("alerts", "check", "--json", env=env)
        assert [one["name"] for one in json.loads(checked.stdout)["channels"]] == ["team", "ops"]
        assert not there.got
        sent = podium("alerts", "test", env=env)
        assert (sent.returncode, sent.stdout) == (0, "team: delivered\nops: delivered\n")
        there.next.append(Reply(404, before=True))
        refused = podium("alerts", "test", "--channel", "ops", "--json", env=env)
        assert refused.returncode == 1
        assert json.loads(refused.stdout)["deliveries"][0] == {
            "channel": "ops", "kind": "webhook", "ok": False, "error": "HTTP 404",
        }  # fmt: skip
        assert [got.path for got in there.got] == [f"/{SECRET}/team", f"/{SECRET}/ops", f"/{SECRET}/ops"]
    listed = podium("alerts", "list", "--json")
    found = [(one["channel"], one["ok"]) for one in json.loads(listed.stdout)["deliveries"]]
    assert found == [("team", True), ("ops", True), ("ops", False)]
    assert "not sent: HTTP 404" in podium("alerts", "list").stdout
    for done in (checked, sent, refused, listed):
        assert SECRET not in done.stdout + done.stderr
    for file in home.rglob("*"):
        assert not file.is_file() or SECRET.encode() not in file.read_bytes(), file


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("test",), "HOOK is not set"),
        (("test", "--channel", "nobody"), "there is no channel nobody. alerts.yaml has team, ops"),
    ],
)
def test_what_is_missing_is_one_line(
    podium: Podium, settings: Path, arguments: tuple[str, ...], said: str
) -> None:
    given = {"HOOK": "https://x.example", "SIGN": "s"} if len(arguments) > 1 else {}
    done = podium("alerts", *arguments, env=given)
    assert done.returncode == 2
    assert said in done.stderr and done.stderr.count("\n") == 1


def test_a_runs_deliveries_are_shown_with_it_whatever_a_pod_put_there(podium: Podium, home: Path) -> None:
    Home(home).create()
    store = SQLiteStore(Home(home).database)
    job = store.add(Job(id="a", name="run", status=Status.COMPLETED, created_at=datetime.now(UTC)))
    deliveries = [
        {"alert": "job_failed", "channel": "team", "ok": True, "tries": 2},
        {"alert": "stall\x1b[2J", "channel": ["x"], "ok": "yes", "tries": "many", "error": "quiet hours"},
    ]
    lines = [
        encode(Event(seq, datetime.now(UTC), 1, EventType.DELIVERY, None, told))
        for seq, told in enumerate(deliveries, 1)
    ]
    store.ingest("a", b"".join(lines), 0)
    store.close()
    shown = podium("show", job.name)
    assert "told: job_failed to team; 1 not sent, podium alerts list says why" in shown.stdout
    told = json.loads(podium("show", job.name, "--json").stdout)["deliveries"]
    assert [(one["ok"], one["tries"]) for one in told] == [(True, 2), (False, 0)]
    listed = podium("alerts", "list", job.name)
    assert "quiet hours" in listed.stdout and "\x1b" not in listed.stdout


def test_events_of_this_machine_that_are_torn_are_passed_over(podium: Podium, home: Path) -> None:
    laptop = Home(home).laptop
    laptop.mkdir(parents=True)
    with EventWriter(laptop / "events.jsonl") as events:
        events.append(EventType.DELIVERY, alert="stray_pod", channel="team", ok=True, tries=1)
    with (laptop / "events.jsonl").open("ab") as file:
        file.write(b'{"v":1,"seq":')
    assert "stray_pod" in podium("alerts", "list").stdout
