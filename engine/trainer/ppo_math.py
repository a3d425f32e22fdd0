"""The arithmetic of proximal policy optimization on completions, (rows, tokens) tensors with a mask.

Sources: Schulman et al. 2017 (arXiv 1707.06347) for the clipped objective, Schulman et al. 2016
(1506.02438) for the advantages, Ziegler et al. 2019 (1909.08593) for the KL penalty and clipped values.
Masks are 1 on a completion's tokens, its end token included, and 0 behind it.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch

Tensor = Any


def token_rewards(score: Tensor, logprobs: Tensor, reference: Tensor, mask: Tensor, beta: float) -> Tensor:
    """Each token's reward: the price of leaving the reference model, and at the last token the score.

    Args:
        score: (rows,), a completion's reward.
        logprobs: (rows, tokens), nats, of the tokens under the policy.
        reference: (rows, tokens), nats, under the reference model.
        mask: (rows, tokens); every row has a token.
        beta: The price of a nat.
    """
    rewards = -beta * (logprobs - reference) * mask
    last = mask.sum(1).long() - 1
    rewards[torch.arange(len(rewards), device=rewards.device), last] += score.to(rewards.dtype)
    return rewards


def advantages(rewards: Tensor, values: Tensor, mask: Tensor, gamma: float, lam: float) -> Tensor:
    """Generalized advantage estimates; nothing is worth anything after a completion's last token.

    δ_t = r_t + γ·V_{t+1} − V_t and A_t = δ_t + γλ·A_{t+1}, (rows, tokens), 0 outside the mask.
    """
    result = torch.zeros_like(rewards)
    following = torch.zeros_like(rewards[:, 0])
    next_value = torch.zeros_like(following)
    for place in range(rewards.shape[1] - 1, -1, -1):
        delta = rewards[:, place] + gamma * next_value - values[:, place]
        following = (delta + gamma * lam * following) * mask[:, place]
        next_value = values[:, place] * mask[:, place]
        result[:, place] = following
    return result


def whitened(values: Tensor, mask: Tensor) -> Tensor:
    """The values with mean 0 and variance 1 over the mask, and 0 outside it."""
    count = mask.sum()
    mean = (values * mask).sum() / count
    variance = ((values - mean).square() * mask).sum() / count
    return (values - mean) * torch.rsqrt(variance + 1e-8) * mask


def divergence(logprobs: Tensor, reference: Tensor) -> Tensor:
    """An estimate of each token's KL from the reference, nats, never negative.

    For tokens that the policy drew, e^d − 1 − d with d = log q − log p has KL(p‖q) as its mean.
    """
    difference = reference - logprobs
    return torch.expm1(difference) - difference


class Losses(NamedTuple):
    """Sums over a mask; divided by its tokens they are means.

    Args:
        policy: The clipped objective, negated.
        value: Half the squared error of the values, the worse of clipped and not.
        clipped: Tokens whose ratio is beyond the clip range, where that matters.
        value_clipped: Tokens whose clipped value has the larger error.
        moved: ½·(log ratio)², an estimate of the KL from the policy at rollout, nats.
    """

    policy: Tensor
    value: Tensor
    clipped: Tensor
    value_clipped: Tensor
    moved: Tensor


def losses(
    logprobs: Tensor,
    values: Tensor,
    old_logprobs: Tensor,
    old_values: Tensor,
    advantage: Tensor,
    mask: Tensor,
    *,
    clip_range: float,
    value_clip: float,
    returns: Tensor,
) -> Losses:
    """The clipped policy and value losses of a micro-batch, all (rows, tokens), summed over the mask."""
    log_ratio = (logprobs - old_logprobs) * mask
    ratio = log_ratio.exp()
    free = -advantage * ratio
    held = -advantage * ratio.clamp(1 - clip_range, 1 + clip_range)
    near = old_values + (values - old_values).clamp(-value_clip, value_clip)
    error, near_error = (values - returns).square(), (near - returns).square()
    return Losses(
        policy=(torch.maximum(free, held) * mask).sum(),
        value=0.5 * (torch.maximum(error, near_error) * mask).sum(),
        clipped=((held > free) * mask).sum(),
        value_clipped=((near_error > error) * mask).sum(),
        moved=0.5 * (log_ratio.square() * mask).sum(),
    )


def picked(logits: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
    """The log-probabilities of the tokens, and the entropy of each distribution, nats.

    Args:
        logits: (rows, tokens, vocabulary), divided by the temperature, any dtype.
        tokens: (rows, tokens).

    Returns:
        Two (rows, tokens) tensors in fp32.
    """
    logprobs = torch.log_softmax(logits.float(), dim=-1)
    entropy = -(logprobs.exp() * logprobs).sum(-1)
    return logprobs.gather(-1, tokens.unsqueeze(-1)).squeeze(-1), entropy
