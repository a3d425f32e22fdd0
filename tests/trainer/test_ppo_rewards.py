"""Reward functions by name, as GRPO, RLOO and PPO call them."""

from __future__ import annotations

from typing import Any

import pytest

from engine.job.rewarding import RewardSpec
from engine.job.spec import JobSpec, merged
from engine.trainer import rewards
from tests.trainer import jobs


def reward(spec: Any, completion: Any, tokens: int = 0, **columns: Any) -> float:
    function = rewards.named(RewardSpec.model_validate(spec))
    lists = {name: [value] for name, value in columns.items()}
    return function(
        prompts=["?"], completions=[completion], completion_ids=[[1] * tokens], trainer_state=None, **lists
    )[0]


@pytest.mark.parametrize(
    ("spec", "completion", "columns", "wanted"),
    [
        ("exact_match", " Paris\n", {"ground_truth": "Paris"}, 1),
        ("exact_match", "Paris!", {"ground_truth": "Paris"}, 0),
        ("exact_match", "42", {"ground_truth": 42}, 1),
        ({"name": "exact_match", "column": "answer"}, "4", {"answer": "4", "ground_truth": "5"}, 1),
        ("contains", "It is Paris.", {"ground_truth": "Paris"}, 1),
        ("contains", "It is Rome.", {"ground_truth": "Paris"}, 0),
        ({"name": "contains", "text": "please"}, "Yes, please", {}, 1),
        ("similarity", "kitten", {"ground_truth": "sitting"}, 1 - 3 / 7),
        ("similarity", "", {"ground_truth": "abc"}, 0),
        ("similarity", "abc", {"ground_truth": "abc"}, 1),
        ({"name": "regex", "pattern": r"^\d+$"}, "123", {}, 1),
        ({"name": "regex", "pattern": r"^\d+$"}, "12a", {}, 0),
        ("json_valid", '{"a": [1, 2]}', {}, 1),
        ("json_valid", '{"a": [1, 2}', {}, 0),
        ("json_valid", "[" * 100_000, {}, 0),
        ("distinct", "the cat the dog", {}, 0.75),
        ("distinct", "", {}, 0),
        ("exact_match", [{"role": "assistant", "content": "Paris"}], {"ground_truth": "Paris"}, 1),
    ],
)
def test_a_reward_is_what_its_description_says(
    spec: Any, completion: Any, columns: dict[str, Any], wanted: float
) -> None:
    assert reward(spec, completion, **columns) == pytest.approx(wanted)


@pytest.mark.parametrize(("tokens", "wanted"), [(10, 0.0), (5, -0.5), (0, -1.0), (30, -2.0)])
def test_the_length_reward_counts_tokens(tokens: int, wanted: float) -> None:
    assert reward({"name": "length", "target": 10}, "x", tokens) == wanted


def test_rewards_are_summed_with_their_weights() -> None:
    functions = [rewards.named(RewardSpec(name="json_valid")), rewards.named(RewardSpec(name="distinct"))]
    found = rewards.each(functions, prompts=["", ""], completions=["1", "a a"])
    assert found == [[1.0, 0.0], [1.0, 0.5]]
    assert rewards.total(found, [2.0, -1.0]) == [2.0 - 1.0, 0.0 - 0.5]


def test_a_function_is_called_by_its_name_and_namesakes_by_a_number() -> None:
    twice = [{"name": "regex", "pattern": "a"}, "distinct", {"name": "regex", "pattern": "b"}]
    changes = {"method": "rlhf", "rlhf": {"rewards": twice, "max_completion_length": 8}}
    spec = JobSpec.model_validate(merged(jobs.SPEC, changes))
    found = rewards.reward_functions(spec)
    assert [function.__name__ for function in found] == ["regex", "distinct", "regex_2"]
