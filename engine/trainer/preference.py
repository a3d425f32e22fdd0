"""What DPO and ORPO share: rows of a prompt, a chosen and a rejected answer."""

from __future__ import annotations

from typing import Any

from datasets import Dataset

from engine.errors import TrainingError
from engine.job.spec import JobSpec

Rows = list[dict[str, Any]]


def columns(rows: Rows, tokenizer: Any) -> Dataset:
    """The columns that TRL reads.

    Raises:
        TrainingError: Of kind `tokenizer`: messages, but no chat template.
    """
    if isinstance(rows[0]["prompt"], list) and not tokenizer.chat_template:
        raise TrainingError(
            "tokenizer",
            "the tokenizer has no chat template, which rows of messages need",
            "Set model.chat_template, or use the instruct model, or rows of text.",
        )
    names = ("prompt", "chosen", "rejected")
    return Dataset.from_list([{name: row[name] for name in names} for row in rows])


def nothing_left(spec: JobSpec) -> TrainingError:
    """The error for data whose prompts leave no room for an answer."""
    return TrainingError(
        "dataset",
        f"no answer is left within max_length {spec.training.max_length}: there is nothing to learn from",
        "Raise training.max_length or shorten the prompts.",
    )
