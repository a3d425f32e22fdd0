"""One attempt at a job, top to bottom: setup, train (saving on the way), finish."""

from __future__ import annotations

from dataclasses import replace
from enum import StrEnum
from typing import Any, Final

from engine.errors import TrainingError
from engine.job.events import EventType, EventWriter, Phase
from engine.job.folder import JobFolder
from engine.job.spec import JobSpec
from engine.trainer import (
    bookkeeping,
    checkpoints,
    divergence,
    exhaustion,
    failures,
    log,
    memory,
    setup,
    sharding,
)
from engine.trainer.attempt import Attempt
from engine.trainer.distributed import Ranks
from engine.trainer.divergence import Diverged
from engine.trainer.progress import Progress
from engine.trainer.stop import StopNow, StopRequest
from scorer import RunScorer
from scorer.score import FORMULA, FORMULA_DPO, FORMULA_REWARD

_FORMULAS: Final = {"dpo": FORMULA_DPO, "rlhf": FORMULA_REWARD}
"""By method; the others have a loss whose perplexity means something."""


class Outcome(StrEnum):
    """How training ended."""

    FINISHED = "finished"
    STOPPED = "stopped"
    OUT_OF_MEMORY = "out of memory"
    DIVERGED = "diverged"


def run(folder: JobFolder, events: EventWriter, stop: StopRequest, ranks: Ranks | None = None) -> None:
    """Train the job in a folder until it is finished or SIGTERM asks to leave.

    Args:
        folder: The job's folder.
        events: The wire.
        stop: Has SIGTERM come?
        ranks: This process among those that train together; None is a single one.

    Raises:
        TrainingError, BadSpec, BadDataset: It failed for good.
        Again: All ranks are to be started again.
        Exception: It crashed.
    """
    spec = JobSpec.from_json(folder.spec)
    ranks = ranks or Ranks()
    attempt = Attempt(folder, spec, events, stop, Progress(_scorer(spec)), ranks=ranks)
    attempt.phase(Phase.LOAD)
    log.line(f"{spec.name}: loading")
    if not ranks.alone:
        setup.quiet(spec)
        with stop.at_once():
            ranks.join(spec.distributed.timeout_minutes * 60)
        attempt.meter.sums = ranks.sums
    if ranks.local == 0:
        checkpoints.clean(folder)
    ranks.lead_does(lambda: bookkeeping.reconcile(attempt))
    exhaustion.heed(attempt)
    data = setup.read_data(attempt)
    while (outcome := _train(attempt, data)) in (Outcome.OUT_OF_MEMORY, Outcome.DIVERGED):
        if outcome is Outcome.OUT_OF_MEMORY:
            if not ranks.alone:
                exhaustion.leave(attempt)
            memory.shrink(attempt)
        elif not _goes_on(attempt):
            outcome = Outcome.FINISHED
            break
    attempt.tell_peaks()
    if outcome is Outcome.FINISHED:
        _finish(attempt, data)
    else:
        _hand_on(attempt)


def _finish(attempt: Attempt, data: setup.Data) -> None:
    """Make what the job is for; the other ranks stay until rank 0 has done it."""
    ranks = attempt.ranks
    ranks.part()
    if ranks.leads:
        # Late, for it loads transformers, which is to be loaded as `setup.quiet` wants it.
        from engine.trainer import finish

        finish.finish(attempt, _best_whole(attempt), data)
        ranks.say("done")
        return
    memory.free()
    ranks.await_lead(lambda: attempt.stop.requested, lambda: attempt.phase(Phase.IDLE))
    if (word := ranks.heard()).get("kind") == "failed":
        raise TrainingError(str(word.get("of")), str(word.get("what")), str(word.get("advice")))
    if word:
        attempt.events.append(EventType.RESULT, sync=True, node=ranks.node)


def _hand_on(attempt: Attempt) -> None:
    """Training was stopped or paused: the supervisors of the other machines are to end in the same state."""
    ranks, folder = attempt.ranks, attempt.folder
    wish = ranks.told(next((name for name in ("stop", "pause") if folder.has_request(name)), None))
    if wish is not None and ranks.node > 0 and ranks.local == 0:
        folder.request(wish)


def _goes_on(attempt: Attempt) -> bool:
    """After a divergence: does training go on, from an earlier checkpoint? Rank 0 decides."""
    ranks = attempt.ranks

    def decide() -> tuple[bool, int, float | None, Progress]:
        goes_on = divergence.go_on(attempt, attempt.diverged)
        return goes_on, attempt.rollbacks, attempt.rate, attempt.progress

    goes_on, attempt.rollbacks, attempt.rate, progress = ranks.lead_does(decide)
    if not ranks.leads:
        attempt.progress = progress
        attempt.shrink(**progress.shrunk)
        memory.free()
    return goes_on


