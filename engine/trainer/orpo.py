"""Odds ratio preference optimization: chosen answers over rejected ones without a reference model.

Through TRL's ORPOTrainer, which is experimental there: nothing else of Podium may import it.
"""

from __future__ import annotations

from typing import Any

import torch
from datasets import Dataset
from trl.experimental.orpo import ORPOConfig, ORPOTrainer

from engine.trainer.lora import lora_config
from engine.trainer.meter import Seen
from engine.trainer.methods import Ingredients
from engine.trainer.preference import columns
from engine.trainer.refusals import need_rows
from engine.trainer.weighed import Weighed, WeighedEval


class ORPO(WeighedEval, ORPOTrainer):
    """TRL's trainer with figures that are means over tokens or pairs, whatever the eval batch size."""

    def count(self, inputs: dict[str, Any]) -> None:
        """A row is a pair; the tokens are those of both its answers, the prompt with each."""
        sides = ("chosen", "rejected")
        masks = [inputs[f"{side}_attention_mask"] for side in sides]
        lengths = torch.cat([mask.sum(1) for mask in masks])
        trained = sum((inputs[f"{side}_labels"] != -100).sum() for side in sides)
        slots = sum(mask.numel() for mask in masks)
        cut = (lengths >= self.attempt.spec.training.max_length).sum()
        self.attempt.meter.add(Seen(lengths, len(masks[0]), slots, trained, cut))

    def measured(self, inputs: dict[str, Any], loss: Any) -> Weighed:
        """The likelihood's part of the loss by token, all else by pair."""
        stored = self._stored_metrics.pop("eval")
        figures = {name.removeprefix("eval_"): values[-1] for name, values in stored.items()}
        pairs = len(inputs["chosen_labels"])
        nll = figures.pop("nll_loss")
        tokens = int(inputs["chosen_attention_mask"][:, 1:].sum())
        by_pair = {name: (value, pairs) for name, value in figures.items() if not name.startswith("logits/")}
        return {"nll_loss": (nll, tokens), _RATIO_LOSS: (loss - nll, pairs), **by_pair}

    def evaluation_loop(self, *arguments: Any, **options: Any) -> Any:
        """All eval batches; the loss is put together from its two parts, each rightly weighed."""
        result = super().evaluation_loop(*arguments, **options)
        prefix = options.get("metric_key_prefix", "eval")
        ratio = result.metrics.pop(f"{prefix}_{_RATIO_LOSS}")
        result.metrics[f"{prefix}_loss"] = result.metrics[f"{prefix}_nll_loss"] + ratio
        return result


_RATIO_LOSS = "ratio_loss"


def trainer(job: Ingredients) -> ORPO:
    """TRL's trainer for these rows, tokenized; rows whose prompt alone fills `max_length` are left out.

    Raises:
        TrainingError: Of kind `tokenizer` without a chat template where rows are messages, of kind
            `dataset` when no row is left.
    """
    spec, tokenizer = job.spec, job.tokenizer
    assert spec.preference is not None
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    config = ORPOConfig(
        **job.arguments,
        max_length=spec.training.max_length,
        beta=spec.preference.beta,
        disable_dropout=False,
        remove_unused_columns=False,
    )
    built = ORPO(
        model=job.model,
        args=config,
        train_dataset=columns(job.train, tokenizer),
        eval_dataset=columns(job.held_out, tokenizer),
        processing_class=tokenizer,
        peft_config=lora_config(spec),
    )
    built.train_dataset = _answered(built.train_dataset)
    built.eval_dataset = _answered(built.eval_dataset)
    need_rows(spec, built.train_dataset, built.eval_dataset)
    return built


def _answered(dataset: Dataset) -> Dataset:
    """The rows both of whose answers have a token left."""
    return dataset.filter(
        lambda row: all(row[f"{side}_labels"][-1:] != [-100] for side in ("chosen", "rejected"))
    )
