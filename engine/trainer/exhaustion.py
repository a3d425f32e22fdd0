"""Running out of memory with several ranks: one tells, all leave, and the next attempt needs less of it.

Others may wait for the one whose memory ran out in the midst of a backward pass, so nobody can go on from
there. What was learnt is kept in the job's folder until checkpoints carry it.
"""

from __future__ import annotations

from typing import Final

from engine.job.folder import read_json, write_json
from engine.trainer import memory
from engine.trainer.attempt import Attempt
from engine.trainer.distributed import Again

_NOTE: Final = "exhausted.json"
"""Left by the rank whose memory ran out, in its machine's folder of the job."""
_SHRUNK: Final = "shrunk.json"
"""Rank 0's: the training settings that differ from the spec's since."""


def leave(attempt: Attempt) -> None:
    """Leave word that memory ran out.

    Raises:
        Again: Always.
    """
    note = {"reason": attempt.exhausted, "evaluation": attempt.evaluating}
    write_json(attempt.folder.path / _NOTE, note)
    attempt.ranks.say("exhausted")
    raise Again


def heed(attempt: Attempt) -> None:
    """Do what the notes of the last attempt ask for, on all ranks alike.

    Raises:
        TrainingError: Nothing is left to be made smaller.
    """
    ranks, note = attempt.ranks, attempt.folder.path / _NOTE
    if ranks.alone:
        return
    attempt.shrink(**ranks.told(read_json(attempt.folder.path / _SHRUNK)))
    notes = [found for found in ranks.all(read_json(note) if ranks.local == 0 else {}) if found]
    if not notes:
        return
    attempt.exhausted = str(notes[0].get("reason"))
    if all(found.get("evaluation") for found in notes):
        _smaller_evaluations(attempt)
    else:
        memory.shrink(attempt)
    if ranks.leads:
        write_json(attempt.folder.path / _SHRUNK, attempt.progress.shrunk)
    if ranks.local == 0:
        note.unlink(missing_ok=True)


def _smaller_evaluations(attempt: Attempt) -> None:
    training = attempt.spec.training
    size = max(1, (training.eval_batch_size or training.batch_size) // 2)
    attempt.shrink(eval_batch_size=size)
    failure = f"memory ran out in an evaluation ({attempt.exhausted})"
    attempt.recovery(failure, f"evaluating with batches of {size}")