def _train(attempt: Attempt, data: setup.Data) -> Outcome:
    """Set up and train, from the newest whole checkpoint if there is one; saves on the way and at the end.

    When it returns, the model is gone and its memory is free to be used again.
    """
    resumed = _resume_together(attempt)
    divergence.heed(attempt)
    with attempt.stop.at_once():
        trainer, total_steps = setup.build(attempt, data, resumed)
        if resumed is not None:
            sharding.check(resumed.path, trainer)
    # SIGTERM may have forced the checkpoint before its evaluation was done: it gets it now.
    owed = resumed is not None and resumed.score is None and _evaluated_at(trainer, resumed.step, total_steps)
    done = attempt.progress.finished or (resumed is not None and resumed.step >= total_steps)
    if attempt.leaving():
        return Outcome.STOPPED
    try:
        if done:
            if resumed is not None and (owed or attempt.progress.asked is not None):
                trainer.evaluate_checkpoint(resumed.path)
            return Outcome.FINISHED
        trainer.args.eval_on_start = owed
        trainer.train(resume_from_checkpoint=str(resumed.path) if resumed is not None else None)
    except StopNow:
        if resumed is None or trainer.state.global_step > resumed.step:
            trainer.save_now()
        return _stopped(trainer)
    except Diverged as seen:
        # Without its traceback, which holds the model.
        attempt.diverged = seen.with_traceback(None)
        return Outcome.DIVERGED
    except (RuntimeError, MemoryError) as error:
        if not failures.out_of_memory(error):
            raise
        attempt.exhausted = failures.first_line(error)
        return Outcome.OUT_OF_MEMORY
    if attempt.progress.finished or trainer.state.global_step >= total_steps:
        return Outcome.FINISHED
    return _stopped(trainer)


def _evaluated_at(trainer: Any, step: int, total_steps: int) -> bool:
    """Is a step one that is evaluated?"""
    return step % trainer.args.eval_steps == 0 or step >= total_steps


def _stopped(trainer: Any) -> Outcome:
    log.line(f"stopped at step {trainer.state.global_step}, as asked")
    return Outcome.STOPPED


def _resume_together(attempt: Attempt) -> checkpoints.Checkpoint | None:
    """The checkpoint that rank 0 goes on from, on this machine, and its progress."""
    ranks = attempt.ranks
    resumed = ranks.lead_does(lambda: _resume(attempt))
    progress = ranks.told(attempt.progress)
    if not ranks.leads:
        attempt.score = None
        attempt.restore(progress)
    if resumed is None or ranks.nodes == 1:
        return resumed
    copy = checkpoints.staging(attempt.folder, "received") / resumed.path.name
    return replace(resumed, path=ranks.share(resumed.path, copy))


def _resume(attempt: Attempt) -> checkpoints.Checkpoint | None:
    """The newest checkpoint whose hashes are all right, its progress restored; None to start from nothing."""
    _check_best(attempt)
    attempt.score = None
    for step in checkpoints.steps(attempt.folder):
        path = attempt.folder.checkpoint(step)
        try:
            if damage := checkpoints.damage(path):
                raise ValueError(damage)
            progress = Progress.load(path)
        except ValueError as error:
            _set_aside(attempt, step, str(error), "going back to the one before it")
            continue
        found = checkpoints.read(path)
        if found.score is not None:
            # Its evaluation may have come after it was saved.
            progress.scorer.add_eval(step, found.score.metrics.eval_loss)
            progress.trend.add_eval(step, found.score.metrics.eval_loss)
        attempt.restore(progress)
        return found
    attempt.restore(Progress(_scorer(attempt.spec)))
    return None


def _scorer(spec: JobSpec) -> RunScorer:
    """Scores a job's checkpoints, all by the formula of their method."""
    return RunScorer(spec.score.weights(), _FORMULAS.get(spec.method, FORMULA))


def _check_best(attempt: Attempt) -> None:
    """Make sure that the best checkpoint is whole: rotation spares it at the others' cost."""
    for best in checkpoints.by_score(checkpoints.readable(attempt.folder)):
        damage = checkpoints.damage(best.path)
        if not damage:
            return
        _set_aside(attempt, best.step, damage, "the next best takes its place")


def _set_aside(attempt: Attempt, step: int, damage: str, action: str) -> None:
    """Take a damaged checkpoint out of the way, and tell."""
    path = attempt.folder.checkpoint(step)
    checkpoints.set_aside(path)
    attempt.recovery(f"{path.name} is damaged ({damage})", action, step)
    place = str(path.relative_to(attempt.folder.path))
    attempt.events.append(EventType.CHECKPOINT, step, path=place, removed=True)


def _best_whole(attempt: Attempt) -> checkpoints.Checkpoint:
    """The best checkpoint by score, or else the newest, of those whose hashes are all right."""
    _check_best(attempt)
    candidates = checkpoints.readable(attempt.folder)
    for candidate in [*checkpoints.by_score(candidates), *candidates]:
        if not checkpoints.damage(candidate.path):
            return candidate
    raise TrainingError(
        "unknown", f"{attempt.folder.checkpoints}: no whole checkpoint is left", "Train again."
    )
