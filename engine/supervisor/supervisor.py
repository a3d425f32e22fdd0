"""The supervisor: one job from the queue to its end, through crashes, limits and the user's requests.

    queue -> attempt -> judge -> finish      The trainer's exit status says how it went:
               ^          |                  0  finished (it wrote `result`), or saved and left as asked
               +- after <-+                  3  a permanent failure that its own `state` event explains
                                             anything else: a crash; again, from its newest checkpoint

One loop sleeps until something happens, at most a tick. Beside it, threads send reports and alerts (`relay`)
where any are asked for; they start no processes, and write no events.
"""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from engine.job.events import EventType, Phase, Status, last_event
from engine.job.folder import JobFolder, read_json
from engine.supervisor.failure import Failure, clean, examine
from engine.supervisor.guarded import found
from engine.supervisor.journal import Journal, Watch
from engine.supervisor.limits import Limits
from engine.supervisor.locks import Lock, Slot
from engine.supervisor.memory import Memory
from engine.supervisor.meter import Meter
from engine.supervisor.outbox import Pace
from engine.supervisor.outcome import Outcome, Reserve, Timing, Why, write_exit
from engine.supervisor.process import Trainer, end_leftovers
from engine.supervisor.pulse import Pulse
from engine.supervisor.ranks import BadNode, command
from engine.supervisor.relay import Relay
from engine.supervisor.wakeup import Wakeup

PERMANENT: Final = 3
"""The exit status of a trainer that must not be started again."""
AGAIN: Final = 4
"""The exit status of one that is to be: one of several ranks asks for it, and has seen to what was wrong."""
SAME: Final = 3
"""The same failure so often in a row ends the job."""
_BUSY_PATIENCE: Final = 4
"""How many times as long a trainer may be silent while a GPU is at work."""
_SHORT_DRAIN: Final = 5.0
"""Seconds in which reports are sent by a supervisor that another one follows."""
_NOTE_EVERY: Final = 30.0
"""Seconds between notes for a successor."""


def supervise(
    folder: Path,
    *,
    trainer: Sequence[str] | None = None,
    slot: Path | None = None,
    timing: Timing | None = None,
    pace: Pace | None = None,
    at_work: Callable[[], None] = lambda: None,
) -> int:
    """Supervise a job to its end; at once over when another supervisor does, or the job has ended.

    Args:
        folder: The job's folder.
        trainer: The trainer's command; the folder is added as the last argument. By default our own.
        slot: A lock file that one training job at a time holds; None trains at once.
        timing: How long things take.
        pace: How long reports and alerts take.
        at_work: Called as soon as it is certain that a supervisor is at work, or need not be.

    Returns:
        The exit status: 0.

    Raises:
        OSError: The folder can't be written to.
    """
    job = JobFolder(folder.resolve())
    lock = Lock(job.lock)
    try:
        if not lock.take() or job.exit.exists():
            at_work()
            return 0
        job.create()
        wakeup = Wakeup()
        try:
            at_work()
            relay = Relay.of(job, pace=pace)
            Supervisor(job, tuple(trainer or ()), slot, timing or Timing(), wakeup, relay).run()
        finally:
            wakeup.close()
    finally:
        lock.release()
    return 0


