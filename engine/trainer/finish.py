"""The end of a job: the best checkpoint's model, merged, described and pushed; resumable at each of these.

    final/            of a full fine-tune the model itself, its card README.md, and made.json
    final/adapter/    of a job with adapters
    final/merged/     with finish.merge: adapter and base as one model

It is made aside and renamed when it is whole. What a crash leaves aside is gone on with, when it was made
from the same checkpoint.
"""

from __future__ import annotations

import shutil
from dataclasses import asdict
from fnmatch import fnmatch
from pathlib import Path
from typing import Final

from engine.errors import TrainingError
from engine.job.events import EventType, Phase, number, plain
from engine.job.folder import read_json, write_json
from engine.job.spec import JobSpec
from engine.trainer import checkpoints, failures, hub, log, memory, merge
from engine.trainer.attempt import Attempt
from engine.trainer.card import card, evaluations, started
from engine.trainer.merge import Parity
from engine.trainer.setup import Data

ADAPTER: Final = "adapter"
MERGED: Final = "merged"
MADE: Final = "made.json"
_ASIDE: Final = ".final.tmp"

_MERGING: Final = "merging"
"""In made.json: how many attempts have begun to merge and were killed before they could say how it went."""
_MOST: Final = 2
"""As many such attempts are enough: a machine short of memory would kill the next one, too."""

FOR_RESUMING: Final = (
    "optimizer.pt",
    "optimizer.bin",
    "pytorch_model_fsdp.bin",
    "scheduler.pt",
    "scaler.pt",
    "rng_state*.pth",
    "trainer_state.json",
    "training_args.bin",
    "progress.json",
    "rollout*.safetensors",
    checkpoints.MANIFEST,
)
"""Files of a checkpoint that are no part of the model."""


def finish(attempt: Attempt, best: checkpoints.Checkpoint, data: Data) -> None:
    """Make `final/` of the best checkpoint, push it if that is wished, and tell the result.

    Args:
        attempt: What the parts of the trainer share.
        best: The checkpoint to make it of; its hashes are right.
        data: The job's rows, to compare the merged model on.
    """
    memory.free()
    # As it was asked for: this machine may compute in another dtype than the model is to have.
    spec = JobSpec.from_json(attempt.folder.spec)
    final = attempt.folder.final
    if read_json(final / MADE).get("checkpoint") != best.sha256:
        _make(attempt, spec, best, data)
    made = read_json(final / MADE)
    pushed = _push(attempt, spec, best.step) if spec.finish.push_to_hub is not None else None
    newest = checkpoints.readable(attempt.folder)[0]
    attempt.peaks.turn(Phase.IDLE)
    attempt.tell_peaks(newest.step)
    attempt.events.append(
        EventType.RESULT,
        newest.step,
        sync=True,
        best_step=best.step,
        best_score=best.score.total if best.score is not None else None,
        best_checkpoint_path=str(best.path.relative_to(attempt.folder.path)),
        final_path=final.name,
        merged_path=f"{final.name}/{MERGED}" if (final / MERGED).is_dir() else None,
        parity=made.get("parity"),
        hub_url=pushed,
        total_steps=newest.step,
        stopped_early=attempt.progress.finished,
        tokens=attempt.progress.tokens,
        seconds=attempt.progress.seconds,
    )
    log.line(f"finished: checkpoint-{best.step} is the best; its weights are in {final.name}/")


def _make(attempt: Attempt, spec: JobSpec, best: checkpoints.Checkpoint, data: Data) -> None:
    """`final/`, whole or not at all."""
    attempt.phase(Phase.SAVE, best.step)
    aside = attempt.folder.path / _ASIDE
    if read_json(aside / MADE).get("checkpoint") != best.sha256:
        shutil.rmtree(aside, ignore_errors=True)
        aside.mkdir()
        write_json(aside / MADE, {"checkpoint": best.sha256, "step": best.step})
    copy_model(best.path, aside / ADAPTER if spec.lora is not None else aside)
    if spec.finish.merge and parity_of(aside) is None:
        _merge(attempt, spec, aside, best, data)
    # Of a merge that failed, half a model may be left.
    shutil.rmtree(merge.aside(aside / MERGED), ignore_errors=True)
    evals = evaluations(attempt.folder.events)
    text = card(spec, started(attempt.folder.events), evals, best.step, parity_of(aside))
    (aside / "README.md").write_text(text, encoding="utf-8")
    shutil.rmtree(attempt.folder.final, ignore_errors=True)
    aside.rename(attempt.folder.final)


