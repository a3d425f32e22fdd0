"""What the policy, its value head and the reference model say of completions; the policy also draws them.

The reference is the policy without its adapters; in full fine-tuning it is a frozen copy.
"""

from __future__ import annotations

import copy
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple

import torch
from torch import nn

from engine.trainer import ppo_math

Tensor = Any


class Spoken(NamedTuple):
    """What a forward pass says of completions, (rows, completion tokens) in fp32.

    Args:
        logprobs: Of the tokens, at the sampling temperature, nats.
        entropy: Of the distributions that they came from, nats.
        values: What the value head expects from there on.
    """

    logprobs: Tensor
    entropy: Tensor
    values: Tensor


def reference_of(model: Any, device: Any) -> Any | None:
    """A frozen copy of the model; None where it has adapters, which can be switched off instead."""
    if hasattr(model, "peft_config"):
        return None
    return copy.deepcopy(model).requires_grad_(False).eval().to(device)


def without_dropout(model: Any) -> float:
    """Switch dropout off and return the largest that there was.

    A probability ratio must compare two policies, not two dropout masks.
    """
    found = 0.0
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            found, module.p = max(found, module.p), 0.0
        if isinstance(getattr(module, "attention_dropout", None), float):
            found, module.attention_dropout = max(found, module.attention_dropout), 0.0
    return found


def speak(
    model: Any, head: Any, tokens: Tensor, attention: Tensor, completion: int, temperature: float
) -> Spoken:
    """Log-probabilities, entropies and values of completions.

    Args:
        model: The policy, wrapped or not.
        head: Its value head.
        tokens: (rows, prompt + completion tokens).
        attention: The same shape, 1 on tokens.
        completion: The number of completion tokens.
        temperature: At which the completions were drawn.
    """
    output = _forward(model, tokens, attention, completion, output_hidden_states=True)
    logprobs, entropy = ppo_math.picked(output.logits[:, :-1] / temperature, tokens[:, -completion:])
    values = head(output.hidden_states[0], output.hidden_states[-1], attention)
    return Spoken(logprobs, entropy, values[:, -completion - 1 : -1])


def reference_logprobs(
    model: Any, reference: Any | None, tokens: Tensor, attention: Tensor, completion: int, temperature: float
) -> Tensor:
    """The completions' log-probabilities under the reference model, (rows, completion tokens), nats."""
    without: AbstractContextManager[Any] = model.disable_adapter() if reference is None else nullcontext()
    with without:
        output = _forward(model if reference is None else reference, tokens, attention, completion)
    return ppo_math.picked(output.logits[:, :-1] / temperature, tokens[:, -completion:])[0]


def _forward(model: Any, tokens: Tensor, attention: Tensor, completion: int, **options: Any) -> Any:
    """One pass, with logits from the token before the completion on."""
    positions = (attention.cumsum(-1) - 1).clamp(min=0)
    return model(
        input_ids=tokens,
        attention_mask=attention,
        position_ids=positions,
        logits_to_keep=completion + 1,
        use_cache=False,
        **options,
    )


def draw(
    model: Any,
    tokens: Tensor,
    attention: Tensor,
    *,
    length: int,
    temperature: float,
    stops: list[int],
    pad: int,
    check: Any,
) -> Tensor:
    """Completions drawn from the policy, (rows, prompt + at most `length` tokens), padded behind their end.

    Args:
        model: The policy, not wrapped, in eval mode.
        tokens: (rows, prompt tokens), padded on the left.
        attention: The same shape, 1 on tokens.
        length: The longest completion.
        temperature: Of the distribution that is drawn from.
        stops: Tokens that end a completion.
        pad: The token behind its end.
        check: Called after each token; what it raises ends the drawing.
    """
    from transformers import GenerationConfig, StoppingCriteriaList

    def never(ids: Tensor, scores: Tensor, **options: Any) -> Tensor:
        check()
        return torch.zeros(len(ids), dtype=torch.bool, device=ids.device)

    config = GenerationConfig(
        max_new_tokens=length,
        do_sample=True,
        temperature=temperature,
        top_k=0,
        top_p=1.0,
        eos_token_id=stops or None,
        pad_token_id=pad,
    )
    # What the model's own settings add, such as a top_p, would draw from another distribution.
    own, model.generation_config = model.generation_config, config
    try:
        return model.generate(
            input_ids=tokens,
            attention_mask=attention,
            generation_config=config,
            stopping_criteria=StoppingCriteriaList([never]),
        )
    finally:
        model.generation_config = own
