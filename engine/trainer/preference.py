"""What DPO and ORPO share: rows of a prompt, a chosen and a rejected answer."""

from __future__ import annotations

from typing import Any

from datasets import Dataset

from engine.trainer.refusals import need_chat_template

Rows = list[dict[str, Any]]


def columns(rows: Rows, tokenizer: Any) -> Dataset:
    """The columns that TRL reads.

    Raises:
        TrainingError: Of kind `tokenizer`: messages, but no chat template.
    """
    if isinstance(rows[0]["prompt"], list):
        need_chat_template(tokenizer, "rows", "rows of text")
    names = ("prompt", "chosen", "rejected")
    return Dataset.from_list([{name: row[name] for name in names} for row in rows])
