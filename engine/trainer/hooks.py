"""What Podium changes in transformers' Trainer: atomic checkpoints, true speed, nothing else."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.errors import TrainingError
from engine.job.events import EventType, Phase
from engine.trainer import checkpoints, divergence, gradients, log, memory
from engine.trainer.attempt import Attempt
from engine.trainer.lengths import longest, token_counts
from engine.trainer.meter import seen

if TYPE_CHECKING:
    from transformers import Trainer as _Base
else:
    _Base = object


@dataclass(frozen=True, slots=True)
class Batch:
    """The micro-batch of a method that takes the most memory.

    Args:
        inputs: What `compute_loss` takes, on the device.
        rows: Its rows.
        tokens: Tokens of the longest of them.
    """

    inputs: Any
    rows: int
    tokens: int


class PodiumTrainer(_Base):
    """A mixin for transformers' Trainer and its descendants; put it first among the bases.

    `output_dir` must be the staging folder: what the Trainer saves there is hashed, synced and renamed
    into the job's `checkpoints/`, and rotation is done here.
    """

    attempt: Attempt
    """Set before training starts."""

    def training_step(self, model: Any, inputs: dict[str, Any], *rest: Any, **options: Any) -> Any:
        """One micro-step; its rows and tokens are counted."""
        self.count(inputs)
        return super().training_step(model, inputs, *rest, **options)

    def count(self, inputs: dict[str, Any]) -> None:
        """Count a micro-batch's rows and tokens."""
        if (found := seen(inputs, self.cut_at())) is not None:
            self.attempt.meter.add(found)

    def cut_at(self) -> int | None:
        """The tokens that longer rows are cut to; None where none is."""
        return self.attempt.spec.training.max_length

    def _get_grad_norm(self, model: Any, grad_norm: Any = None) -> Any:
        """The norm of all gradients before clipping; in some steps each layer's is told, too."""
        norm = super()._get_grad_norm(model, grad_norm)
        step = self.state.global_step + 1
        if self.attempt.looks_closely_at(step):
            total = None if norm is None else float(norm)
            gradients.tell(self.attempt, model, total, self.args.max_grad_norm, step)
        return norm

    def check_weights(self) -> None:
        """Before completions are drawn; `divergence.check_weights` says what is raised."""
        rate = self.lr_scheduler.base_lrs[0] if self.lr_scheduler is not None else self.args.learning_rate
        divergence.check_weights(self.attempt, self.model, self.state.global_step, rate)

    def longest(self, rows: Any, count: int) -> tuple[Any, int]:
        """The longest rows of a dataset, at most `count`, as one of its kind; the tokens of the longest."""
        lengths: Any = token_counts(rows)
        chosen = longest(lengths, count)
        return rows.select(chosen), int(lengths[chosen[0]])

    def worst_batch(self) -> Batch:
        """A micro-batch of the longest rows; whatever it changes in the trainer, the rehearsal puts back."""
        rows, tokens = self.longest(self.train_dataset, self.args.per_device_train_batch_size)
        inputs = self._prepare_inputs(self.data_collator([rows[at] for at in range(len(rows))]))
        return Batch(inputs, len(rows), tokens)

    def evaluate(self, *arguments: Any, **options: Any) -> Any:
        """One evaluation; its time does not count as training, and running out of memory does not end it."""
        with self.attempt.meter.paused():
            memory.free_gpus()
            self.attempt.phase(Phase.EVAL, self.state.global_step)
            metrics = memory.with_smaller_batches(
                self, lambda: super(PodiumTrainer, self).evaluate(*arguments, **options)
            )
            memory.free_gpus()
            self.attempt.phase(Phase.TRAIN, self.state.global_step)
            return metrics

    def create_model_card(self, *arguments: Any, **options: Any) -> None:
        """No card in every checkpoint: TRL would write one that knows nothing of this job."""

    def _load_from_checkpoint(self, *arguments: Any, **options: Any) -> None:
        """Weights from a checkpoint; those of another model or of other adapters are an error."""
        try:
            super()._load_from_checkpoint(*arguments, **options)
        except (RuntimeError, ValueError) as error:
            # Others come of the machine, or of a rank that is gone, and may not come again.
            if isinstance(error, RuntimeError) and "loading state_dict" not in str(error):
                raise
            raise _other("model", "model", error) from error

    def _load_optimizer_and_scheduler(self, checkpoint: Any) -> None:
        """Likewise; an optimizer of another kind takes the state in, and fails at its first step."""
        try:
            super()._load_optimizer_and_scheduler(checkpoint)
        except (ValueError, KeyError) as error:
            raise _other("spec", "optimizer", error) from error
        optimizer: Any = getattr(self.optimizer, "optimizer", self.optimizer)
        if lacking := [name for name in optimizer.defaults if name not in optimizer.param_groups[0]]:
            raise _other("spec", "optimizer", KeyError(lacking[0]))

    def _issue_warnings_after_load(self, load_result: Any) -> None:
        """A checkpoint that does not fit the model is an error; tied weights are saved once and fit."""
        tied = getattr(self.model, "all_tied_weights_keys", None) or {}
        strange = [
            *load_result.unexpected_keys,
            *(key for key in load_result.missing_keys if key not in tied),
        ]
        if strange:
            raise TrainingError(
                "model",
                f"the checkpoint does not fit the model ({len(strange)} weights, such as {strange[0]})",
                "Was model.name changed? Start a new job.",
            )
        self.model.tie_weights()

    def restore_progress(self) -> None:
        """Go on in the middle of a logging window: the next logged loss is the one it would have been."""
        import torch

        progress = self.attempt.progress
        self._tr_loss = torch.tensor(progress.loss_sum, device=self.args.device)
        self._globalstep_last_logged = progress.logged_step
        self.attempt.meter.restart(progress.tokens)

    def evaluate_checkpoint(self, path: Path) -> None:
        """Evaluate a checkpoint that training ended with before it could be."""
        from transformers import TrainerState

        self._load_from_checkpoint(str(path))
        self.state = TrainerState.load_from_json(str(path / "trainer_state.json"))
        self.args.eval_on_start = True
        self.evaluate()

    def save_now(self) -> None:
        """Save a checkpoint of the step that was reached, outside the training loop."""
        self._save_checkpoint(self.model, None)

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        """Save aside, publish, rotate, and tell."""
        attempt, step = self.attempt, self.state.global_step
        with attempt.meter.paused():
            attempt.phase(Phase.SAVE, step)
            super()._save_checkpoint(model, trial)
            ranks, written = attempt.ranks, Path(self.args.output_dir) / f"checkpoint-{step}"
            attempt.progress.loss_sum = ranks.sums(self._tr_loss.item())[0] / ranks.world
            attempt.progress.logged_step = self._globalstep_last_logged
            attempt.progress.tokens = attempt.meter.total()
            attempt.progress.seconds += attempt.clock.lap()
            ranks.gather_files(written, written)
            if ranks.leads:
                attempt.progress.save(written)
                self._publish(written, step)
            else:
                shutil.rmtree(self.args.output_dir)
            attempt.phase(Phase.TRAIN, step)

    def _publish(self, written: Path, step: int) -> None:
        attempt = self.attempt
        score = attempt.score if attempt.score is not None and attempt.score.metrics.step == step else None
        saved = checkpoints.publish(written, attempt.folder, step, score, self.state.epoch)
        announce(attempt, saved)
        rotate(attempt)


