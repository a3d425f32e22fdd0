"""A recorded run played back: its events are written anew, as if they happened now.

The player is a task of the app. While no app is open nothing is played; the next app goes on at the
event where the last one stopped, so a replay is as complete as a run, only longer.
"""

from __future__ import annotations

import asyncio
import gzip
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from engine.errors import BadInput, BadWireLine, PodError
from engine.home import Home
from engine.job.events import Event, EventType, EventWriter, Status, decode, last_event
from engine.job.folder import JobFolder, read_json, write_json
from engine.pods.local import LocalPod
from engine.supervisor.locks import Lock

REPLAY: Final = "replay.json"
"""In the job's folder: which recording is played, and how fast."""
_LONGEST_WAIT: Final = 10.0
"""Seconds of the recording: a gap is not waited out beyond this."""
_SLICE: Final = 0.2
"""Seconds after which a request is seen."""


@dataclass(frozen=True, slots=True)
class Recording:
    """A recorded job folder.

    Args:
        path: The folder; its events and log may be gzipped.
        events: Its events.
        log: Its log.
    """

    path: Path
    events: tuple[Event, ...]
    log: bytes

    @classmethod
    def load(cls, path: Path) -> Recording:
        """Read a recording.

        Raises:
            BadInput: It holds no events.
        """
        events = tuple(_events(_content(path / "events.jsonl")))
        if not events:
            raise BadInput(f"{path}: no recorded run (events.jsonl holds no events)")
        return cls(path, events, _content(path / "train.log"))

    @property
    def spec(self) -> dict[str, Any]:
        """The resolved spec of the recorded job."""
        return read_json(self.path / "job.json")

    def log_until(self, index: int) -> int:
        """How much of the log is told with the events before `index`: by time, in whole lines."""
        first, last = self.events[0].ts, self.events[-1].ts
        if index >= len(self.events) or last <= first:
            return len(self.log)
        share = (self.events[index].ts - first) / (last - first)
        return self.log.rfind(b"\n", 0, max(0, int(share * len(self.log)))) + 1


def prepare(folder: JobFolder, recording: Path, speed: float) -> None:
    """Make a job's folder one that a recording can be played into.

    Args:
        folder: The folder.
        recording: The recorded job's folder.
        speed: How much faster than it happened.

    Raises:
        OSError: It can't be written.
    """
    folder.create()
    write_json(folder.path / REPLAY, {"recording": str(recording.absolute()), "speed": speed})


class ReplayPod(LocalPod):
    """Plays recordings into job folders of this machine."""

    id = "replay"

    def __init__(self, home: Home) -> None:
        super().__init__(home)
        self._players: dict[str, asyncio.Task[None]] = {}

    async def start(self, job_id: str) -> None:
        """Play on; nothing if somebody plays it already or it has ended.

        Raises:
            PodError: There is no recording to play.
        """
        folder = self._home.job(job_id)
        lock = Lock(folder.lock)
        try:
            if folder.exit.exists() or not await asyncio.to_thread(lock.take):
                return
            order = await asyncio.to_thread(read_json, folder.path / REPLAY)
            recording = await asyncio.to_thread(Recording.load, Path(str(order.get("recording"))))
        except (BadInput, OSError) as error:
            lock.release()
            raise PodError(f"{folder.path}: can't be played ({error})") from None
        speed = order.get("speed")
        player = Player(folder, recording, speed if isinstance(speed, (int, float)) and speed > 0 else 1.0)
        task = asyncio.create_task(player.play())
        task.add_done_callback(lambda _: lock.release())
        self._players[job_id] = task

    async def request(self, job_id: str, name: str, value: object = True) -> None:
        """Leave a request; a replay can only be stopped.

        Raises:
            PodError: It is another request.
        """
        if name != "stop":
            raise PodError("a replay can be stopped, nothing else", "Launch the job to train it anew.")
        await super().request(job_id, name, value)

    async def close(self) -> None:
        """Stop playing; the next app goes on."""
        for task in self._players.values():
            task.cancel()
        await asyncio.gather(*self._players.values(), return_exceptions=True)
        self._players.clear()


class Player:
    """Plays one recording into one folder.

    Args:
        folder: The folder; what it holds was played before.
        recording: What to play.
        speed: How much faster than it happened.
    """

    def __init__(self, folder: JobFolder, recording: Recording, speed: float) -> None:
        self._folder, self._recording, self._speed = folder, recording, speed

    async def play(self) -> None:
        """Play to the end, or until it is asked to stop; a full disk is waited out."""
        while True:
            try:
                await self._play()
                await asyncio.to_thread(self._finish)
                return
            except OSError:
                await asyncio.sleep(_RETRY)

    async def _play(self) -> None:
        """Play on from what the folder holds."""
        events, before = self._recording.events, await asyncio.to_thread(last_event, self._folder.events)
        if before is not None and before.type == EventType.STATE and before.data.get("reason") in _REASONS:
            return
        with EventWriter(self._folder.events) as writer:
            for index in range(before.seq if before is not None else 0, len(events)):
                if await self._asked_to_stop(index):
                    self._cancel(writer, _STOPPED)
                    return
                await asyncio.to_thread(self._tell, writer, index)
            if events[-1].type != EventType.STATE:
                self._cancel(writer, _TORN)

    async def _asked_to_stop(self, index: int) -> bool:
        """Wait until an event is due."""
        events = self._recording.events
        gap = (events[index].ts - events[index - 1].ts).total_seconds() if index else 0.0
        wait = min(max(0.0, gap), _LONGEST_WAIT) / self._speed
        while not self._folder.has_request("stop"):
            await asyncio.sleep(min(wait, _SLICE))
            wait -= _SLICE
            if wait <= 0:
                return False
        return True

    def _tell(self, writer: EventWriter, index: int) -> None:
        """Write one event, and the log that was printed before the next one."""
        event = self._recording.events[index]
        writer.attempt = event.attempt
        writer.put(event.type, event.step, event.data)
        upto = self._recording.log_until(index + 1)
        with self._folder.log.open("ab") as log:
            log.write(self._recording.log[log.tell() : upto])

    def _cancel(self, writer: EventWriter, reason: str) -> None:
        writer.append(EventType.STATE, status=Status.CANCELLED, reason=reason)

    def _finish(self) -> None:
        """Write exit.json."""
        last = last_event(self._folder.events)
        data = last.data if last is not None else {}
        self._folder.take_request("stop")
        write_json(
            self._folder.exit,
            {
                "status": data.get("status"),
                "exit_code": data.get("exit_code"),
                "error": str(data.get("error") or ""),
                "advice": str(data.get("advice") or ""),
                "reason": str(data.get("reason") or ""),
                "attempt": last.attempt if last is not None else 1,
                "seconds": None,
            },
        )


_STOPPED: Final = "the replay was stopped by the user"
_TORN: Final = "the recording ends here"
_REASONS: Final = (_STOPPED, _TORN)
_RETRY: Final = 1.0
"""Seconds between tries to write."""


def _content(path: Path) -> bytes:
    """A file's bytes, unpacked; none when there is neither the file nor its gzip."""
    with suppress(FileNotFoundError):
        return path.read_bytes()
    try:
        with gzip.open(f"{path}.gz") as file:
            return file.read()
    except FileNotFoundError:
        return b""
    except (OSError, EOFError) as error:
        raise BadInput(f"{path}.gz: can't be unpacked ({error})") from None


def _events(data: bytes) -> list[Event]:
    events = []
    for line in data.splitlines():
        with suppress(BadWireLine):
            events.append(decode(line))
    return events
