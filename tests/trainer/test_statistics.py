"""Now and then a run looks closely: the gradient of each layer, and how long its rows are."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from engine.job.folder import JobFolder
from engine.trainer import gradients
from tests.trainer import jobs
from tests.trainer.conftest import ByMethod
from tests.trainer.methods import METHODS, OFTEN

pytestmark = pytest.mark.training


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> JobFolder:
    """A full fine-tune of two layers, whose gradients are clipped hard."""
    build = {**jobs.BUILD, "layers": 2}
    changes = {"model": {"build": build}, "training": {**OFTEN, "max_length": 40}}
    folder = jobs.make_job(tmp_path_factory.mktemp("statistics") / "job", changes)
    jobs.run_here(folder)
    return folder


def test_each_layers_gradient_is_told_before_clipping_at_the_first_step_and_every_so_many(
    run: JobFolder,
) -> None:
    told = jobs.events(run, "gradients")
    assert [event.step for event in told] == [1, 2, 4]
    for event in told:
        layers = event.data["layers"]
        assert list(layers) == ["embed_tokens", "layers.0", "layers.1", "norm"]
        total = math.sqrt(sum(norm**2 for norm in layers.values()))
        assert total == pytest.approx(event.data["grad_norm"], rel=1e-4)
        assert event.data["grad_norm"] > 0.01
        assert event.data["largest"] == {
            "layer": max(layers, key=layers.__getitem__),
            "norm": max(layers.values()),
        }
        assert event.data["smallest"]["norm"] == min(layers.values())
    logged = jobs.by_step(run, "train", "grad_norm")
    assert all(logged[event.step or 0] == (event.data["grad_norm"],) for event in told)


def test_lengths_are_those_of_the_rows_that_were_trained_on(run: JobFolder) -> None:
    told = {event.step: event.data for event in jobs.events(run, "tokens")}
    assert list(told) == [1, 2, 4]
    assert [data["sequences"] for data in told.values()] == [4, 4, 8]
    sums = {step: data["mean"] * data["sequences"] for step, data in told.items()}
    tokens = jobs.by_step(run, "train", "tokens")
    assert sums[1] == tokens[1][0] and sum(sums.values()) == tokens[4][0]
    for data in told.values():
        assert data["min"] <= data["p50"] <= data["p95"] <= data["max"] <= 40
        assert 0 < data["trained"] < 1
        assert 0 <= data["padding"] < 1


def test_truncation_padding_and_trained_tokens_are_shares() -> None:
    import torch

    from engine.trainer.meter import Meter, seen

    mask = torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0]])
    labels = torch.where(mask.bool(), torch.tensor([[-100, -100, 3, 4], [-100, 2, 0, 0]]), -100)
    packed = torch.tensor([[0, 1, 2, 3, 0, 1]])
    meter = Meter()
    for inputs in ({"attention_mask": mask, "labels": labels}, {"position_ids": packed}):
        found = seen(inputs, longest=4)
        assert found is not None and found.rows == 2
        meter.add(found)
    assert meter.lengths() == {
        "sequences": 4, "min": 2, "mean": 3.0, "p50": 3.0, "p95": 4.0, "max": 4,
        "truncated": 0.5, "padding": pytest.approx(2 / 14), "trained": (3 + 6) / 12,
    }  # fmt: skip
    assert meter.lengths() == {} and meter.tokens == 12
    found = seen({"attention_mask": mask})
    assert found is not None
    meter.add(found)
    told = meter.lengths(lambda own: [own, ([7], 7, 7, 0)])
    assert (told["sequences"], told["max"], told["padding"]) == (3, 7, pytest.approx(2 / 15))


def test_zero_tells_nothing(tmp_path: Path) -> None:
    folder = jobs.make_job(tmp_path / "a", {"training": {**OFTEN, "statistics_steps": 0}})
    jobs.run_here(folder)
    assert jobs.events(folder, "gradients") == jobs.events(folder, "tokens") == []


ALWAYS = {
    "loss", "learning_rate", "grad_norm", "epoch", "tokens", "tokens_per_second", "samples_per_second",
}  # fmt: skip
PAIRED = {"rewards/chosen", "rewards/rejected", "rewards/margins", "rewards/accuracies"}
REWARDED = {"reward", "reward_std", "kl", "entropy"}
NAMED = {"rewards/contains/mean", "rewards/contains/std"}
FIGURES: dict[str, tuple[set[str], set[str]]] = {
    "sft": ({"train_perplexity", "entropy", "mean_token_accuracy"}, {"eval_loss", "perplexity"}),
    "dpo": (PAIRED | {"entropy"}, {f"eval_{name}" for name in PAIRED} | {"eval_loss", "eval_entropy"}),
    "orpo": (
        PAIRED | {"log_odds_ratio", "nll_loss", "train_perplexity"},
        {f"eval_{name}" for name in PAIRED} | {"eval_loss", "eval_log_odds_ratio", "perplexity"},
    ),
    "grpo": (REWARDED | NAMED, {"eval_reward", "eval_rewards/contains", "eval_kl", "eval_entropy"}),
    "rloo": (REWARDED | NAMED, {"eval_reward", "eval_rewards/contains", "eval_kl", "eval_entropy"}),
    "ppo": (
        REWARDED | {"policy_loss", "value_loss", "clip_fraction"} | NAMED,
        {"eval_reward", "eval_kl", "eval_rewards/contains"},
    ),
}
"""What each method tells at every logged step, and at each evaluation."""


@pytest.mark.parametrize("name", METHODS)
def test_every_method_tells_them_and_its_own_figures(name: str, by_method: ByMethod) -> None:
    folder, (trained, evaluated) = by_method(name), FIGURES[name]
    assert [event.step for event in jobs.events(folder, "gradients")] == [1, 2, 4]
    assert {name for event in jobs.events(folder, "gradients") for name in event.data["layers"]} >= {
        "layers.0"
    }
    for event in jobs.events(folder, "tokens"):
        assert 0 < event.data["trained"] < 1 and event.data["max"] <= 96
    for event in jobs.events(folder, "train"):
        figures = {figure: event.data.get(figure) for figure in ALWAYS | trained}
        assert all(isinstance(value, (int, float)) for value in figures.values()), figures
        assert figures["tokens_per_second"] > figures["samples_per_second"] > 0
    for event in jobs.events(folder, "eval"):
        figures = {figure: event.data.get(figure) for figure in evaluated}
        assert all(isinstance(value, (int, float)) for value in figures.values()), figures
    (first,) = jobs.events(folder, "train", lambda event: event.step == 1)
    assert first.data["tokens"] == round(
        jobs.events(folder, "tokens")[0].data["mean"] * jobs.events(folder, "tokens")[0].data["sequences"]
    )


@pytest.mark.parametrize(
    ("name", "layer"),
    [
        ("base_model.model.model.layers.3.self_attn.q_proj.lora_A.default.weight", "layers.3"),
        ("model.layers.11.mlp.experts.4.up_proj.weight", "layers.11"),
        ("transformer.h.2.attn.c_attn.bias", "h.2"),
        ("model.embed_tokens.weight", "embed_tokens"),
        ("base_model.model.lm_head.modules_to_save.default.weight", "lm_head"),
    ],
)
def test_a_weight_belongs_to_the_layer_of_its_first_number(name: str, layer: str) -> None:
    assert gradients.layer_of(name) == layer


def test_a_gradient_that_is_no_number_is_told_as_such_and_is_the_largest() -> None:
    told = gradients.extremes({"layers.0": 2.0, "layers.1": math.nan, "norm": 0.5})
    assert told["largest"]["layer"] == "layers.1" and math.isnan(told["largest"]["norm"])
    assert told["smallest"] == {"layer": "norm", "norm": 0.5}
