"""What a job will take: sizes from published models, parts that follow their formulas, figures that grow."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from engine.job import estimate
from engine.job.amount import amount
from engine.job.shape import KNOWN, shape_of
from engine.job.spec import JobSpec, merged

ROWS = [{"prompt": "x" * 400, "completion": "y" * 396} for _ in range(100)]


def job(**changes: Any) -> JobSpec:
    given = {"name": "a", "template": "sft_standard", "dataset": {"path": "d"}}
    return JobSpec.parse(merged(given, changes), "x")


@pytest.mark.parametrize(
    ("name", "billions"),
    [
        ("meta-llama/Llama-3.2-1B", 1.2358),
        ("meta-llama/Llama-3.2-3B", 3.2127),
        ("meta-llama/Llama-3.1-8B", 8.0303),
        ("meta-llama/Llama-2-7b-hf", 6.7384),
        # Qwen's queries, keys and values have biases besides.
        ("Qwen/Qwen2.5-0.5B", 0.4940),
        ("Qwen/Qwen2.5-1.5B", 1.5437),
        ("Qwen/Qwen2.5-7B", 7.6156),
    ],
)
def test_a_known_model_has_as_many_weights_as_is_published(name: str, billions: float) -> None:
    assert KNOWN[name].weights / 1e9 == pytest.approx(billions, abs=2e-4)


def test_a_config_tells_the_sizes(tmp_path: Path) -> None:
    config = {"vocab_size": 100, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
    (tmp_path / "config.json").write_text(json.dumps({**config, "intermediate_size": 64}))
    shape = shape_of(job(model={"name": str(tmp_path)}))
    assert shape is not None
    # Untied embeddings, four attention matrices, three of the MLP, norms.
    assert shape.weights == 2 * 100 * 32 + 2 * (4 * 32 * 32 + 3 * 32 * 64) + 5 * 32


def test_of_an_unknown_model_memory_and_time_are_unknown_and_tokens_are_not() -> None:
    found = estimate.estimate(job(model={"name": "nobody/nothing"}), ROWS, 10, gpu="H100")
    assert (found.memory, found.seconds, found.dollars) == (None, None, None)
    assert found.tokens == 100 * 3 * 200
    assert "unknown" in "\n".join(estimate.told(found))


def test_operations_of_a_token_are_those_of_published_counts() -> None:
    """LoRA at 2,048 tokens without checkpointing: 5.41 and 31.9 GFLOP."""
    for name, gigas in (("meta-llama/Llama-3.2-1B", 5.41), ("meta-llama/Llama-3.1-8B", 31.9)):
        flops = estimate.flops_a_token(job(training={"gradient_checkpointing": False}), KNOWN[name], 2048)
        assert flops / 1e9 == pytest.approx(gigas, rel=0.03)


def test_full_training_takes_16_bytes_a_weight_in_fp32() -> None:
    """Weights, gradients and two moments of 4 bytes each."""
    spec = job(lora=None, quantization=None, model={"dtype": "fp32"}, training={"optimizer": "adamw_torch"})
    used = estimate.memory(spec, KNOWN["meta-llama/Llama-3.2-1B"])
    weights = KNOWN["meta-llama/Llama-3.2-1B"].weights
    assert used.weights + used.gradients + used.optimizer == 16 * weights


def test_nf4_takes_a_little_more_than_half_a_byte_a_linear_weight() -> None:
    shape = KNOWN["meta-llama/Llama-2-7b-hf"]
    used = estimate.memory(job(), shape)
    assert used.weights == pytest.approx(
        shape.linears * 0.516 + (shape.weights - shape.linears) * 2, rel=1e-3
    )
    assert 3.5e9 < used.weights < 4.1e9


def test_more_of_anything_takes_more() -> None:
    shape = KNOWN["meta-llama/Llama-3.2-1B"]
    least = estimate.memory(job(), shape).total
    for section, key, value in (
        ("training", "batch_size", 8),
        ("training", "max_length", 4096),
        ("training", "gradient_checkpointing", False),
        ("training", "optimizer", "adamw_torch"),
        ("lora", "r", 256),
    ):
        assert estimate.memory(job(**{section: {key: value}}), shape).total > least, key
    assert estimate.memory(job(quantization=None), shape).total > least
    assert estimate.memory(job(lora=None, quantization=None), shape).total > least + 10e9


def test_every_optimizer_has_a_size() -> None:
    from typing import get_args

    from engine.job.sections import Optimizer

    for optimizer in get_args(Optimizer):
        assert (
            estimate.memory(job(training={"optimizer": optimizer}), KNOWN["Qwen/Qwen2.5-0.5B"]).optimizer >= 0
        )


def test_time_and_cost_follow_from_a_known_speed() -> None:
    spec = job(pod={"cost_per_hour": 3.6}, predictions={"enabled": False})
    found = estimate.estimate(spec, ROWS, 0, tokens_per_second=100.0)
    assert found.seconds == pytest.approx(60_000 / 100)
    assert found.dollars == pytest.approx(0.6)
    slower = estimate.estimate(spec, ROWS, 0, gpu="NVIDIA L4")
    faster = estimate.estimate(spec, ROWS, 0, gpu="NVIDIA H100 80GB HBM3")
    assert (slower.gpu, faster.gpu) == ("L4", "H100")
    assert slower.seconds is not None and faster.seconds is not None
    assert slower.seconds / faster.seconds == pytest.approx(989 / 121)
    steps = estimate.estimate(job(training={"max_steps": 10}), ROWS, 0)
    assert steps.tokens == 10 * 32 * 200


def test_a_pair_is_two_sequences_and_what_is_not_trained_on_does_not_count() -> None:
    row = {"prompt": "x" * 400, "chosen": "y" * 196, "rejected": "z" * 36, "notes": "n" * 4000}
    spec = job(template="dpo_standard", training={"max_length": 140, "max_steps": None, "epochs": 2})
    # 150 tokens are cut at 140; with the other answer they are 110.
    found = amount(spec, [row] * 10, 0)
    assert (found.tokens, found.length) == (10 * 2 * (140 + 110), 125)


@pytest.mark.parametrize(
    ("rlhf", "rows"),
    [
        # Of each of the prompts so many completions, each in so many passes.
        ({"algorithm": "ppo", "ppo_epochs": 4}, 30 * 4),
        ({"algorithm": "grpo", "ppo_epochs": 2, "num_generations": 8}, 30 * 8 * 2),
        ({"algorithm": "rloo", "ppo_epochs": 1}, 30 * 8),
    ],
)
def test_rewarded_completions_are_drawn_once_and_trained_on_in_each_pass(
    rlhf: dict[str, Any], rows: int
) -> None:
    training = {"epochs": 1, "batch_size": 8, "gradient_accumulation_steps": 2, "max_length": 512}
    changes: dict[str, Any] = {"template": "rlhf_standard", "rlhf": {**rlhf, "max_completion_length": 100}}
    changes |= {"predictions": {"enabled": False}}
    spec = job(**changes, training={**training, "eval_steps": 1000})
    found = amount(spec, [{"prompt": "x" * 396, "ground_truth": "y" * 999}] * 30, 16)
    assert (found.tokens, found.steps) == (rows * 200, rows / 16)
    # Those of a batch are drawn together: 16 in training, 8 in the one evaluation.
    assert found.drawn == pytest.approx((rows / rlhf["ppo_epochs"] / 16 + 2) * 100)
    took = estimate.estimate(spec, [{"prompt": "x" * 396}] * 30, 16, gpu="H100").seconds
    assert took is not None and took > found.drawn * 32 * 1e-3


def test_predictions_take_their_time() -> None:
    asked = {"enabled": True, "sample_count": 5, "max_new_tokens": 100}
    spec = job(predictions=asked, training={"max_steps": 20, "eval_steps": 10})
    assert amount(spec, ROWS, 10).drawn == 2 * 5 * 100


@pytest.mark.parametrize(
    ("speed", "words"),
    [(1e5, "under a minute"), (100.0, "about 10 min"), (10.0, "about 1.7 h"), (0.1, "about 166.7 h")],
)
def test_a_time_is_told_in_the_unit_that_fits_it(speed: float, words: str) -> None:
    spec = job(pod={"cost_per_hour": 0.5}, predictions={"enabled": False})
    lines = estimate.told(estimate.estimate(spec, ROWS, 0, tokens_per_second=speed))
    assert lines[1].startswith(f"Time: {words}")
    assert lines[2] == f"Cost: {'under $0.01' if speed > 1e4 else f'about ${60_000 / speed / 7200:.2f}'}"


def test_several_ranks_take_fewer_steps_and_less_time_and_as_many_tokens() -> None:
    training = {"batch_size": 2, "gradient_accumulation_steps": 1, "epochs": 1}
    alone = job(training=training, predictions={"enabled": False})
    pod = {"provider": "runpod", "rent": {"gpu_count": 2}}
    several = job(training=training, predictions={"enabled": False}, pod=pod, distributed={"nodes": 2})
    one, four = (estimate.estimate(spec, ROWS, 0, tokens_per_second=100.0) for spec in (alone, several))
    assert (one.ranks, one.steps, four.ranks, four.steps) == (1, 50, 4, 12.5)
    assert one.tokens == four.tokens
    assert one.seconds and four.seconds == pytest.approx(one.seconds / 4)
    # Steps that were asked for are as many, and each of them trains on four times the rows.
    fixed = [
        estimate.estimate(
            job(
                training={"max_steps": 10},
                predictions={"enabled": False},
                distributed={"processes": count},
            ),
            ROWS,
            0,
            tokens_per_second=100.0,
        )
        for count in (1, 4)
    ]
    assert fixed[1].tokens == 4 * fixed[0].tokens
    assert fixed[0].seconds == pytest.approx(fixed[1].seconds)
    assert "4 × H100" in "\n".join(estimate.told(estimate.estimate(several, ROWS, 0, gpu="H100")))


def test_ranks_that_split_a_model_need_a_share_of_it_and_others_all_of_it() -> None:
    shape = KNOWN["meta-llama/Llama-3.1-8B"]

    def needed(count: int, strategy: str) -> estimate.Memory:
        ranks = {"processes": count, "strategy": strategy}
        return estimate.memory(job(lora=None, quantization=None, distributed=ranks), shape)

    one, copied, split = needed(1, "ddp"), needed(8, "ddp"), needed(8, "fsdp")
    assert one == copied == needed(1, "fsdp")
    assert split.gradients == one.gradients / 8
    assert split.optimizer == one.optimizer / 8
    # Two layers of 32 are whole beside the share.
    assert split.weights == pytest.approx(one.weights * (1 / 8 + 2 / 32 * 7 / 8))
    assert split.activations == one.activations
