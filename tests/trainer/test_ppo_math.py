"""PPO's arithmetic against the formulas of the papers, written out token by token in plain Python."""

from __future__ import annotations

import math
import random
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from engine.trainer import ppo_math  # noqa: E402

ROWS, TOKENS, WORDS = 5, 7, 11
LENGTHS = [7, 1, 4, 6, 2]
Table = list[list[float]]


def table(seed: int, scale: float = 1.0) -> Table:
    drawn = random.Random(seed)
    return [[scale * drawn.gauss(0, 1) for _ in range(TOKENS)] for _ in range(ROWS)]


def tensor(values: Any) -> Any:
    return torch.tensor(values, dtype=torch.float64)


MASK = [[float(place < length) for place in range(TOKENS)] for length in LENGTHS]


def test_the_score_comes_with_the_last_token_and_every_token_pays_for_its_divergence() -> None:
    logprobs, reference, score = table(1), table(2), [3.0, -1.0, 0.5, 2.0, 7.0]
    found = ppo_math.token_rewards(
        tensor(score), tensor(logprobs), tensor(reference), tensor(MASK), beta=0.25
    ).tolist()
    for row, length in enumerate(LENGTHS):
        for place in range(TOKENS):
            paid = 0.25 * (logprobs[row][place] - reference[row][place]) if place < length else 0.0
            earned = score[row] if place == length - 1 else 0.0
            assert found[row][place] == pytest.approx(earned - paid)


@pytest.mark.parametrize(("gamma", "lam"), [(1.0, 0.95), (0.9, 0.5), (1.0, 1.0), (0.99, 0.0)])
def test_advantages_are_discounted_sums_of_temporal_differences(gamma: float, lam: float) -> None:
    """A_t = Σ_k (γλ)^k δ_{t+k}, over the completion's tokens alone."""
    rewards, values = table(3), table(4)
    found = ppo_math.advantages(tensor(rewards), tensor(values), tensor(MASK), gamma, lam).tolist()
    for row, length in enumerate(LENGTHS):
        deltas = [
            rewards[row][t] + gamma * (values[row][t + 1] if t + 1 < length else 0.0) - values[row][t]
            for t in range(length)
        ]
        for t in range(TOKENS):
            wanted = sum((gamma * lam) ** k * delta for k, delta in enumerate(deltas[t:]))
            assert found[row][t] == pytest.approx(wanted)


def test_without_discount_an_advantage_is_what_is_still_earned_less_what_was_expected() -> None:
    rewards, values = table(5), table(6)
    found = ppo_math.advantages(tensor(rewards), tensor(values), tensor(MASK), 1.0, 1.0).tolist()
    for row, length in enumerate(LENGTHS):
        for t in range(length):
            assert found[row][t] == pytest.approx(sum(rewards[row][t:length]) - values[row][t])


def test_whitened_values_have_mean_zero_and_variance_one_over_the_mask() -> None:
    found = ppo_math.whitened(tensor(table(7, 40.0)) + 9, tensor(MASK))
    kept = [value for row, length in zip(found.tolist(), LENGTHS, strict=True) for value in row[:length]]
    assert sum(kept) / len(kept) == pytest.approx(0, abs=1e-9)
    assert sum(value**2 for value in kept) / len(kept) == pytest.approx(1)
    assert all(
        value == 0 for row, length in zip(found.tolist(), LENGTHS, strict=True) for value in row[length:]
    )


def test_losses_are_the_clipped_ones_of_the_paper() -> None:
    logprobs, old = table(8, 0.3), table(9, 0.3)
    values, old_values, advantage, returns = table(10), table(11), table(12), table(13)
    given = [tensor(each) for each in (logprobs, values, old, old_values, advantage, MASK)]
    found = ppo_math.losses(*given, clip_range=0.2, value_clip=0.3, returns=tensor(returns))
    policy = value = clipped = value_clipped = moved = 0.0
    for row, length in enumerate(LENGTHS):
        for t in range(length):
            ratio = math.exp(logprobs[row][t] - old[row][t])
            gain = advantage[row][t]
            policy -= min(ratio * gain, max(0.8, min(1.2, ratio)) * gain)
            clipped += (ratio > 1.2 and gain > 0) or (ratio < 0.8 and gain < 0)
            change = max(-0.3, min(0.3, values[row][t] - old_values[row][t]))
            errors = [
                (guess - returns[row][t]) ** 2 for guess in (values[row][t], old_values[row][t] + change)
            ]
            value += 0.5 * max(errors)
            value_clipped += errors[1] > errors[0]
            moved += 0.5 * math.log(ratio) ** 2
    assert clipped > 3 and value_clipped > 3
    assert [float(each) for each in found] == pytest.approx([policy, value, clipped, value_clipped, moved])


def test_a_ratio_that_is_clipped_has_no_gradient_and_one_that_is_not_has_the_policys() -> None:
    old, zeros, ones = tensor([[0.0, 0.0, 0.0]]), tensor([[0.0] * 3]), tensor([[1.0] * 3])
    logprobs = tensor([[0.5, -0.5, 0.1]]).requires_grad_()
    gain = tensor([[2.0, -1.0, 3.0]])
    found = ppo_math.losses(
        logprobs, zeros, old, zeros, gain, ones, clip_range=0.2, value_clip=0.2, returns=zeros
    )
    found.policy.backward()
    assert logprobs.grad.tolist()[0] == pytest.approx([0.0, 0.0, -3.0 * math.exp(0.1)])


def test_log_probabilities_and_entropies_are_those_of_the_distribution() -> None:
    logits = tensor([[[random.Random(i * 7 + j).gauss(0, 2) for i in range(WORDS)] for j in range(TOKENS)]])
    tokens = torch.tensor([[3, 0, 10, 5, 5, 1, 2]])
    logprobs, entropy = ppo_math.picked(logits, tokens)
    for place, row in enumerate(logits[0].tolist()):
        total = sum(math.exp(value) for value in row)
        chances = [math.exp(value) / total for value in row]
        assert float(logprobs[0, place]) == pytest.approx(math.log(chances[int(tokens[0, place])]), rel=1e-5)
        assert float(entropy[0, place]) == pytest.approx(-sum(p * math.log(p) for p in chances), rel=1e-5)


def test_the_estimated_divergence_has_the_true_one_as_its_mean() -> None:
    policy, reference = [0.5, 0.2, 0.3], [0.3, 0.3, 0.4]
    estimates = ppo_math.divergence(tensor(policy).log(), tensor(reference).log()).tolist()
    assert all(value >= 0 for value in estimates)
    true = sum(p * math.log(p / q) for p, q in zip(policy, reference, strict=True))
    assert sum(p * value for p, value in zip(policy, estimates, strict=True)) == pytest.approx(true)