def _other(kind: str, what: str, error: Exception) -> TrainingError:
    """A checkpoint that the job, as it is now, can't go on from."""
    # Where the first line is a heading, the second one says what does not fit.
    reason = str(error).strip().partition(":\n")[2].strip() or str(error)
    return TrainingError(
        kind,
        f"the checkpoint does not fit the {what} ({reason.splitlines()[0][:200]})",
        "Take back what was changed in the spec since it was saved, or start a new job.",
    )


def announce(attempt: Attempt, saved: checkpoints.Checkpoint) -> None:
    """Read a checkpoint back and tell the wire of it."""
    damage = checkpoints.damage(saved.path)
    if damage:
        attempt.alert("checkpoint_damaged", f"checkpoint-{saved.step}: {damage}", "error", saved.step)
    attempt.events.append(
        EventType.CHECKPOINT,
        saved.step,
        sync=True,
        path=str(saved.path.relative_to(attempt.folder.path)),
        bytes=saved.bytes,
        sha256=saved.sha256,
        score=saved.score.to_json() if saved.score is not None else None,
        verified=not damage,
    )
    log.line(f"step {saved.step}  saved checkpoint-{saved.step} ({saved.bytes / 1e6:.1f} MB)")


def rotate(attempt: Attempt) -> None:
    """Remove checkpoints that are neither the best, the newest nor among the ones to keep."""
    for old in checkpoints.surplus(
        checkpoints.readable(attempt.folder), attempt.spec.training.keep_checkpoints
    ):
        checkpoints.remove(old)
        path = str(old.path.relative_to(attempt.folder.path))
        attempt.events.append(EventType.CHECKPOINT, old.step, path=path, removed=True)
