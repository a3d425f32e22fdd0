"""When the loss runs away or is no number: stop with what was best, or go back and try more gently."""

from __future__ import annotations

import math
from typing import Any, Final

from engine.errors import TrainingError
from engine.job.events import EventType, number
from engine.job.folder import read_json, write_json
from engine.trainer import checkpoints, memory
from engine.trainer.attempt import Attempt

ALARMS: Final = ("loss_nan", "loss_diverging")
"""The alerts that mean it."""

_MOST: Final = 3
"""Times that a process goes back before it gives up."""

_GENTLER: Final = 0.5
"""What the learning rate is multiplied with each time."""

_ADVICE: Final = "Lower training.learning_rate or training.max_grad_norm, or look at the data."

_NOTE: Final = "diverged.json"
"""In the job's folder: what was done about it, for the attempts that follow a crash."""


class Diverged(Exception):
    """Leave the training loop.

    Args:
        alarm: One of `ALARMS`.
        evidence: What was seen, one sentence.
        step: At which step.
        rate: The peak learning rate that it happened with.
    """

    def __init__(self, alarm: str, evidence: str, step: int, rate: float) -> None:
        super().__init__(evidence)
        self.alarm = alarm
        self.evidence = evidence.rstrip(".")
        self.step = step
        self.rate = rate


def go_on(attempt: Attempt, seen: Diverged) -> bool:
    """Do as the spec says; True when training is to go on from the checkpoint that is now the newest.

    After a loss that is no number that is the newest checkpoint with a score; when the loss rose, so that
    newer ones are worse, it is the best. Without any, training starts anew.

    Raises:
        TrainingError: Of kind `diverged`: it is to stop, and no checkpoint is worth keeping.
    """
    good = _good(attempt, seen.alarm)
    if attempt.spec.training.on_divergence == "stop" or attempt.rollbacks >= _MOST:
        if good is None:
            raise TrainingError("diverged", seen.evidence, _ADVICE)
        attempt.recovery(seen.evidence, f"stopping; checkpoint-{good.step} is still good", seen.step)
        attempt.progress.finished = True
        _note(attempt)
        return False
    attempt.rollbacks += 1
    attempt.rate = seen.rate * _GENTLER
    attempt.shrink(learning_rate=attempt.rate)
    _note(attempt)
    for newer in checkpoints.readable(attempt.folder):
        if good is None or newer.step > good.step:
            checkpoints.remove(newer)
            path = str(newer.path.relative_to(attempt.folder.path))
            attempt.events.append(EventType.CHECKPOINT, newer.step, path=path, removed=True)
    place = f"to {good.path.name}" if good is not None else "to the beginning"
    attempt.recovery(seen.evidence, f"going back {place} with a learning rate of {attempt.rate:g}", seen.step)
    memory.free()
    return True


def check_weights(attempt: Attempt, model: Any, step: int, rate: float) -> None:
    """Before completions are drawn: no distribution comes of weights that are no numbers.

    Raises:
        Diverged: Some are none, and the spec says what to do about it.
        TrainingError: Of kind `diverged`: some are none, and there is no going on.
    """
    import torch

    trained = [weights.detach() for weights in model.parameters() if weights.requires_grad]
    norms = [torch.linalg.vector_norm(weights, dtype=torch.float32) for weights in trained]
    if not norms or math.isfinite(float(sum(norm.to(norms[0].device) for norm in norms))):
        return
    evidence = f"the weights are no numbers after step {step}"
    if attempt.spec.training.on_divergence == "alert":
        raise TrainingError("diverged", f"{evidence}: no completion can be drawn", _ADVICE)
    raise Diverged("loss_nan", evidence, step, rate)


def heed(attempt: Attempt) -> None:
    """Go by what an earlier attempt decided; its checkpoint was written before it did. All ranks alike."""
    note = attempt.ranks.told(read_json(attempt.folder.path / _NOTE))
    progress, rate = attempt.progress, number(note.get("rate"))
    progress.finished |= note.get("finished") is True
    attempt.rollbacks = max(attempt.rollbacks, int(number(note.get("rollbacks")) or 0))
    if rate is not None and progress.shrunk.get("learning_rate") != rate:
        attempt.rate = rate
        attempt.shrink(learning_rate=rate)


def _note(attempt: Attempt) -> None:
    """Written before anything else is done about it, so that no crash forgets it."""
    told = {
        "finished": attempt.progress.finished,
        "rollbacks": attempt.rollbacks,
        "rate": attempt.progress.shrunk.get("learning_rate"),
    }
    write_json(attempt.folder.path / _NOTE, told)


def _good(attempt: Attempt, alarm: str) -> checkpoints.Checkpoint | None:
    """The checkpoint to go back to."""
    scored = [
        item
        for item in checkpoints.readable(attempt.folder)
        if item.score is not None and math.isfinite(item.score.total) and not checkpoints.damage(item.path)
    ]
    if alarm == "loss_diverging":
        scored = checkpoints.by_score(scored)
    return scored[0] if scored else None
