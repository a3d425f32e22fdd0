"""Four bits on a CPU: gradients flow through quantized layers, before and after an evaluation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from engine.job.sections import BuildSpec
from engine.job.spec import JobSpec, merged
from tests.trainer import jobs
from tests.trainer.methods import PROMPTS, rlhf

pytestmark = pytest.mark.training

QUANTIZED = {"quantization": {"compute_dtype": "fp32"}, **jobs.LORA}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A model of two layers in a folder; four bits are packed by 64 weights."""
    pytest.importorskip("bitsandbytes")
    from engine.trainer import build

    path = tmp_path_factory.mktemp("base") / "model"
    sizes = BuildSpec(vocab_size=320, hidden_size=64, layers=2, heads=2, intermediate_size=128)
    build.build(sizes, jobs.rows(), 7, path)
    return str(path)


def gradients(model: Any) -> dict[str, Any]:
    """Of the first layer's adapters, whose gradient comes through the second layer."""
    import torch

    torch.manual_seed(0)
    model.train()
    model.zero_grad()
    tokens = torch.arange(3, 35).reshape(2, 16)
    model(input_ids=tokens, labels=tokens).loss.backward()
    found = {name: weights.grad for name, weights in model.named_parameters() if weights.grad is not None}
    return {name: gradient.clone() for name, gradient in found.items() if ".layers.0." in name}


def test_the_gradient_is_that_of_the_dequantized_weights_also_after_an_evaluation(
    base: str, tmp_path: Path
) -> None:
    import torch
    from bitsandbytes.functional import dequantize_4bit
    from peft import get_peft_model
    from transformers import AutoModelForCausalLM

    from engine.trainer import model
    from engine.trainer.lora import lora_config

    folder = jobs.make_job(tmp_path / "a", merged(QUANTIZED, {"model": {"name": base, "build": None}}))
    spec = JobSpec.from_json(folder.spec)
    spec = spec.model_copy(
        update={"lora": spec.lora.model_copy(update={"dropout": 0.0})} if spec.lora else {}
    )
    quantized, _ = model.load(spec, folder, [])
    plain = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    whole = {
        name: dequantize_4bit(module.weight.data, module.weight.quant_state)
        for name, module in quantized.named_modules()
        if hasattr(getattr(module, "weight", None), "quant_state")
    }
    assert len(whole) == 14
    plain.load_state_dict({f"{name}.weight": weights for name, weights in whole.items()}, strict=False)
    adapted = []
    for network in (quantized, plain):
        torch.manual_seed(1)
        adapted.append(get_peft_model(network, lora_config(spec)))
        for name, weights in adapted[-1].named_parameters():
            if "lora_B" in name:
                torch.nn.init.normal_(weights, std=0.02)
    expected = gradients(adapted[1])
    for evaluated in (False, True):
        if evaluated:
            adapted[0].eval()
            with torch.no_grad():
                adapted[0](input_ids=torch.arange(3, 19).reshape(1, 16))
        found = gradients(adapted[0])
        assert found.keys() == expected.keys() and len(found) == 4
        for name, gradient in found.items():
            torch.testing.assert_close(gradient, expected[name], rtol=1e-3, atol=1e-6)


def test_ppo_learns_through_quantized_layers_without_a_warning(
    base: str, tmp_path: Path, recwarn: pytest.WarningsRecorder
) -> None:
    folder = jobs.make_job(
        tmp_path / "a", merged(rlhf("ppo"), {**QUANTIZED, "model": {"name": base, "build": None}}), PROMPTS
    )
    jobs.run_here(folder)
    assert jobs.events(folder, "result")
    assert [str(item.message) for item in recwarn if "autograd kernel" in str(item.message)] == []
