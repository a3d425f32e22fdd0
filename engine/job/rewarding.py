"""The sections of the spec for learning from rewards (rlhf) and from pairs (dpo, orpo). Ships."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal, Self

from pydantic import Field, field_validator, model_validator

from engine.job.sections import Above, Positive, Rate, Section

RewardName = Literal["exact_match", "contains", "similarity", "regex", "json_valid", "length", "distinct"]
"""Reward functions that ship; `engine/trainer/rewards.py` says what each gives."""

_REWARD_OPTIONS: Final[Mapping[str, tuple[str, ...]]] = {
    "exact_match": ("column",),
    "contains": ("column", "text"),
    "similarity": ("column",),
    "regex": ("pattern",),
    "json_valid": (),
    "length": ("target",),
    "distinct": (),
}
"""What each reward function can be told, besides its weight."""


class RewardSpec(Section):
    """A reward function; its name alone is short for one without options."""

    name: RewardName
    weight: Annotated[float, Field(allow_inf_nan=False)] = 1
    """The rewards of a completion are summed with these weights; a negative one punishes."""
    column: Annotated[str, Field(min_length=1)] | None = None
    """The data's column to compare with (exact_match, contains, similarity); null is `ground_truth`."""
    text: Annotated[str, Field(min_length=1)] | None = None
    """What a completion must contain, where it is the same for all rows (contains)."""
    pattern: Annotated[str, Field(min_length=1)] | None = None
    """A regular expression that must be found in the completion (regex)."""
    target: Positive | None = None
    """The wanted number of tokens (length)."""

    @model_validator(mode="before")
    @classmethod
    def _from_name(cls, value: Any) -> Any:
        return {"name": value} if isinstance(value, str) else value

    @field_validator("pattern")
    @classmethod
    def _compiles(cls, pattern: str | None) -> str | None:
        try:
            re.compile(pattern or "")
        except re.error as error:
            raise ValueError(f"is no regular expression: {error}") from None
        return pattern

    @model_validator(mode="after")
    def _options(self) -> Self:
        given = [name for name in ("column", "text", "pattern", "target") if getattr(self, name) is not None]
        known = _REWARD_OPTIONS[self.name]
        for name in given:
            if name not in known:
                raise ValueError(f"{self.name} takes no {name}")
        if len(given) > 1:
            raise ValueError(f"{self.name} takes {' or '.join(known)}, not both")
        for name in ("pattern", "target"):
            if name in known and name not in given:
                raise ValueError(f"{self.name} needs {name}")
        return self

    @property
    def needs(self) -> str | None:
        """The data's column that it reads; None when it reads none."""
        if "column" not in _REWARD_OPTIONS[self.name] or self.text is not None:
            return None
        return self.column or "ground_truth"


class RlhfSpec(Section):
    """Reinforcement learning from rewards; for method rlhf alone."""

    algorithm: Literal["grpo", "rloo", "ppo"] = "ppo"
    rewards: tuple[RewardSpec, ...] = ()
    reward_model: Annotated[str, Field(min_length=1)] | None = None
    """A Hub name or a folder: a sequence classifier with one output, added to the rewards."""
    reward_model_weight: Annotated[float, Field(allow_inf_nan=False)] = 1
    beta: Rate = 0.05
    """The price of a nat of divergence from the reference model."""
    num_generations: Annotated[int, Field(ge=2)] | None = None
    """Completions of a prompt that are compared with each other (grpo, rloo); null is 8. ppo takes one."""
    max_completion_length: Positive = 256
    """Tokens; a prompt has what this leaves of training.max_length."""
    temperature: Above = 1.0
    ppo_epochs: Positive = 4
    """Passes over the completions of one rollout."""
    clip_range: Above = 0.2
    """How far a probability ratio (of a token; for rloo of a completion) may go from 1 before it stops
    counting."""
    rollout_size: Positive | None = None
    """Prompts of one rollout and device (ppo), a multiple of batch_size · gradient_accumulation_steps;
    null is that product, so that each pass is one optimizer step."""
    value_clip: Above = 0.2
    """How far a value may go from the one at rollout before it stops counting (ppo)."""
    vf_coef: Rate = 0.1
    """The value loss's weight (ppo)."""
    entropy_coef: Rate = 0.01
    """The entropy bonus's weight (ppo, grpo)."""
    gamma: Annotated[float, Field(ge=0, le=1)] = 1.0
    """The discount of a reward one token later (ppo)."""
    lam: Annotated[float, Field(ge=0, le=1)] = 0.95
    """The λ of generalized advantage estimation (ppo)."""

    @model_validator(mode="after")
    def _rewarded(self) -> Self:
        if not self.rewards and self.reward_model is None:
            raise ValueError("needs rewards or a reward_model")
        if self.algorithm == "ppo" and self.num_generations is not None:
            raise ValueError("ppo takes one completion of each prompt: leave num_generations out")
        return self

    @property
    def columns(self) -> tuple[str, ...]:
        """The data's columns that the rewards read."""
        return tuple(dict.fromkeys(reward.needs for reward in self.rewards if reward.needs is not None))


class PreferenceSpec(Section):
    """Learning from pairs of a chosen and a rejected answer; for methods dpo and orpo alone."""

    beta: Above = 0.1
    """dpo: the price of leaving the reference model; orpo: the weight of the odds ratio beside the loss."""
