"""Alerts reach real receivers on loopback, once, whatever these do, and nothing hostile with them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.job.events import EventType, EventWriter, Status
from engine.job.notices import NAMED, Notice, notices_of
from engine.supervisor.channels import About, Channel, signature
from engine.supervisor.dispatch import Dispatcher, Rules
from engine.supervisor.outbox import Pace
from engine.supervisor.rules import Bucket, Quiet, Seen
from tests import standin
from tests.emulators.receiver import Receiver, Reply
from tests.processes import until
from tests.supervisor.conftest import Bench

SECRET = "a-signing-secret-that-nobody-may-see"
NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
HURRY = Pace(idle=0.01, retry=0.01, longest=0.05, timeout=0.5, give_up=3600)


@pytest.fixture
def there() -> Iterator[Receiver]:
    with Receiver() as there:
        yield there


class Post:
    """A job's events, and a dispatcher on them that the test steps."""

    def __init__(self, folder: Path, channels: Sequence[Channel], **options: Any) -> None:
        self.folder, self.channels = folder, channels
        self.told: list[dict[str, Any]] = []
        self.now = NOW
        self.rules, self.pace = options.get("rules", Rules()), options.get("pace", HURRY)
        self.events = EventWriter(folder / "events.jsonl")
        self.again()

    def again(self) -> None:
        """Another process takes over."""
        self.dispatcher = Dispatcher(
            self.folder / "events.jsonl",
            self.folder / "alerts.json",
            About("job-1", "my run", "tiny"),
            self.channels,
            self.rules,
            self.pace,
            lambda type, data: self.told.append({"type": type, **data}),
            lambda: self.now,
        )

    def alert(self, alert: str = "stall", severity: str = "error", message: str = "no event") -> None:
        self.events.append(EventType.ALERT, 7, alert=alert, severity=severity, message=message)

    def settle(self) -> None:
        def settled() -> bool:
            self.dispatcher.step()
            return not self.dispatcher.behind and not self.dispatcher.waiting

        until(settled, "all deliveries")


def webhook(url: str, **options: Any) -> Channel:
    return Channel(
        **{"name": "hook", "kind": "webhook", "url": f"{url}/T0PSECRET", "secret": SECRET, **options}
    )


def test_a_webhook_is_signed_so_that_neither_body_nor_time_can_be_changed(
    there: Receiver, tmp_path: Path
) -> None:
    post = Post(tmp_path, [webhook(there.url)])
    post.alert()
    post.settle()
    [got] = there.got
    stamp = got.headers["x-podium-timestamp"]
    assert got.headers["x-podium-signature"] == f"sha256={signature(SECRET, stamp, got.body)}"
    assert signature(SECRET, stamp, got.body + b" ") != signature(SECRET, stamp, got.body)
    assert signature(SECRET, f"{stamp}0", got.body) != signature(SECRET, stamp, got.body)
    told = got.json()
    assert (told["job"], told["alert"], told["severity"], told["step"]) == ("my run", "stall", "error", 7)
    assert post.told == [
        {"type": "delivery", "alert": "stall", "channel": "hook", "ok": True, "tries": 1, "about": 1}
    ]


def test_every_failure_that_may_pass_is_tried_again_until_it_is_delivered(
    there: Receiver, tmp_path: Path
) -> None:
    there.next.extend(
        [
            Reply(500, before=True),
            Reply(429, before=True, headers={"Retry-After": "0.05"}),
            Reply(late=1.0),
            Reply(hang_up=True),
        ]
    )
    post = Post(tmp_path, [webhook(there.url)])
    post.alert()
    post.settle()
    assert post.told[-1]["ok"] and post.told[-1]["tries"] == 5
    # A receiver that was slow can tell the repetition from another alert.
    assert len({got.headers["x-podium-delivery"] for got in there.got}) == 1


def test_a_receiver_that_is_down_for_ten_minutes_gets_it_afterwards_and_one_that_stays_down_is_given_up(
    there: Receiver, tmp_path: Path
) -> None:
    post = Post(tmp_path, [webhook(there.url)])
    there.down()
    post.alert()
    for _ in range(10):
        until(lambda: post.dispatcher.step() < HURRY.idle or post.dispatcher.waiting, "a try")
        post.now += timedelta(minutes=1)
    assert post.dispatcher.waiting == 1 and not post.told
    there.up()
    post.settle()
    assert len(there.got) == 1 and post.told[-1]["ok"]

    there.down()
    post.alert(message="again, of another cause")
    until(lambda: post.dispatcher.step() is not None and post.dispatcher.waiting, "a try")
    post.now += timedelta(hours=2)
    post.settle()
    assert post.told[-1]["ok"] is False
    assert post.told[-1]["error"] == "given up: it refuses connections"


@pytest.mark.parametrize(("status", "tries"), [(401, 1), (404, 1), (400, 1), (301, 1)])
def test_a_refusal_is_not_tried_again(there: Receiver, tmp_path: Path, status: int, tries: int) -> None:
    there.always = Reply(status, before=True, headers={"Location": f"{there.url}/elsewhere"})
    post = Post(tmp_path, [webhook(there.url)])
    post.alert()
    post.settle()
    assert len(there.got) == tries
    assert post.told[-1] | {"ok": False, "error": f"HTTP {status}"} == post.told[-1]


