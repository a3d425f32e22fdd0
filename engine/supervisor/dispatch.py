"""Alerts on their way: out of the events, past the rules, to the channels that want them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from engine.job.events import EventType
from engine.job.folder import read_json, write_json
from engine.job.notices import Notice, notices_of
from engine.supervisor import feed
from engine.supervisor.channels import About, Channel
from engine.supervisor.outbox import Pace, Tell
from engine.supervisor.post import NotTaken, Unavailable
from engine.supervisor.rules import Bucket, Quiet, Seen

_MOST: Final = 100
"""Deliveries that may wait; a pod can't make the file of them grow."""


@dataclass(frozen=True, slots=True)
class Rules:
    """What holds for all channels.

    Args:
        quiet: The quiet hours.
        dedupe_minutes: How long the same alert of the same cause is not sent again.
    """

    quiet: Quiet | None = None
    dedupe_minutes: float = 60.0


@dataclass(frozen=True, slots=True)
class Delivery:
    """A notice on its way to a channel.

    Args:
        notice: What is told.
        channel: The channel's name.
        tries: How often it was tried.
        since: When it was tried first, UTC seconds; 0 when it was not.
        due: When it is tried next, monotonic seconds.
        held: How many were held back before it.
    """

    notice: Notice
    channel: str
    tries: int = 0
    since: float = 0.0
    due: float = 0.0
    held: int = 0


class Dispatcher:
    """Sends one job's alerts. One thread steps it.

    Args:
        events: The events file.
        state: The file that remembers how far it is; losing it costs alerts that were about to be sent.
        about: The job.
        channels: Where to.
        rules: What is held back.
        pace: How long things take.
        tell: How deliveries are recorded.
        now: The time, UTC.
    """

    def __init__(
        self,
        events: Path,
        state: Path,
        about: About,
        channels: Sequence[Channel],
        rules: Rules,
        pace: Pace,
        tell: Tell,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._events, self._state, self._about, self._rules = events, state, about, rules
        self._channels = {channel.name: channel for channel in channels}
        self._pace, self._tell, self._now = pace, tell, now
        kept = read_json(state)
        self._position = feed.Position.of(kept) if kept else feed.Position(_size(events), feed.newest(events))
        self._seen = Seen(rules.dedupe_minutes, _figures(kept.get("seen")))
        tokens, then = _figures(kept.get("tokens")), _figures(kept.get("tokens_at"))
        moment = self._now().timestamp()
        self._buckets = {
            name: Bucket(
                channel.per_hour,
                channel.burst,
                min(channel.burst, tokens.get(name, channel.burst)),
                then.get(name, moment),
            )
            for name, channel in self._channels.items()
        }
        self._held = {name: int(count) for name, count in _figures(kept.get("held")).items()}
        self._waiting = list(_deliveries(kept.get("waiting"), self._channels))
        self._save()

    @property
    def waiting(self) -> int:
        """How many deliveries are still to be made."""
        return len(self._waiting)

    @property
    def behind(self) -> int:
        """How many events were not looked at yet."""
        return max(0, feed.newest(self._events) - self._position.seq)

    def step(self) -> float:
        """Look for news, and make one delivery that is due.

        Returns:
            Seconds until the next step is due.
        """
        fresh = self._look()
        due = [item for item in self._waiting if item.due <= time.monotonic()]
        if due:
            self._try(min(due, key=lambda item: item.due))
        if fresh or len(due) > 1:
            return 0.0
        soonest = min((item.due - time.monotonic() for item in self._waiting), default=self._pace.idle)
        return max(0.0, min(self._pace.idle, soonest))

    def _look(self) -> bool:
        """Take in what is new in the events; was there anything?"""
        batch = feed.read(self._events, self._position)
        if batch.end == self._position.offset:
            return False
        for event, _ in batch.events:
            for notice in notices_of(event):
                self._admit(notice)
        seq = batch.events[-1][0].seq if batch.events else self._position.seq
        self._position = replace(self._position, offset=batch.end, seq=seq)
        self._save()
        return True

    def _admit(self, notice: Notice) -> None:
        """Let a notice pass to the channels that want it, or write down why not."""
        wanting = [channel for channel in self._channels.values() if channel.wants(notice)]
        if not wanting or self._seen.again(notice):
            return
        passed = False
        for channel in wanting:
            if why := self._hindrance(notice, channel):
                self._held[channel.name] = self._held.get(channel.name, 0) + 1
                self._record(Delivery(notice, channel.name), why)
            else:
                self._waiting.append(Delivery(notice, channel.name, held=self._held.pop(channel.name, 0)))
                passed = True
        if not passed:
            # Nobody was told: when it comes again, it is no repetition.
            self._seen.forget(notice)

    def _hindrance(self, notice: Notice, channel: Channel) -> str:
        """Why a channel is not to get a notice now; empty when it is."""
        now = self._now()
        if self._rules.quiet is not None and self._rules.quiet.holds(notice, now):
            return "quiet hours"
        if not self._buckets[channel.name].take(now.timestamp(), error=notice.severity == "error"):
            return "too many in a while"
        return "too many wait" if len(self._waiting) >= _MOST else ""

    def _try(self, item: Delivery) -> None:
        """Make a delivery, or put it off."""
        now = self._now().timestamp()
        tried = replace(item, tries=item.tries + 1, since=item.since or now)
        self._waiting.remove(item)
        try:
            self._channels[item.channel].send(item.notice, self._about, self._pace.timeout, item.held)
        except Unavailable as error:
            if now - tried.since < self._pace.give_up:
                wait = self._pace.wait(tried.tries, error.wait)
                self._waiting.append(replace(tried, due=time.monotonic() + wait))
            else:
                self._record(tried, f"given up: {error}")
        except NotTaken as error:
            self._record(tried, str(error))
        else:
            self._record(tried, "")
        self._save()

    def leave(self) -> None:
        """Write down what is not going to be delivered, because nobody stays to try."""
        for item in self._waiting:
            self._record(item, "the supervisor left")
        self._waiting = []
        self._save()

    def _record(self, item: Delivery, error: str) -> None:
        told = {"alert": item.notice.alert, "channel": item.channel, "ok": not error, "tries": item.tries}
        told |= {"about": item.notice.seq} | ({"error": error} if error else {})
        self._tell(EventType.DELIVERY, told)

    def _save(self) -> None:
        """Remember how far it is, on a disk that may be full."""
        kept = {
            **asdict(self._position),
            "seen": self._seen.when,
            "tokens": {name: bucket.tokens for name, bucket in self._buckets.items()},
            "tokens_at": {name: bucket.at for name, bucket in self._buckets.items()},
            "held": self._held,
            "waiting": [
                {
                    "notice": item.notice.kept(),
                    "channel": item.channel,
                    "tries": item.tries,
                    "since": item.since,
                    "held": item.held,
                }
                for item in self._waiting
            ],
        }
        try:
            write_json(self._state, kept)
        except OSError:
            return


def _deliveries(kept: Any, channels: Mapping[str, Channel]) -> Iterator[Delivery]:
    """The deliveries that the process before this one did not make."""
    for item in kept if isinstance(kept, list) else ():
        try:
            found = Delivery(**{**item, "notice": Notice.of(item["notice"])})
        except (KeyError, TypeError, ValueError):
            continue
        if found.channel in channels:
            yield found


def _figures(kept: Any) -> dict[str, float]:
    found = kept if isinstance(kept, dict) else {}
    return {str(key): float(value) for key, value in found.items() if isinstance(value, (int, float))}


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
