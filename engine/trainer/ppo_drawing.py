"""What PPO's policy says to prompts, what that earns, and what its updates need of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch

from engine.job.rewarding import RlhfSpec
from engine.trainer import ppo_math, ppo_policy, ppo_prompts, rewards
from engine.trainer.hooks import PodiumTrainer
from engine.trainer.ppo_prompts import Prompt
from engine.trainer.ppo_rollout import Rollout
from engine.trainer.stop import StopNow

Tensor = Any


class Drawn(NamedTuple):
    """Completions of prompts.

    Args:
        tokens: (rows, prompt + completion tokens), prompts padded on the left, completions on the right.
        attention: The same shape: 1 on tokens, 0 on padding.
        mask: (rows, completion tokens), 1 on tokens.
        scores: (rows,), the weighed sum of the rewards.
        rewards: The same shape, of each reward function by its name, not weighed.
    """

    tokens: Tensor
    attention: Tensor
    mask: Tensor
    scores: Tensor
    rewards: dict[str, Tensor]


class Drawing(PodiumTrainer):
    """A mixin for a trainer whose policy talks.

    Completions are drawn and measured in blocks of the eval batch.
    """

    accelerator: Any
    head: Any
    reference: Any
    tokenizer: Any
    settings: RlhfSpec
    stops: list[int]
    pad: int
    rewards: list[rewards.Reward]
    reward_weights: list[float]

    @torch.no_grad()
    def roll_out(self, number: int, prompts: list[Prompt]) -> Rollout:
        """Draw a completion for each prompt, reward them, and prepare their updates."""
        settings, size = self.settings, self.args.eval_batch_size
        drawn = self._draw(prompts)
        mask = drawn.mask
        parts = [
            self._measure(drawn.tokens[at : at + size], drawn.attention[at : at + size], mask.shape[1])
            for at in range(0, len(mask), size)
        ]
        logprobs, reference, values = (torch.cat(part) * mask for part in zip(*parts, strict=True))
        token_rewards = ppo_math.token_rewards(drawn.scores, logprobs, reference, mask, settings.beta)
        advantages = ppo_math.advantages(token_rewards, values, mask, settings.gamma, settings.lam)
        divergence = ppo_math.divergence(logprobs, reference)
        return Rollout(
            number=number,
            tokens=drawn.tokens,
            attention=drawn.attention,
            mask=mask,
            logprobs=logprobs,
            values=values,
            advantages=ppo_math.whitened(advantages, mask),
            returns=(advantages + values) * mask,
            figures=_figures(drawn, divergence),
        )

    def _measure(self, tokens: Tensor, attention: Tensor, length: int) -> tuple[Tensor, Tensor, Tensor]:
        """Log-probabilities under policy and reference, and values, of a block of completions."""
        about: Any = (tokens, attention, length, self.settings.temperature)
        with self.accelerator.autocast():
            said = ppo_policy.speak(self.model, self.head, *about)
            reference = ppo_policy.reference_logprobs(self.model, self.reference, *about)
        return said.logprobs, reference, said.values

    def _draw(self, prompts: list[Prompt]) -> Drawn:
        """A completion of each prompt, and its rewards."""
        self.check_weights()
        self.model.eval()
        prompt, attention = ppo_prompts.padded(prompts, self.pad, self.args.device)
        completions = self._completions(prompt, attention)
        mask = ppo_prompts.up_to_end(completions, self.stops)
        width = int(mask.sum(1).max())
        completions, mask = completions[:, :width], mask[:, :width]
        named = ppo_prompts.for_rewards(prompts, completions, mask, self.tokenizer)
        each = rewards.each(self.rewards, **named)
        device = self.args.device
        return Drawn(
            torch.cat([prompt, torch.where(mask.bool(), completions, self.pad)], 1),
            torch.cat([attention, mask], 1),
            mask,
            torch.tensor(rewards.total(each, self.reward_weights), device=device),
            {
                function.__name__: torch.tensor(values, device=device)
                for function, values in zip(self.rewards, each, strict=True)
            },
        )

    def _completions(self, prompt: Tensor, attention: Tensor) -> Tensor:
        """What is drawn, (rows, `max_completion_length`), whatever stands behind the ends."""
        size, longest = self.args.eval_batch_size, self.settings.max_completion_length
        blocks = []
        for at in range(0, len(prompt), size):
            with self.accelerator.autocast():
                drawn = ppo_policy.draw(
                    self.model,
                    prompt[at : at + size],
                    attention[at : at + size],
                    length=longest,
                    temperature=self.settings.temperature,
                    stops=self.stops,
                    pad=self.pad,
                    check=self._leave_if_asked,
                )[:, prompt.shape[1] :]
            blocks.append(torch.nn.functional.pad(drawn, (0, longest - drawn.shape[1]), value=self.pad))
        return torch.cat(blocks)

    def _leave_if_asked(self) -> None:
        # Several ranks leave together, between steps.
        if self.attempt.stop.requested and self.attempt.ranks.alone:
            raise StopNow

    @contextmanager
    def _unspoilt(self) -> Iterator[None]:
        """A rollout that SIGTERM cuts short leaves the random state as it was: it comes again."""
        devices = [torch.cuda.current_device()] if torch.cuda.is_available() else []
        before, on_gpu = torch.get_rng_state(), [torch.cuda.get_rng_state(device) for device in devices]
        try:
            yield
        except StopNow:
            torch.set_rng_state(before)
            for device, state in zip(devices, on_gpu, strict=True):
                torch.cuda.set_rng_state(state, device)
            raise


def _figures(drawn: Drawn, divergence: Tensor) -> dict[str, float]:
    """A rollout's figures for the log."""
    found = {
        "reward": float(drawn.scores.mean()),
        "reward_std": float(drawn.scores.std(correction=0)),
        "kl": float((divergence * drawn.mask).sum() / drawn.mask.sum()),
        "response_length": float(drawn.mask.sum() / len(drawn.mask)),
    }
    for name, values in drawn.rewards.items():
        found[f"rewards/{name}/mean"] = float(values.mean())
        found[f"rewards/{name}/std"] = float(values.std(correction=0))
    return found