class Supervisor:
    """Keeps one job's trainer alive; the job's lock is held.

    Args:
        folder: The job's folder.
        trainer: The trainer's command.
        slot: The lock file to queue for, if any.
        timing: How long things take.
        wakeup: The process's signals.
        relay: What sends reports and alerts, if anything does.
    """

    def __init__(
        self,
        folder: JobFolder,
        trainer: Sequence[str],
        slot: Path | None,
        timing: Timing,
        wakeup: Wakeup,
        relay: Relay | None = None,
    ) -> None:
        self._folder, self._argv, self._slot_path = folder, trainer, slot
        self._timing, self._wakeup = timing, wakeup
        self._memory = Memory.load(folder)
        self._journal = Journal(folder.events)
        self._watch = Watch(folder.events, self._journal.mine)
        self._relay = relay
        self._pulse = Pulse(folder.path, self._journal, timing, relay.standing if relay else lambda: None)
        self._reserve = Reserve(folder.path)
        self._slot: Slot | None = None
        self._meter = Meter(folder, self._memory, self._journal, self._pulse)
        self._noted = time.monotonic()

    def run(self) -> None:
        """The whole way of a job."""
        if self._relay is not None:
            self._relay.start()
        outcome = None
        try:
            outcome = self._ended_already()
            if outcome is None:
                self._begin()
                outcome = self._queue() or self._supervise()
            self._finish(outcome)
        finally:
            self._pulse.close()
            if self._slot is not None:
                self._slot.leave()
            self._send_the_rest(outcome)
            self._journal.close()

    def _send_the_rest(self, outcome: Outcome | None) -> None:
        """Give reports and alerts some time; the job itself is over, and its end is written."""
        if self._relay is None:
            return
        ended = outcome is not None and outcome.status is not None and outcome.status.ended
        self._relay.drain(None if ended else _SHORT_DRAIN, lambda: self._waited(ended))
        self._tell_news()

    def _waited(self, ended: bool) -> bool:
        """Sleep a little while reports are sent; is there still time?"""
        self._wakeup.sleep(self._timing.tick)
        self._tell_news()
        return not (ended and self._wakeup.leave)

    def _tell_news(self) -> None:
        """Write what the threads beside have to say."""
        for type, data in self._relay.news() if self._relay is not None else ():
            self._journal.emit(type, **data)

    def _ended_already(self) -> Outcome | None:
        """The end that a supervisor told of and died before it could write exit.json."""
        last = last_event(self._folder.events)
        if last is None or last.type != EventType.STATE:
            return None
        for status in (Status.COMPLETED, Status.FAILED, Status.CANCELLED):
            if last.data.get("status") == status:
                self._journal.attempt = last.attempt
                error, advice, reason = (
                    str(last.data.get(key) or "") for key in ("error", "advice", "reason")
                )
                return Outcome(status, error, advice, reason, told=True)
        return None

    def _begin(self) -> None:
        """Find out what there was before, and take over from a supervisor that died."""
        memory, last = self._memory, last_event(self._folder.events)
        if memory.attempt == 0 and last is not None and self._folder.log.exists():
            memory.attempt = last.attempt
        self._journal.attempt = max(1, memory.attempt)
        if memory.attempt and not memory.left:
            self._take_over()
        memory.left = False
        memory.save(self._folder)

    def _take_over(self) -> None:
        """Go on where a supervisor died (SIGKILL, a power cut): its trainer must not write any more."""
        memory = self._memory
        grace = self._timing.stop_grace
        left = end_leftovers(self._folder, memory.trainer_pid, memory.trainer_start, grace)
        failure = "the supervisor died" + (" and left its trainer running" if left else "")
        action = f"a new one goes on from the newest checkpoint as attempt {memory.attempt + 1}"
        self._journal.emit(EventType.RECOVERY, failure=failure, action=action)
        self._pulse.alert("supervisor_lost", "warning", f"{failure}; {action}")

    def _finish(self, outcome: Outcome) -> None:
        """Write the end down: the last event, then exit.json; on a full disk again and again."""
        memory = self._memory
        self._meter.stop()
        memory.left = outcome.status is None or not outcome.status.ended
        self._reserve.give_back()
        memory.save(self._folder)
        if outcome.status is None:
            return
        if not outcome.told:
            self._journal.emit(EventType.STATE, status=outcome.status, **outcome.said())
        deadline = time.monotonic() + self._timing.linger
        while not self._written(outcome) and time.monotonic() < deadline and not self._wakeup.leave:
            self._wakeup.sleep(self._timing.tick)
        for request in ("stop", "pause"):
            with contextlib.suppress(OSError):
                self._folder.take_request(request)

    def _written(self, outcome: Outcome) -> bool:
        """Try to write what is still to be written of the end; is it all there?"""
        if not self._journal.flush():
            return False
        return write_exit(self._folder, outcome, self._journal.attempt, self._memory.seconds)

    def _queue(self) -> Outcome | None:
        """Wait for the slot; an outcome when the user or the system did not want to."""
        if self._slot_path is None:
            return None
        try:
            self._slot = Slot(self._slot_path)
            if self._slot.take():
                return None
            self._journal.emit(EventType.STATE, status=Status.QUEUED)
            while not self._slot.take():
                if why := self._asked():
                    return self._as_asked(why, None)
                self._wait()
        except OSError as error:
            message = f"{self._slot_path}: {error.strerror}; training without a queue"
            self._pulse.alert("queue", "warning", message)
        return None

    def _supervise(self) -> Outcome:
        """Start trainers until one ends for good."""
        self._meter.start()
        refusal = self._guarded() if self._limits.rented else None
        if refusal is not None:
            return refusal
        if why := self._asked():
            return self._as_asked(why, None)
        self._journal.emit(EventType.STATE, status=Status.RUNNING)
        while True:
            found = self._attempt()
            outcome = found if isinstance(found, Outcome) else self._after(found)
            if outcome is not None:
                return outcome

    def _guarded(self) -> Outcome | None:
        """Wait until the pod's guard has proven that it can end the pod; without that nothing is trained."""
        until = time.monotonic() + self._timing.guard_patience
        while (refusal := (guard := found(self._folder)).verdict) != "":
            if why := self._asked():
                return self._as_asked(why, None)
            if refusal or time.monotonic() > until:
                error = refusal or "the pod's guard could not prove that it can end the pod"
                advice = "End the pod (`podium pods`), and launch again: nobody but you would end this one."
                return Outcome(Status.FAILED, error, advice)
            self._wakeup.sleep(self._timing.tick)
        self._meter.follow(guard)
        if guard.clustered:
            message = "one pod of a cluster may not be able to end it: that is up to the laptop"
            self._pulse.alert("guard", "warning", message)
        return None

    def _attempt(self) -> Outcome | Failure:
        """Run one trainer to its end."""
        memory = self._memory
        memory.attempt += 1
        self._journal.attempt = memory.attempt
        self._watch.drain()
        self._watch.begin()
        self._journal.emit(EventType.PHASE, phase=Phase.LOAD)
        try:
            trainer = Trainer(self._argv or command(self._folder), self._folder, memory.attempt)
        except BadNode as error:
            return Outcome(Status.FAILED, str(error), "Start the job again where its machines are known.")
        except OSError as error:
            return Failure(f"the trainer can't be started: {clean(str(error))}")
        memory.trainer_pid, memory.trainer_start = trainer.pid, trainer.start
        self._note()
        code, why = self._accompany(trainer)
        # Its workers may be in sessions of their own.
        end_leftovers(self._folder, None, None, grace=0)
        self._watch.drain()
        return self._judge(code, why, trainer.log_start)

    def _accompany(self, trainer: Trainer) -> tuple[int, Why | None]:
        """Wait for a trainer's end, which somebody may have asked for; its exit status, and who asked."""
        why: Why | None = None
        deadline = 0.0
        while (code := trainer.poll()) is None:
            self._wait()
            if why is None:
                why = self._reason_to_end()
                if why is not None:
                    trainer.ask_to_leave()
                    grace = self._timing.stall_grace if why == Why.STALL else self._timing.stop_grace
                    deadline = time.monotonic() + grace
            elif time.monotonic() > deadline:
                trainer.kill()
        return code, why

    def _judge(self, code: int, why: Why | None, log_start: int) -> Outcome | Failure:
        """What a trainer's end means."""
        watch = self._watch
        if watch.ended is not None and code != 0:
            error, advice = (str(watch.ended.data.get(key) or "") for key in ("error", "advice"))
            return Outcome(Status.FAILED, error, advice, code=code, told=True)
        if code == 0 and watch.finished:
            return Outcome(Status.COMPLETED, code=0)
        # A request that the trainer itself was quick to see counts too.
        asked = why if why not in (None, Why.STALL) else self._asked()
        script = read_json(self._folder.spec).get("method") == "script"
        failure = examine(code, self._folder.log, log_start, script=script)
        if asked is not None:
            # Dead of SIGTERM itself is dead before there was anything to save.
            if code not in (0, -signal.SIGTERM):
                message = f"the trainer left without saving ({failure.text}); the newest checkpoint stays"
                self._pulse.alert("not_saved", "warning", message)
            return self._as_asked(asked, code)
        if why == Why.STALL:
            return Failure(f"no event for {self._limits.stall_minutes:g} minutes", "stall", code=code)
        if code == 0:
            return Failure("the trainer left without a result, as if somebody had stopped it", code=0)
        if code == PERMANENT:
            return Outcome(Status.FAILED, failure.text, failure.advice, code=code)
        return failure

    def _after(self, failure: Failure) -> Outcome | None:
        """Give up after a failure, or wait a little and try again."""
        memory, attempt = self._memory, self._memory.attempt
        if failure.code == AGAIN:
            return self._pause_before_next(0.5, failure)
        memory.count(failure.identity, self._watch.saved)
        if memory.same >= SAME or memory.restarts >= self._limits.max_restarts:
            times = f" ({memory.same} times in a row)" if memory.same > 1 else ""
            return Outcome(Status.FAILED, failure.text + times, failure.advice, code=failure.code)
        wait = self._timing.backoff[min(memory.restarts, len(self._timing.backoff) - 1)]
        memory.restarts += 1
        self._note()
        self._journal.emit(
            EventType.RECOVERY,
            failure=failure.text,
            kind=failure.kind,
            action=f"started again from the newest checkpoint, as attempt {attempt + 1}",
        )
        return self._pause_before_next(wait, failure)

    def _pause_before_next(self, seconds: float, failure: Failure) -> Outcome | None:
        """Wait before the next attempt; an outcome when somebody wants another end meanwhile."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            if why := self._asked():
                return self._as_asked(why, failure.code)
            self._wait()
        return None

    def _as_asked(self, why: Why, code: int | None) -> Outcome:
        """The outcome of a request, a limit or a signal."""
        if why == Why.LEAVE:
            failure = f"the supervisor was told to leave ({self._wakeup.leave})"
            action = "the job goes on when a new supervisor is started"
            self._journal.emit(EventType.RECOVERY, failure=failure, action=action)
            return Outcome(None, code=code)
        if why == Why.PAUSE:
            return Outcome(Status.PAUSED, code=code)
        if why == Why.LIMIT:
            return Outcome(Status.CANCELLED, f"{self._meter.reached} reached", code=code)
        return Outcome(Status.CANCELLED, reason="stopped by the user", code=code)

    def _asked(self) -> Why | None:
        """What a limit, the system or the user wants; a limit is the end, whoever else wants something."""
        if self._meter.reached:
            return Why.LIMIT
        if self._wakeup.leave:
            return Why.LEAVE
        if self._folder.has_request("stop"):
            return Why.STOP
        if self._folder.has_request("pause"):
            return Why.PAUSE
        return None

    def _reason_to_end(self) -> Why | None:
        """Why the running trainer should leave, if it should; says so where nobody else would."""
        why = self._asked()
        silence = time.monotonic() - self._watch.seen_at
        stall = self._limits.stall_minutes
        # A long kernel or a big save is silent, too, but a GPU that is hung in one says 100 % for ever.
        patience = _BUSY_PATIENCE if self._pulse.busy else 1
        if why is None and stall is not None and silence > stall * 60 * patience:
            message = f"no event from the trainer for {silence / 60:.0f} min: it is started again"
            self._pulse.alert("stall", "error", message, again=True)
            return Why.STALL
        return why

    def _wait(self) -> None:
        """Sleep until something happens, at most a tick; then do what is due."""
        self._wakeup.sleep(self._timing.tick)
        self._journal.flush()
        self._tell_news()
        self._watch.look()
        self._meter.read()
        if self._watch.ended is None:
            self._pulse.beat(self._meter.standing)
        self._meter.save_in_time()
        if time.monotonic() - self._noted >= _NOTE_EVERY:
            self._note()

    def _note(self) -> None:
        """Write down what a successor must know."""
        self._noted = time.monotonic()
        self._meter.note()
        self._memory.save(self._folder)

    @property
    def _limits(self) -> Limits:
        """The limits as they are now."""
        return self._meter.limits
