"""Continued pre-training: the loss is on every token of plain text, through TRL's SFTTrainer."""

from __future__ import annotations

from typing import Any

from datasets import Dataset
from trl import SFTConfig

from engine.job.spec import JobSpec
from engine.trainer.lora import lora_config
from engine.trainer.sft import SFT

Rows = list[dict[str, Any]]


class CPT(SFT):
    """The trainer of fine-tuning, on texts."""


def trainer(
    spec: JobSpec,
    model: Any,
    tokenizer: Any,
    train: Rows,
    held_out: Rows,
    format: str,
    arguments: dict[str, Any],
) -> CPT:
    """TRL's trainer for these rows, tokenized, each with its end.

    Packed texts that are longer than `max_length` are split, so that all of them is learnt; texts that
    are not packed are cut there.

    Args:
        spec: The job.
        model: The model, without adapters.
        tokenizer: Its tokenizer.
        train: The rows to train on.
        held_out: The rows to evaluate on.
        format: The rows' format, `text`.
        arguments: What every method's arguments have in common.
    """
    config = SFTConfig(
        **arguments,
        max_length=spec.training.max_length,
        packing=spec.training.packing,
        packing_strategy="bfd_split",
        dataset_text_field="text",
    )
    return CPT(
        model=model,
        args=config,
        train_dataset=Dataset.from_list([{"text": row["text"]} for row in train]),
        eval_dataset=Dataset.from_list([{"text": row["text"]} for row in held_out]),
        processing_class=tokenizer,
        peft_config=lora_config(spec),
    )
