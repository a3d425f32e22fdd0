"""Reward functions by name, and reward models: what a completion is worth.

Every one has TRL's calling convention, so that GRPO, RLOO and our PPO take them alike:

    reward(prompts, completions, completion_ids=…, **columns) -> list[float]

Prompts and completions are texts or lists of messages; `columns` holds the data's other columns, a list
each with one entry a completion; `completion_ids` the tokens, a list each.

    exact_match   1 where the completion is the row's `ground_truth` (white space around it aside), else 0
    contains      1 where the completion contains `text`, or the row's `ground_truth`, else 0
    similarity    1 − edit distance / length of the longer of completion and `ground_truth`: 0 to 1
    regex         1 where `pattern` is found in the completion, else 0
    json_valid    1 where the completion, as a whole, is JSON, else 0
    length        −|tokens − target| / target: 0 at the target, −1 for nothing at all
    distinct      the share of words that no earlier word of the completion repeats: 0 to 1
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from typing import Any, Final

from engine.job.rewarding import RewardSpec
from engine.job.spec import JobSpec

Reward = Callable[..., list[float]]


def reward_functions(spec: JobSpec) -> list[Reward]:
    """The spec's reward functions in their order, the reward model last; each has a telling `__name__`.

    Raises:
        TrainingError: Of kind `model`: the reward model can't be loaded.
    """
    assert spec.rlhf is not None
    functions = [named(reward) for reward in spec.rlhf.rewards]
    if spec.rlhf.reward_model is not None:
        from engine.trainer.reward_model import reward_model

        functions.append(reward_model(spec))
    return _told_apart(functions)


def _told_apart(functions: list[Reward]) -> list[Reward]:
    """Functions of one name get numbers, so that the figures of each are told."""
    seen: dict[str, int] = {}
    for function in functions:
        name = function.__name__
        seen[name] = seen.get(name, 0) + 1
        if seen[name] > 1:
            function.__name__ = f"{name}_{seen[name]}"
    return functions


def reward_weights(spec: JobSpec) -> list[float]:
    """The weights of `reward_functions`, in their order."""
    assert spec.rlhf is not None
    weights = [reward.weight for reward in spec.rlhf.rewards]
    return [*weights, spec.rlhf.reward_model_weight] if spec.rlhf.reward_model is not None else weights


def each(functions: Sequence[Reward], **batch: Any) -> list[list[float]]:
    """What every reward function gives each completion.

    Args:
        functions: The reward functions.
        batch: What they are called with.
    """
    return [[float(value) for value in function(**batch)] for function in functions]


def total(each: Sequence[Sequence[float]], weights: Sequence[float]) -> list[float]:
    """The weighted sum of all rewards of each completion."""
    weighed = [[weight * value for value in values] for weight, values in zip(weights, each, strict=True)]
    return [sum(values) for values in zip(*weighed, strict=True)]


def named(reward: RewardSpec) -> Reward:
    """A reward function as the spec describes it."""
    score = _SCORES[reward.name](reward)

    def function(
        prompts: Sequence[Any],
        completions: Sequence[Any],
        completion_ids: Sequence[Sequence[int]] | None = None,
        **columns: Any,
    ) -> list[float]:
        texts = [text(completion) for completion in completions]
        tokens = completion_ids if completion_ids is not None else [()] * len(texts)
        wanted = columns[reward.needs] if reward.needs is not None else [None] * len(texts)
        return [score(*one) for one in zip(texts, tokens, wanted, strict=True)]

    function.__name__ = reward.name
    return function


def text(completion: Any) -> str:
    """What was said: a text as it is, of messages the contents."""
    if isinstance(completion, str):
        return completion
    return "".join(message.get("content") or "" for message in completion)


Score = Callable[[str, Sequence[int], Any], float]
"""One completion's text, its tokens and its row's column -> its reward."""


def _exact_match(reward: RewardSpec) -> Score:
    return lambda said, tokens, wanted: float(said.strip() == _plain(wanted))


def _contains(reward: RewardSpec) -> Score:
    return lambda said, tokens, wanted: float((reward.text or _plain(wanted)) in said)


def _similarity(reward: RewardSpec) -> Score:
    return lambda said, tokens, wanted: similarity(said.strip(), _plain(wanted))


def _regex(reward: RewardSpec) -> Score:
    pattern = re.compile(reward.pattern or "")
    return lambda said, tokens, wanted: float(pattern.search(said) is not None)


def _json_valid(reward: RewardSpec) -> Score:
    def score(said: str, tokens: Sequence[int], wanted: Any) -> float:
        try:
            json.loads(said)
        except (ValueError, RecursionError):
            return 0.0
        return 1.0

    return score


def _length(reward: RewardSpec) -> Score:
    target = reward.target or 1
    return lambda said, tokens, wanted: -abs(len(tokens) - target) / target


def _distinct(reward: RewardSpec) -> Score:
    def score(said: str, tokens: Sequence[int], wanted: Any) -> float:
        words = said.lower().split()
        return len(set(words)) / len(words) if words else 0.0

    return score


_SCORES: Final[dict[str, Callable[[RewardSpec], Score]]] = {
    "exact_match": _exact_match,
    "contains": _contains,
    "similarity": _similarity,
    "regex": _regex,
    "json_valid": _json_valid,
    "length": _length,
    "distinct": _distinct,
}


def similarity(one: str, other: str) -> float:
    """1 − Levenshtein distance / length of the longer text; 1 for two empty ones."""
    if not one or not other:
        return float(one == other)
    row = list(range(len(other) + 1))
    for number, character in enumerate(one, 1):
        diagonal, row[0] = row[0], number
        for place, against in enumerate(other, 1):
            best = min(row[place] + 1, row[place - 1] + 1, diagonal + (character != against))
            diagonal, row[place] = row[place], best
    return 1 - row[-1] / max(len(one), len(other))


def _plain(wanted: Any) -> str:
    """A column's value as a completion would write it."""
    if isinstance(wanted, str):
        return wanted.strip()
    return json.dumps(wanted, ensure_ascii=False)
