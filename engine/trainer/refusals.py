"""What data and tokenizers are refused for, said alike by every method."""

from __future__ import annotations

from typing import Any

from engine.errors import TrainingError
from engine.job.spec import JobSpec


def need_chat_template(tokenizer: Any, what: str, instead: str) -> None:
    """Refuse conversations that nothing can write down.

    Args:
        tokenizer: The model's.
        what: What is made of messages, such as `rows`.
        instead: What could be given in their place.

    Raises:
        TrainingError: Of kind `tokenizer`: it has no chat template.
    """
    if not tokenizer.chat_template:
        raise TrainingError(
            "tokenizer",
            f"the tokenizer has no chat template, which {what} of messages need",
            f"Set model.chat_template, or use the instruct model, or {instead}.",
        )


def need_rows(spec: JobSpec, *datasets: Any) -> None:
    """Refuse data whose prompts leave no room for an answer.

    Raises:
        TrainingError: Of kind `dataset`: one of the datasets has no rows left.
    """
    if not all(len(dataset) for dataset in datasets):
        raise nothing_left(spec)


def nothing_left(spec: JobSpec) -> TrainingError:
    """The error for data without a token to learn from."""
    return TrainingError(
        "dataset",
        f"no answer is left within max_length {spec.training.max_length}: there is nothing to learn from",
        "Raise training.max_length or shorten the prompts.",
    )
