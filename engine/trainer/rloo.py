"""REINFORCE leave-one-out: completions rewarded against the others of their prompt, by TRL's RLOOTrainer."""

from __future__ import annotations

from typing import Any

from trl import RLOOConfig, RLOOTrainer

from engine.job.spec import JobSpec
from engine.trainer import group
from engine.trainer.group import Grouped, Rows


class RLOO(Grouped, RLOOTrainer):
    """TRL's trainer, with what `Grouped` changes."""


def trainer(
    spec: JobSpec,
    model: Any,
    tokenizer: Any,
    train: Rows,
    held_out: Rows,
    format: str,
    arguments: dict[str, Any],
) -> RLOO:
    """The trainer for these rows.

    Args:
        spec: The job.
        model: The model, without adapters.
        tokenizer: Its tokenizer.
        train: The rows to train on.
        held_out: The rows to evaluate on.
        format: The rows' format, `prompt`.
        arguments: What every method's arguments have in common.

    Raises:
        TrainingError: Of kind `tokenizer`, `dataset` or `model`: prompts or reward model can't be used.
    """
    assert spec.rlhf is not None
    config = RLOOConfig(
        **arguments,
        **group.arguments(spec),
    )
    return group.build(RLOO, config, spec, model, tokenizer, train, held_out)