def parity_of(made: Path) -> Parity | None:
    """How the merged model there differs from the adapter; None where there is none, or not a whole one."""
    told = read_json(made / MADE).get("parity")
    if not isinstance(told, dict):
        return None
    floats = ("max_logit_difference", "loss", "loss_difference")
    quantized = number(told.get("quantized_loss"))
    return Parity(**told | {name: number(told[name]) for name in floats} | {"quantized_loss": quantized})


def copy_model(source: Path, target: Path) -> None:
    """Copy the files of a checkpoint, or of a folder, that are the model."""
    target.mkdir(exist_ok=True)
    for path in sorted(source.iterdir()):
        if path.is_file() and not any(fnmatch(path.name, pattern) for pattern in FOR_RESUMING):
            shutil.copyfile(path, target / path.name)


def _merge(attempt: Attempt, spec: JobSpec, aside: Path, best: checkpoints.Checkpoint, data: Data) -> None:
    """Merge; where that can't be done, the adapter is still there, and an alert says why."""
    _leave_if_asked(attempt)
    made = read_json(aside / MADE)
    killed = int(number(made.pop(_MERGING, 0)) or 0)
    if killed >= _MOST:
        message = f"not merged: killed {killed} times while merging, as a machine short of memory does"
        attempt.alert("merge_failed", f"{message}; final/{ADAPTER} is there", "error", best.step)
        return
    attempt.phase(Phase.MERGE, best.step)
    write_json(aside / MADE, made | {_MERGING: killed + 1})
    try:
        with attempt.stop.at_once():
            parity = merge.merge(
                spec, attempt.folder, aside / ADAPTER, aside / MERGED, data.eval, data.format
            )
    except (TrainingError, RuntimeError, MemoryError, ValueError) as error:
        if isinstance(found := failures.classify(error, attempt.folder), TrainingError):
            if found.kind == "disk_full":
                raise
            reason = found.what
        else:
            reason = failures.first_line(error)
        attempt.alert("merge_failed", f"not merged: {reason}; final/{ADAPTER} is there", "error", best.step)
        return
    finally:
        memory.free()
        write_json(aside / MADE, made | ({_MERGING: killed} if killed else {}))
    write_json(aside / MADE, plain(made | {"parity": asdict(parity)}))
    loss, logits = parity.loss_difference, parity.max_logit_difference
    told = f"merged: the loss differs by {loss:+.2e}, logits by {logits:.2e} at most"
    if parity.quantized_loss is not None:
        merged = parity.loss + parity.loss_difference
        log.line(f"on the quantized base the loss was {parity.quantized_loss:.4f}; merged it is {merged:.4f}")
    if parity.within:
        log.line(told)
    else:
        attempt.alert("merge_parity", f"{told}: more than rounding explains", "warning", best.step)


def _push(attempt: Attempt, spec: JobSpec, step: int) -> str | None:
    """The commit's address; None where it could not be pushed, which costs the job nothing else."""
    assert spec.finish.push_to_hub is not None
    _leave_if_asked(attempt)
    attempt.phase(Phase.PUSH, step)
    final = attempt.folder.final
    model = next((final / name for name in (MERGED, ADAPTER) if (final / name).is_dir()), final)
    try:
        with attempt.stop.at_once():
            address = hub.push([model, final], spec.finish.push_to_hub, spec.finish.hub_private)
    except TrainingError as error:
        attempt.alert("push_failed", f"not pushed: {error.what}. {error.advice}", "error", step)
        return None
    log.line(f"pushed to {spec.finish.push_to_hub}")
    return address


def _leave_if_asked(attempt: Attempt) -> None:
    """What takes long is not begun after SIGTERM; the next attempt goes on here."""
    if attempt.stop.requested:
        raise SystemExit(0)
