"""`podium alerts`: whom runs tell of what, whether that works, and what was told."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, Final

import click

from engine.analysis import format as words
from engine.controller import alerting
from engine.errors import BadInput
from engine.home import Home
from engine.job.events import Event, EventType, EventWriter
from engine.job.notices import Notice
from tui.cli.errors import FAILED
from tui.cli.options import json_option
from tui.cli.output import emit, line, table
from tui.cli.workplace import up_to_date

NEWEST: Final = 50
"""Deliveries that are listed."""
RUNS: Final = 200
"""Of so many runs, the newest ones."""
_TIMEOUT: Final = 15.0


@click.group()
def alerts() -> None:
    """Tell somebody what happens to runs: webhooks, Slack, Discord, ntfy. Set up in alerts.yaml."""


@alerts.command("check")
@json_option
def check(as_json: bool) -> None:
    """Read alerts.yaml, and say all that is wrong with it; nothing is sent."""
    home = Home.default()
    settings = alerting.settings_of(home)
    channels = alerting.channels_of(settings)
    facts = [
        {
            "name": channel.name,
            "kind": channel.kind,
            "types": channel.types,
            "severity": channel.severity,
            "signed": bool(channel.secret),
        }
        for channel in channels
    ]
    if as_json:
        emit("channels", facts, quiet=alerting.quiet_hours(settings), path=str(alerting.place(home)))
    elif not facts:
        line(f"No channels. Write them into {alerting.place(home)}; docs/ALERTS.md shows how.")
    else:
        head = ("CHANNEL", "KIND", "FROM SEVERITY", "ALERTS")
        table(head, [(str(f["name"]), str(f["kind"]), str(f["severity"]), _types(f["types"])) for f in facts])


def _types(types: Any) -> str:
    return ", ".join(types) if types else "the usual ones, and every error"


@alerts.command("test")
@click.option("--channel", metavar="NAME", help="Only to this one.")
@json_option
def test(channel: str | None, as_json: bool) -> int:
    """Send a test message to every channel, and say what came of it; exits 1 if one did not take it."""
    from engine.supervisor.channels import About, Channel
    from engine.supervisor.post import NotTaken

    home = Home.default()
    channels = alerting.channels_of(alerting.settings_of(home))
    if channel is not None:
        known = ", ".join(each.name for each in channels) or "none"
        channels = [each for each in channels if each.name == channel]
        if not channels:
            raise BadInput(f"there is no channel {channel}", f"alerts.yaml has {known}.")
    if not channels:
        raise BadInput(f"{alerting.place(home)}: has no channels", "docs/ALERTS.md shows how.")
    notice = Notice("test", "info", "Podium can reach you here.", datetime.now(UTC))

    def sent(each: Channel) -> str:
        try:
            each.send(notice, About("test", "podium alerts test"), _TIMEOUT)
        except NotTaken as error:
            return str(error)
        return ""

    found = [(each, sent(each)) for each in channels]
    _keep(home, [(each.name, error) for each, error in found])
    if as_json:
        told = [
            {"channel": each.name, "kind": each.kind, "ok": not error, "error": error or None}
            for each, error in found
        ]
        emit("deliveries", told)
    else:
        for each, error in found:
            line(f"{each.name}: {error or 'delivered'}", fg="red" if error else "green")
    return FAILED if any(error for _, error in found) else 0


def _keep(home: Home, found: list[tuple[str, str]]) -> None:
    """Record the deliveries as any other."""
    home.create()
    home.laptop.mkdir(exist_ok=True)
    with EventWriter(home.laptop / "events.jsonl") as events:
        for name, error in found:
            told = {"alert": "test", "channel": name, "ok": not error, "tries": 1}
            events.put(EventType.DELIVERY, None, told | ({"error": error} if error else {}))


@alerts.command("list")
@click.argument("job", metavar="[JOB]", required=False)
@json_option
def sent(job: str | None, as_json: bool) -> None:
    """List what was told to whom, the newest last; of all runs, or of one."""
    with up_to_date() as store:
        jobs = [store.find(job)] if job else store.jobs(archived=True)[:RUNS]
        found = [
            (one.name, one.id, event) for one in jobs for event in store.events(one.id, (EventType.DELIVERY,))
        ]
    if job is None:
        found += [("this machine", "", event) for event in _here(Home.default())]
    found = sorted(found, key=lambda item: item[2].ts)[-NEWEST:]
    if as_json:
        emit(
            "deliveries",
            [{"job_id": job_id or None, "job": name, **facts(event)} for name, job_id, event in found],
        )
    elif found:
        now = datetime.now(UTC)
        head = ("WHEN", "RUN", "ALERT", "CHANNEL", "OUTCOME", "TRIES")
        rows = [(words.day(event.ts, now), name, *_row(facts(event))) for name, _, event in found]
        table(head, rows, right=("TRIES",))
    else:
        line("Nobody was told of anything yet.")


def facts(event: Event) -> dict[str, Any]:
    """A delivery for a program."""
    data = event.data
    text = {name: str(data.get(name) or "")[:200] for name in ("alert", "channel", "error")}
    tries = data.get("tries")
    return {
        "ts": event.ts,
        **text,
        "error": text["error"] or None,
        "ok": data.get("ok") is True,
        "tries": tries if isinstance(tries, int) else 0,
    }


def _row(told: dict[str, Any]) -> tuple[str, ...]:
    outcome = "delivered" if told["ok"] else f"not sent: {told['error'] or 'unknown'}"
    return told["alert"], told["channel"], outcome, str(told["tries"])


def _here(home: Home) -> Iterator[Event]:
    """The deliveries that this machine made itself."""
    from engine.supervisor.feed import Position, read

    position = Position()
    while (batch := read(home.laptop / "events.jsonl", position)).end != position.offset:
        position = Position(batch.end, batch.events[-1][0].seq if batch.events else position.seq)
        yield from (event for event, _ in batch.events if event.type == EventType.DELIVERY)
