"""REINFORCE leave-one-out: completions rewarded against the others of their prompt, by TRL's RLOOTrainer."""

from __future__ import annotations

from trl import RLOOConfig, RLOOTrainer

from engine.trainer import group
from engine.trainer.group import Grouped
from engine.trainer.methods import Ingredients


class RLOO(Grouped, RLOOTrainer):
    """TRL's trainer, with what `Grouped` changes."""


def trainer(job: Ingredients) -> RLOO:
    """The trainer for these rows.

    Raises:
        TrainingError: Of kind `tokenizer`, `dataset` or `model`: prompts or reward model can't be used.
    """
    config = RLOOConfig(
        **job.arguments,
        **group.arguments(job.spec),
    )
    return group.build(RLOO, config, job)
