"""When memory runs out: smaller micro-batches, and as many more of them, so that the same is learnt."""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import Any

from engine.errors import TrainingError
from engine.trainer import failures, gpus
from engine.trainer.attempt import Attempt


def shrink(attempt: Attempt) -> None:
    """Make the next go at training need less memory, with the same rows in every optimizer step.

    The micro-batch is halved (or divided by more, so that the steps stay whole) and accumulated as much
    longer; a single row is computed with activation checkpointing, where it is not yet: what the spec leaves
    open was chosen when the model was set up, and is on before that.

    Raises:
        TrainingError: Nothing is left to be made smaller.
    """
    training = attempt.spec.training
    if training.batch_size > 1:
        size = max(rows for rows in range(1, training.batch_size // 2 + 1) if training.batch_size % rows == 0)
        accumulation = training.gradient_accumulation_steps * (training.batch_size // size)
        attempt.shrink(batch_size=size, gradient_accumulation_steps=accumulation)
        action = f"going on with batches of {size}, {accumulation} of them a step"
    elif training.gradient_checkpointing is False:
        attempt.shrink(gradient_checkpointing=True)
        action = "going on with activation checkpointing"
    else:
        raise TrainingError(
            "out_of_memory",
            f"memory ran out with a single row a batch ({attempt.exhausted})",
            "Lower training.max_length, use quantization, or take a larger GPU.",
        )
    attempt.recovery(f"memory ran out in training ({attempt.exhausted})", action)
    free()


def with_smaller_batches(trainer: Any, evaluate: Callable[[], Any]) -> Any:
    """Run an evaluation; when memory runs out, again with half the rows a batch.

    The loss weighs tokens alike, so that it does not depend on the batches.

    Args:
        trainer: The trainer whose `per_device_eval_batch_size` is halved.
        evaluate: The evaluation.

    Raises:
        RuntimeError, MemoryError: It does not even fit row by row.
    """
    import torch

    state = torch.get_rng_state()
    while True:
        try:
            return evaluate()
        except (RuntimeError, MemoryError) as error:
            if not failures.out_of_memory(error) or trainer.args.per_device_eval_batch_size == 1:
                raise
            if not trainer.attempt.ranks.alone:
                trainer.attempt.evaluating = True
                raise
            reason = failures.first_line(error)
        _halve(trainer, reason)
        # What training draws next must not depend on how often the evaluation was begun.
        torch.set_rng_state(state)


def free() -> None:
    """Give back what is no longer used."""
    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def free_gpus() -> None:
    """The same between phases whose needs differ, where there is a GPU: elsewhere it buys nothing."""
    if gpus.device() is not None:
        free()


def _halve(trainer: Any, reason: str) -> None:
    size = trainer.args.per_device_eval_batch_size // 2
    trainer.args.per_device_eval_batch_size = size
    trainer.attempt.shrink(eval_batch_size=size)
    trainer.attempt.recovery(
        f"memory ran out in an evaluation ({reason})",
        f"evaluating with batches of {size}",
        trainer.state.global_step,
    )
    free()
