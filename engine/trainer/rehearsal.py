"""Before step 1: the longest batch, an eval batch and a save are tried, so that what fails, fails at once.

Nothing of it stays: weights, gradients, optimizer, random states and the order of the data are as before.
Running out of memory here is dealt with as in training, an hour earlier.
"""

from __future__ import annotations

import copy
import random
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from engine.job.events import Phase
from engine.job.spec import JobSpec
from engine.trainer import log, memory
from engine.trainer.attempt import Attempt
from engine.trainer.hooks import PodiumTrainer
from engine.trainer.stop import StopNow

if TYPE_CHECKING:
    from transformers import TrainerCallback as _Base
else:
    from transformers.trainer_callback import TrainerCallback as _Base

_COUNTED: Final = ("_metrics", "_logs", "_stored_metrics", "_sums", "_counts", "_tr_loss", "state")
"""What trainers change in place as they count; whatever else they set is put back as it was."""

_LARGE: Final = 50_000_000
"""Weights from which on a first batch, evaluation and save are far enough apart."""

_STATE_BYTES: Final = 8
"""Of AdamW, a trained weight; other optimizers take less."""


@dataclass(slots=True)
class Tried:
    """What was tried.

    Args:
        rows: Rows of the longest batch.
        longest_tokens: Tokens of its longest row; with completions yet to be drawn, the most there may be.
        eval_rows: Rows of the eval batch.
        checkpoint_bytes: What a checkpoint takes, the optimizer's state included.
        peak_memory_gb: The most GPU memory in use meanwhile, GB (10⁹ bytes); None without a GPU.
        seconds: How long it took.
    """

    rows: int = 0
    longest_tokens: int = 0
    eval_rows: int = 0
    checkpoint_bytes: int = 0
    peak_memory_gb: float | None = None
    seconds: float = 0.0


def wanted(spec: JobSpec, model: Any) -> bool:
    """Is a model to be rehearsed with?"""
    if spec.training.rehearsal is not None:
        return spec.training.rehearsal
    return bool(model.num_parameters() >= _LARGE)


class Rehearsal(_Base):
    """The callback that tries; put it before those that count from the beginning of training.

    Args:
        attempt: What the parts of the trainer share.
        trainer: The trainer.
    """

    def __init__(self, attempt: Attempt, trainer: Any) -> None:
        self.attempt = attempt
        self.trainer = trainer

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Everything is ready; a run that goes on from a checkpoint has proven itself."""
        if state.global_step > 0:
            return
        begun, tried = time.monotonic(), Tried()
        self.attempt.phase(Phase.REHEARSE, 0)
        try:
            with _unchanged(self.trainer):
                self._batch(tried)
                self._evaluation(tried)
                self._save(tried)
        except StopNow:
            return
        finally:
            memory.free()
        tried.seconds = time.monotonic() - begun
        self.attempt.phase(Phase.REHEARSE, 0, rehearsal=asdict(tried))
        log.line(
            f"rehearsed in {tried.seconds:.1f} s: {tried.rows} rows of up to {tried.longest_tokens} tokens, "
            f"an evaluation and a save ({tried.checkpoint_bytes / 1e6:.1f} MB)"
        )

    def _batch(self, tried: Tried) -> None:
        """Forward and backward of the longest rows, with the room that the optimizer will take."""
        trainer = self.trainer
        ballast = self._ballast()
        model = trainer.model_wrapped
        model.train()
        worst = trainer.worst_batch()
        tried.rows, tried.longest_tokens = worst.rows, worst.tokens
        with trainer.compute_loss_context_manager():
            loss = trainer.compute_loss(model, worst.inputs)
        trainer.accelerator.backward(loss)
        model.zero_grad(set_to_none=True)
        del worst, loss, ballast
        tried.peak_memory_gb = self.attempt.peaks.now()

    def _ballast(self) -> Any:
        """As much GPU memory as the optimizer's state will take; it is made at the first step alone."""
        import torch

        if not torch.cuda.is_available():
            return None
        weights = sum(item.numel() for item in self.trainer.model.parameters() if item.requires_grad)
        each = 2 if "8bit" in self.attempt.spec.training.optimizer else _STATE_BYTES
        return torch.empty(weights * each, dtype=torch.uint8, device="cuda")

    def _evaluation(self, tried: Tried) -> None:
        """One eval batch, of the longest rows."""
        trainer = self.trainer

        def evaluate() -> None:
            rows, _ = trainer.longest(trainer.eval_dataset, trainer.args.per_device_eval_batch_size)
            tried.eval_rows = len(rows)
            trainer.evaluation_loop(
                trainer.get_eval_dataloader(rows), description="rehearsal", prediction_loss_only=True
            )

        memory.with_smaller_batches(trainer, evaluate)

    def _save(self, tried: Tried) -> None:
        """A checkpoint, aside; afterwards it is gone. Tells when the disk is too small for the run."""
        # Each rank has a place of its own to save in.
        attempt, place = self.attempt, Path(self.trainer.args.output_dir)
        trainer: Any = super(PodiumTrainer, self.trainer)
        trainer._save_checkpoint(self.trainer.model, None)
        written = sum(path.stat().st_size for path in place.rglob("*") if path.is_file())
        weights = sum(item.numel() for item in self.trainer.model.parameters() if item.requires_grad)
        tried.checkpoint_bytes = written + weights * _STATE_BYTES
        shutil.rmtree(place, ignore_errors=True)
        count = (attempt.spec.training.keep_checkpoints or 0) + 3
        free = shutil.disk_usage(attempt.folder.path).free
        if free < count * tried.checkpoint_bytes:
            needed = f"{count} checkpoints of {tried.checkpoint_bytes / 1e9:.1f} GB"
            attempt.alert("disk_warning", f"{free / 1e9:.1f} GB free, {needed} are to come", "warning", 0)


@contextmanager
def _unchanged(trainer: Any) -> Iterator[None]:
    """Everything that training starts from is the same afterwards."""
    import numpy
    import torch

    states = random.getstate(), numpy.random.get_state()
    own = vars(trainer)
    before = dict(own) | {name: copy.deepcopy(own[name]) for name in _COUNTED if name in own}
    modes = {module: module.training for module in trainer.model.modules()}
    devices = range(torch.cuda.device_count()) if torch.cuda.is_available() else ()
    try:
        with torch.random.fork_rng(list(devices)):
            yield
    finally:
        random.setstate(states[0])
        numpy.random.set_state(states[1])
        for module, training in modes.items():
            module.training = training
        own.clear()
        own.update(before)
