"""A reward model: a sequence classifier with one output, called like every other reward function."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from engine.errors import TrainingError
from engine.job.spec import JobSpec
from engine.trainer.rewards import Reward, text

_BATCH = 8


def reward_model(spec: JobSpec) -> Reward:
    """The spec's reward model, on the device that training uses.

    Prompts and completions that are messages go through the reward model's own chat template.

    Raises:
        TrainingError: Of kind `model`: it can't be loaded, or has more than one output.
    """
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    assert spec.rlhf is not None
    name = str(spec.rlhf.reward_model)
    try:
        tokenizer = AutoTokenizer.from_pretrained(name)
        dtype = torch.float32 if spec.model.dtype == "fp32" else torch.bfloat16
        model = AutoModelForSequenceClassification.from_pretrained(name, dtype=dtype)
    except (OSError, ValueError, KeyError, ImportError) as error:
        line = (str(error).strip().splitlines() or [type(error).__name__])[0][:160]
        raise TrainingError(
            "model", f"the reward model {name} can't be loaded ({line})", "Check rlhf.reward_model."
        ) from error
    if model.config.num_labels != 1:
        outputs = model.config.num_labels
        raise TrainingError(
            "model",
            f"the reward model {name} has {outputs} outputs",
            "It must be a sequence classifier with one.",
        )
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    model.config.pad_token_id = tokenizer.pad_token_id
    model = model.eval().requires_grad_(False).to("cuda" if torch.cuda.is_available() else "cpu")

    @torch.no_grad()
    def score(prompts: Sequence[Any], completions: Sequence[Any], **columns: Any) -> list[float]:
        texts = [_joined(tokenizer, *pair) for pair in zip(prompts, completions, strict=True)]
        scores: list[float] = []
        for start in range(0, len(texts), _BATCH):
            batch = tokenizer(
                texts[start : start + _BATCH],
                padding=True,
                truncation=tokenizer.model_max_length < 1_000_000,
                add_special_tokens=isinstance(prompts[0], str),
                return_tensors="pt",
            ).to(model.device)
            scores += model(**batch).logits[:, 0].float().tolist()
        return scores

    score.__name__ = "reward_model"
    return score


def _joined(tokenizer: Any, prompt: Any, completion: Any) -> str:
    """A prompt and its completion as the reward model reads them."""
    if isinstance(prompt, str):
        return prompt + text(completion)
    answer = completion
    if isinstance(completion, str):
        answer = [{"role": "assistant", "content": completion}]
    return str(tokenizer.apply_chat_template([*prompt, *answer], tokenize=False))
