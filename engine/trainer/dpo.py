"""Direct preference optimization: chosen answers over rejected ones, through TRL's DPOTrainer.

The reference is the model as it was before training: with adapters the model without them, else a copy.
"""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any, Final

from trl import DPOConfig, DPOTrainer

from engine.trainer.lora import lora_config
from engine.trainer.meter import seen
from engine.trainer.methods import Ingredients
from engine.trainer.preference import columns
from engine.trainer.refusals import need_rows
from engine.trainer.weighed import Weighed, WeighedEval, taken

_BY_PAIR: Final = ("rewards/", "logps/")


class DPO(WeighedEval, DPOTrainer):
    """TRL's trainer with figures that are means over pairs, whatever the eval batch size."""

    def count(self, inputs: dict[str, Any]) -> None:
        """A row is a pair: the batch holds the chosen answers, then the rejected ones."""
        found = seen(inputs, self.cut_at())
        assert found is not None
        trained = inputs["completion_mask"].sum()
        self.attempt.meter.add(replace(found, rows=found.rows // 2, trained=trained))

    def measured(self, inputs: dict[str, Any], loss: Any) -> Weighed:
        """Loss, rewards and log-probabilities by pair, the entropy by token."""
        figures = taken(self._metrics["eval"])
        mask = inputs["completion_mask"]
        pairs = len(mask) // 2
        by_pair = {name: (value, pairs) for name, value in figures.items() if name.startswith(_BY_PAIR)}
        return {"loss": (loss, pairs), "entropy": (figures["entropy"], int(mask[:, 1:].sum())), **by_pair}


def trainer(job: Ingredients) -> DPO:
    """TRL's trainer for these rows, tokenized; rows whose prompt alone fills `max_length` are left out.

    Raises:
        TrainingError: Of kind `tokenizer` without a chat template where rows are messages, of kind
            `dataset` when no row is left.
    """
    spec, model, tokenizer = job.spec, job.model, job.tokenizer
    assert spec.preference is not None
    config = DPOConfig(
        **job.arguments,
        max_length=spec.training.max_length,
        beta=spec.preference.beta,
        disable_dropout=False,
    )
    adapters = lora_config(spec)
    built = DPO(
        model=model,
        ref_model=copy.deepcopy(model) if adapters is None else None,
        args=config,
        train_dataset=columns(job.train, tokenizer),
        eval_dataset=columns(job.held_out, tokenizer),
        processing_class=tokenizer,
        peft_config=adapters,
    )
    need_rows(spec, built.train_dataset, built.eval_dataset)
    return built
