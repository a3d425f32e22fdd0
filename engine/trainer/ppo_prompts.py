"""Prompts as tokens, and completions as the texts that rewards are given for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from engine.errors import TrainingError
from engine.job.spec import JobSpec
from engine.trainer.refusals import need_chat_template

Tensor = Any
_NO_COLUMNS = ("prompt", "prompts", "completion", "completions", "completion_ids")


@dataclass(frozen=True, slots=True)
class Prompt:
    """A prompt.

    Args:
        given: As it stands in the data: a text or messages.
        tokens: Its tokens.
        columns: The row's other columns, for the rewards.
    """

    given: Any
    tokens: list[int]
    columns: dict[str, Any]


def read(rows: list[dict[str, Any]], tokenizer: Any, spec: JobSpec) -> list[Prompt]:
    """The rows' prompts that leave room for a completion.

    Raises:
        TrainingError: Of kind `tokenizer`: messages, but no chat template; of kind `dataset`: none fits.
    """
    assert spec.rlhf is not None
    room = spec.training.max_length - spec.rlhf.max_completion_length
    prompts = [_prompt(row, tokenizer) for row in rows]
    fitting = [prompt for prompt in prompts if 0 < len(prompt.tokens) <= room]
    if not fitting:
        raise TrainingError(
            "dataset",
            f"no prompt fits into the {room} tokens that max_completion_length leaves of max_length",
            "Raise training.max_length, lower rlhf.max_completion_length or shorten the prompts.",
        )
    return fitting


def _prompt(row: dict[str, Any], tokenizer: Any) -> Prompt:
    given = row["prompt"]
    columns = {name: value for name, value in row.items() if name not in _NO_COLUMNS}
    if isinstance(given, str):
        return Prompt(given, list(tokenizer(given)["input_ids"]), columns)
    need_chat_template(tokenizer, "prompts", "prompts of text")
    text = tokenizer.apply_chat_template(given, add_generation_prompt=True, tokenize=False)
    return Prompt(given, list(tokenizer(text, add_special_tokens=False)["input_ids"]), columns)


def padded(prompts: list[Prompt], pad: int, device: Any) -> tuple[Tensor, Tensor]:
    """Tokens and attention of prompts, (rows, longest prompt), padded on the left."""
    width = max(len(prompt.tokens) for prompt in prompts)
    tokens = [[pad] * (width - len(prompt.tokens)) + prompt.tokens for prompt in prompts]
    attention = [[0] * (width - len(prompt.tokens)) + [1] * len(prompt.tokens) for prompt in prompts]
    return torch.tensor(tokens, device=device), torch.tensor(attention, device=device)


def up_to_end(completions: Tensor, stops: list[int]) -> Tensor:
    """The mask of completions, (rows, tokens): 1 up to and with the first token that ends one."""
    ends = torch.isin(completions, torch.tensor(stops, device=completions.device, dtype=torch.long)).long()
    return (ends.cumsum(1) - ends == 0).long()


def for_rewards(prompts: list[Prompt], completions: Tensor, mask: Tensor, tokenizer: Any) -> dict[str, Any]:
    """What reward functions are called with, by name."""
    ids = [row[kept.bool()].tolist() for row, kept in zip(completions, mask, strict=True)]
    texts = tokenizer.batch_decode(ids, skip_special_tokens=True)
    said = [
        text if isinstance(prompt.given, str) else [{"role": "assistant", "content": text}]
        for prompt, text in zip(prompts, texts, strict=True)
    ]
    names = dict.fromkeys(name for prompt in prompts for name in prompt.columns)
    columns = {name: [prompt.columns.get(name) for prompt in prompts] for name in names}
    return {
        "prompts": [prompt.given for prompt in prompts],
        "completions": said,
        "completion_ids": ids,
        **columns,
    }


def stop_tokens(model: Any, tokenizer: Any) -> list[int]:
    """The tokens that end a completion: those of the model's generation settings and the tokenizer's."""
    known = getattr(model.generation_config, "eos_token_id", None)
    tokens = known if isinstance(known, list) else [known]
    return sorted({token for token in [*tokens, tokenizer.eos_token_id] if token is not None})
