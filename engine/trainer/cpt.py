"""Continued pre-training: the loss is on every token of plain text, through TRL's SFTTrainer."""

from __future__ import annotations

from typing import Any

from datasets import Dataset
from trl import SFTConfig

from engine.trainer.lora import lora_config
from engine.trainer.methods import Ingredients
from engine.trainer.sft import SFT

Rows = list[dict[str, Any]]


class CPT(SFT):
    """The trainer of fine-tuning, on texts."""

    def cut_at(self) -> int | None:
        """Packed texts are split, not cut."""
        return None if self.args.packing else super().cut_at()


def trainer(job: Ingredients) -> CPT:
    """TRL's trainer for these rows, tokenized, each with its end.

    Packed texts that are longer than `max_length` are split, so that all of them is learnt; texts that
    are not packed are cut there.
    """
    spec = job.spec
    config = SFTConfig(
        **job.arguments,
        max_length=spec.training.max_length,
        packing=spec.training.packing,
        packing_strategy="bfd_split",
        dataset_text_field="text",
    )
    return CPT(
        model=job.model,
        args=config,
        train_dataset=Dataset.from_list([{"text": row["text"]} for row in job.train]),
        eval_dataset=Dataset.from_list([{"text": row["text"]} for row in job.held_out]),
        processing_class=job.tokenizer,
        peft_config=lora_config(spec),
    )