def test_what_waits_survives_the_process_and_is_delivered_by_the_next_one(
    there: Receiver, tmp_path: Path
) -> None:
    post = Post(tmp_path, [webhook(there.url)])
    there.down()
    post.alert()
    until(lambda: post.dispatcher.step() is not None and post.dispatcher.waiting, "a try")
    post.again()
    post.alert()  # the same again: not sent by the next process either
    there.up()
    post.settle()
    post.again()
    post.settle()
    assert len(there.got) == 1


def test_channels_get_what_they_want_and_one_that_is_down_keeps_no_other_waiting(
    there: Receiver, tmp_path: Path
) -> None:
    channels = [
        webhook("http://127.0.0.1:9", name="dead"),
        webhook(there.url, name="errors", severity="error"),
        webhook(there.url, name="oom", types=("gpu_oom",)),
    ]
    post = Post(tmp_path, channels)
    post.alert("disk_warning", "warning", "little room")
    post.events.append(EventType.RECOVERY, failure="CUDA out of memory", kind="out_of_memory", action="again")
    post.events.append(EventType.STATE, status=Status.FAILED, error="row 7 is broken", advice="Mend it.")
    until(lambda: post.dispatcher.step() is not None and len(there.got) == 2, "two alerts")
    assert sorted((told["channel"], told["alert"]) for told in post.told) == [
        ("errors", "job_failed"), ("oom", "gpu_oom"),
    ]  # fmt: skip


def test_a_flood_is_cut_off_and_its_size_told_while_errors_still_get_through(
    there: Receiver, tmp_path: Path
) -> None:
    post = Post(tmp_path, [webhook(there.url, burst=4, per_hour=60)])
    for number in range(20):
        post.alert("loss_spike", "warning", f"spike {'x' * number}")
    post.alert("job_failed", "error", "dead")
    post.settle()
    assert [got.json()["alert"] for got in there.got] == ["loss_spike", "loss_spike", "job_failed"]
    assert there.got[-1].json()["held_back"] == 18
    assert [told["error"] for told in post.told if not told["ok"]] == ["too many in a while"] * 18


def test_what_quiet_hours_held_back_is_counted_and_is_no_repetition_in_the_morning(
    there: Receiver, tmp_path: Path
) -> None:
    post = Post(tmp_path, [webhook(there.url)], rules=Rules(Quiet(11 * 60, 12 * 60 + 10)))
    post.alert("loss_spike", "warning", "spike")
    post.settle()
    assert [told["error"] for told in post.told] == ["quiet hours"]
    post.now = NOW + timedelta(minutes=15)
    post.again()
    for _ in range(2):
        post.alert("loss_spike", "warning", "spike")
    post.settle()
    assert [(got.json()["alert"], got.json()["held_back"]) for got in there.got] == [("loss_spike", 1)]


HOSTILE = (
    "@everyone <!channel> <@U1> [x](http://evil) **b** `c` \x1b]0;t\x07\x1b[2J\u202e https://evil/?q # h\nnew"
)


@pytest.mark.parametrize("kind", ["webhook", "slack", "discord", "ntfy", "alert_api"])
def test_hostile_text_pings_nobody_and_is_no_markup(there: Receiver, tmp_path: Path, kind: str) -> None:
    channel = webhook(there.url, kind=kind)
    about = About("job-1", HOSTILE * 50, HOSTILE)
    channel.send(Notice("stall", "error", HOSTILE * 1000, NOW), about, 5.0)
    [got] = there.got
    text = got.body.decode()
    assert len(got.body) < 5000
    shown = text + " ".join(got.headers.values())
    assert not re.search(r"[\x00-\x09\x0b-\x1f\u202e]", shown) and "\\u001b" not in shown
    assert SECRET not in text
    if kind == "slack":
        told = got.json()
        assert "<" not in told["text"] and "@everyone" not in told["text"]
        assert {block["text"]["type"] for block in told["blocks"]} == {"plain_text"}
    if kind == "discord":
        told = got.json()
        assert told["allowed_mentions"] == {"parse": []}
        body = told["content"].removeprefix("**")
        assert "@everyone" not in body and "](http" not in body and "\\[x\\]\\(http\\:" in body
    if kind == "ntfy":
        assert got.headers["title"].isascii() and got.headers["priority"] == "urgent"


