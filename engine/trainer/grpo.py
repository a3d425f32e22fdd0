"""Group relative policy optimization: completions rewarded against their group, through TRL's GRPOTrainer."""

from __future__ import annotations

from trl import GRPOConfig, GRPOTrainer

from engine.trainer import group
from engine.trainer.group import Grouped
from engine.trainer.methods import Ingredients


class GRPO(Grouped, GRPOTrainer):
    """TRL's trainer, with what `Grouped` changes."""


def trainer(job: Ingredients) -> GRPO:
    """The trainer for these rows.

    Raises:
        TrainingError: Of kind `tokenizer`, `dataset` or `model`: prompts or reward model can't be used.
    """
    assert job.spec.rlhf is not None
    config = GRPOConfig(
        **job.arguments,
        **group.arguments(job.spec),
        entropy_coef=job.spec.rlhf.entropy_coef,
    )
    return group.build(GRPO, config, job)
