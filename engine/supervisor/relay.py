"""What leaves the machine beside training: reports to a hosted store or a plain address, and alerts.

Each receiver has a thread of its own, so none waits for another, and training for none of them. The threads
write no events: what they have to say is written by the supervisor, which is the one that knows its own.
All of it is told in the environment, which is taken away before a trainer is started.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, MutableMapping
from pathlib import Path
from typing import Any, Final

from engine.job.events import EventType
from engine.job.folder import JobFolder, read_json
from engine.supervisor.channels import About, Channel, channels_of
from engine.supervisor.dispatch import Dispatcher, Rules
from engine.supervisor.failure import hide
from engine.supervisor.outbox import Outbox, Pace
from engine.supervisor.post import unusable
from engine.supervisor.rules import quiet_of
from engine.supervisor.sinks import Hosted, Plain, Sink

VARIABLES: Final = (
    "PODIUM_REPORT_URL", "PODIUM_REPORT_KEY", "PODIUM_JOB_TOKEN", "PODIUM_REPORT_JOB",
    "METRICS_API_URL", "ALERT_API_URL", "PODIUM_ALERTS",
)  # fmt: skip
"""Read by the supervisor alone; nothing that it starts gets them."""

_NEWS: Final = 1000
_WORST: Final = ("refused", "down", "ok")


class Relay:
    """The outboxes and the dispatcher of one job.

    Args:
        folder: The job's folder; its name is the job's id.
        told: The variables' values.
        pace: How long things take.
    """

    def __init__(self, folder: JobFolder, told: dict[str, str], pace: Pace) -> None:
        self._folder, self._pace = folder, pace
        self._news: deque[tuple[EventType, dict[str, Any]]] = deque(maxlen=_NEWS)
        self._leave = threading.Event()
        self._hurry = threading.Event()
        self._outboxes = [
            Outbox(folder.events, sink, folder.path / f"outbox-{sink.name}.json", pace, self._tell)
            for sink in self._sinks(told)
        ]
        channels, rules = self._channels(told)
        self._dispatcher = (
            Dispatcher(
                folder.events, folder.path / "alerts.json", _about(folder), channels, rules, pace, self._tell
            )
            if channels
            else None
        )
        self._threads: list[threading.Thread] = []
        self._unforeseen: set[str] = set()

    @classmethod
    def of(
        cls, folder: JobFolder, environment: MutableMapping[str, str] = os.environ, pace: Pace | None = None
    ) -> Relay | None:
        """What the environment asks for, which is taken out of it; None when that is nothing."""
        told = {name: value for name in VARIABLES if (value := environment.pop(name, "").strip())}
        if not told or read_json(folder.node).get("node"):
            # Of several machines the first one's events are the job's.
            return None
        return cls(folder, told, pace or Pace())

    def start(self) -> None:
        """Begin to send."""
        parts: list[Outbox | Dispatcher] = [
            *self._outboxes,
            *([self._dispatcher] if self._dispatcher else []),
        ]
        for part in parts:
            thread = threading.Thread(target=self._work, args=(part.step,), daemon=True, name="relay")
            thread.start()
            self._threads.append(thread)

    def news(self) -> Iterator[tuple[EventType, dict[str, Any]]]:
        """The events that are to be written, each once."""
        while self._news:
            yield self._news.popleft()

    def standing(self) -> dict[str, Any] | None:
        """What the heartbeat says of the reports: of several receivers, that of the one in most trouble."""
        told = [outbox.standing() for outbox in self._outboxes]
        return min(told, key=lambda one: (_WORST.index(one["state"]), -one["behind"]), default=None)

    @property
    def behind(self) -> int:
        """What is still to be sent: events and deliveries."""
        alerts = self._dispatcher.behind + self._dispatcher.waiting if self._dispatcher else 0
        return sum(outbox.behind for outbox in self._outboxes) + alerts

    def drain(self, seconds: float | None, wait: Callable[[], bool]) -> None:
        """Send what is left, for so long at most; what is not sent then is told.

        Args:
            seconds: How long; None as long as the pace says.
            wait: Sleeps a little and writes the news; False when it is not to be waited any longer.
        """
        until = time.monotonic() + min(self._pace.drain, self._pace.drain if seconds is None else seconds)
        self._hurry.set()
        while self.behind and time.monotonic() < until and wait():
            pass
        self._leave.set()
        self._hurry.set()
        for thread in self._threads:
            thread.join(max(0.1, until - time.monotonic()))
        if seconds is None and self._dispatcher is not None and not any(map(_lives, self._threads)):
            self._dispatcher.leave()
        if seconds is None and (left := max((outbox.behind for outbox in self._outboxes), default=0)):
            message = (
                f"{left} events were not reported before the end; a laptop that has the run passes them on"
            )
            self._tell(
                EventType.ALERT, {"alert": "reports_behind", "severity": "warning", "message": message}
            )

    def _work(self, step: Callable[[], float]) -> None:
        """Step a part for ever."""
        while not self._leave.is_set():
            wait = self._stepped(step)
            if self._hurry.is_set():
                # Somebody waits for the rest of it: no long sleeps now.
                wait = min(wait, self._pace.retry)
                self._leave.wait(wait)
            else:
                self._hurry.wait(wait)

    def _stepped(self, step: Callable[[], float]) -> float:
        """Seconds until the next step; what nobody foresaw must not end the sending, and is told once."""
        try:
            return step()
        except Exception as error:  # noqa: BLE001  a thread that dies would do so unheard
            if type(error).__name__ not in self._unforeseen:
                self._unforeseen.add(type(error).__name__)
                self._wrong(f"sending failed unexpectedly ({type(error).__name__}); it is tried again")
            return self._pace.longest

    def _tell(self, type: EventType, data: dict[str, Any]) -> None:
        self._news.append((type, data))

    def _sinks(self, told: dict[str, str]) -> Iterator[Sink]:
        job_id = told.get("PODIUM_REPORT_JOB") or self._folder.path.name
        timeout = self._pace.timeout
        url, key, token = (told.get(name, "") for name in VARIABLES[:3])
        hide(key, token)
        if url and key and token and self._may("PODIUM_REPORT_URL", url):
            yield Hosted(url, key, job_id, token, timeout)
        if (metrics := told.get("METRICS_API_URL", "")) and self._may("METRICS_API_URL", metrics):
            yield Plain(metrics, job_id, token, timeout)

    def _channels(self, told: dict[str, str]) -> tuple[list[Channel], Rules]:
        try:
            settings = json.loads(told.get("PODIUM_ALERTS", "{}"))
            settings = settings if isinstance(settings, dict) else {}
        except (ValueError, RecursionError):
            self._wrong("PODIUM_ALERTS is no JSON")
            settings = {}
        channels, broken = channels_of(settings.get("channels"))
        if broken:
            self._wrong(f"{broken} of the channels in PODIUM_ALERTS are none")
        if url := told.get("ALERT_API_URL", ""):
            channels.append(Channel("alert_api", "alert_api", url, told.get("PODIUM_JOB_TOKEN", "")))
        hide(*(value for channel in channels for value in (channel.url, channel.secret)))
        usable = [channel for channel in channels if self._may(f"channel {channel.name}", channel.url)]
        minutes = settings.get("dedupe_minutes")
        dedupe = float(minutes) if isinstance(minutes, (int, float)) else 60.0
        return usable, Rules(quiet_of(settings.get("quiet")), dedupe)

    def _may(self, what: str, url: str) -> bool:
        if why := unusable(url):
            self._wrong(f"{what}: {why}; nothing is sent there")
        return not why

    def _wrong(self, message: str) -> None:
        data = {"alert": "reports_settings", "severity": "warning", "message": message}
        self._tell(EventType.ALERT, data)


def _lives(thread: threading.Thread) -> bool:
    return thread.is_alive()


def _about(folder: JobFolder) -> About:
    spec = read_json(folder.spec)
    model = spec.get("model")
    name = str(model.get("name") or "") if isinstance(model, dict) else ""
    return About(folder.path.name, str(spec.get("name") or "")[:200], Path(name).name[:200])