def test_a_supervisor_tells_of_the_whole_way_of_a_job_and_records_it_without_any_secret(
    bench: Bench, there: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    there.next.append(Reply(500, before=True))
    url = f"{there.url}/services/T0PSECRET"
    bare = {"name": "plain", "kind": "slack", "url": "http://example.com/T0PSECRET"}
    channels = [{"name": "team", "kind": "slack", "url": url}, {"name": "bad"}, bare]
    monkeypatch.setenv("PODIUM_ALERTS", json.dumps({"channels": channels}))
    monkeypatch.setenv("ALERT_API_URL", f"{there.url}/alerts")
    monkeypatch.setenv("METRICS_API_URL", f"{there.url}/metrics")
    bench.run(standin.argv(steps=12, crash_at=8, say="torch.OutOfMemoryError: CUDA out of memory"))

    alerts = [got.json() for got in there.got if got.path == "/alerts"]
    sent = {alert["type"] for alert in alerts}
    assert sent == {"job_started", "gpu_oom", "job_completed"} <= set(NAMED)
    assert len([got for got in there.got if got.path == "/services/T0PSECRET"]) == 4
    rows = [row for got in there.got if got.path == "/metrics" for row in got.json()["metrics"]]
    assert {row["step"] for row in rows if row["kind"] == "train"} == set(range(1, 13))
    assert {row["train_loss"] for row in rows} and "loss" not in rows[0]

    delivered = bench.events(EventType.DELIVERY)
    assert all(event.data["ok"] for event in delivered)
    assert sorted((event.data["channel"], event.data["alert"]) for event in delivered) == sorted(
        (channel, alert) for channel in ("team", "alert_api") for alert in sent
    )
    assert max(event.data["tries"] for event in delivered) == 2
    told = [event.data["message"] for event in bench.events(EventType.ALERT)]
    assert "1 of the channels in PODIUM_ALERTS are none" in told
    assert "channel plain: it is not https; nothing is sent there" in told
    for file in bench.folder.path.rglob("*"):
        assert not file.is_file() or b"T0PSECRET" not in file.read_bytes(), file


def test_a_stalled_delivery_is_no_sign_of_life_of_the_trainer(
    bench: Bench, there: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the supervisor writes about alerts must not keep a hung trainer alive."""
    there.always = Reply(500, before=True)
    monkeypatch.setenv(
        "PODIUM_ALERTS", json.dumps({"channels": [{"name": "a", "kind": "ntfy", "url": there.url}]})
    )
    bench.spec(limits={"stall_minutes": 0.03})
    bench.run(standin.argv(steps=4, silent_at=3), pace={"drain": 0.5}, stall_grace=0.2)
    assert bench.statuses()[-1] == "completed" and "stall" in bench.alerts()
    assert {event.data["error"] for event in bench.events(EventType.DELIVERY)} == {"the supervisor left"}


# ------------------------------------------------------------------ the rules, for all inputs

notices = st.builds(
    lambda alert, cause, severity, minutes: Notice(
        alert, severity, "m", NOW + timedelta(minutes=minutes), cause=cause
    ),
    st.sampled_from(NAMED),
    st.sampled_from("ab"),
    st.sampled_from(["info", "warning", "error"]),
    st.integers(0, 300),
)


@given(st.lists(notices, max_size=40), st.integers(1, 120))
def test_the_same_is_never_sent_twice_within_its_minutes_and_always_after_them(
    given_: list[Notice], minutes: int
) -> None:
    seen, sent = Seen(minutes), {}
    for notice in sorted(given_, key=lambda notice: notice.ts):
        key = (notice.alert, notice.cause)
        fresh = key not in sent or notice.ts - sent[key] >= timedelta(minutes=minutes)
        assert seen.again(notice) is not fresh
        if fresh:
            sent[key] = notice.ts


@given(
    st.lists(st.tuples(st.floats(-60, 7200), st.booleans()), max_size=80),
    st.integers(1, 10),
    st.integers(1, 60),
)
def test_no_channel_gets_more_than_its_burst_and_what_comes_back_whatever_the_clock_does(
    calls: list[tuple[float, bool]], burst: int, per_hour: int
) -> None:
    bucket, now, passed, forward = Bucket(per_hour, burst, burst, 0.0), 0.0, 0, 0.0
    for seconds, error in calls:
        now += seconds
        forward += max(0.0, seconds)
        passed += bucket.take(now, error=error)
    assert passed <= burst + forward * per_hour / 3600 + 1e-6
    assert bucket.tokens >= -1e-9


@given(st.integers(0, 1439), st.integers(0, 1439), st.integers(-720, 840), st.integers(0, 1439))
def test_quiet_hours_hold_in_the_users_own_time_and_let_errors_through(
    start: int, end: int, offset: int, minute: int
) -> None:
    quiet = Quiet(start, end, offset)
    now = NOW.replace(hour=0) + timedelta(minutes=minute - offset)
    span = [at % 1440 for at in range(start, end if start <= end else end + 1440)]
    warning, error = Notice("stall", "warning", "", NOW), Notice("stall", "error", "", NOW)
    assert quiet.holds(warning, now) is (minute in span)
    assert not quiet.holds(error, now)
    assert Quiet(start, end, offset, errors=False).holds(error, now) is (minute in span)


def test_no_event_breaks_the_reading_of_notices(tmp_path: Path) -> None:
    with EventWriter(tmp_path / "events.jsonl") as events:
        for type in EventType:
            event = events.put(
                type, None, {"alert": ["x"], "severity": {}, "status": [1], "failure": 5, "message": None}
            )
            for notice in notices_of(event):
                assert Notice.of(json.loads(json.dumps(notice.kept()))).alert == notice.alert
