"""On a GPU the fast path is the default: chosen by what fits, told, never at the cost of what is learnt."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from engine.job.spec import JobSpec
from engine.trainer import speed
from engine.trainer.machine import Machine
from tests.trainer import jobs

H100 = Machine("cuda", bf16=True, bitsandbytes=True, flash_attention=True, threads=8, memory=80_000_000_000)
CPU = Machine("cpu", bf16=False, bitsandbytes=True, flash_attention=False, threads=1)


def job(**sections: Any) -> JobSpec:
    given = {
        "name": "test",
        "model": {"name": "meta-llama/Llama-3.2-1B"},
        "dataset": {"path": "data.jsonl"},
        **sections,
    }
    return JobSpec.model_validate(given)


def test_a_large_gpu_computes_a_step_in_fewer_larger_parts_without_padding_or_recomputing() -> None:
    spec, chosen = speed.choose(job(), H100)
    assert (chosen.batch_size, chosen.gradient_accumulation_steps) == (8, 4)
    assert chosen.gradient_checkpointing is False
    assert (chosen.attention, chosen.padding, chosen.loss) == ("flash_attention_2", "flat", "chunked")
    assert len(chosen.why) == 4
    assert chosen.estimated_bytes is not None and chosen.estimated_bytes < 0.85 * 80e9
    assert spec.model.attention == "flash_attention_2"
    assert spec.training.batch_size * spec.training.gradient_accumulation_steps == 32
    assert spec.training.gradient_checkpointing is False


def test_a_small_gpu_keeps_to_what_fits() -> None:
    spec, chosen = speed.choose(job(), replace(H100, memory=8_000_000_000))
    assert (chosen.batch_size, chosen.gradient_accumulation_steps) == (4, 8)
    assert chosen.gradient_checkpointing is True
    assert spec.training.gradient_checkpointing is True


def test_without_flash_attention_rows_are_padded_and_attention_is_torchs() -> None:
    _, chosen = speed.choose(job(), replace(H100, flash_attention=False))
    assert (chosen.attention, chosen.padding) == ("sdpa", "padded")


@pytest.mark.parametrize("wish", [True, False])
def test_what_the_user_set_stays(wish: bool) -> None:
    training = {"gradient_checkpointing": wish, "packing": True}
    model = {"name": "meta-llama/Llama-3.2-1B", "attention": "eager"}
    spec, chosen = speed.choose(job(training=training, model=model), H100)
    assert spec.training.gradient_checkpointing is wish
    assert (chosen.attention, chosen.padding) == ("eager", "packed")


def test_what_was_learnt_about_memory_stays() -> None:
    shrunk = {"batch_size": 2, "gradient_accumulation_steps": 16}
    _, chosen = speed.choose(job(training=shrunk), H100, shrunk)
    assert (chosen.batch_size, chosen.gradient_accumulation_steps) == (2, 16)


def test_a_model_of_unknown_size_and_a_rollouts_batches_are_left_as_they_are() -> None:
    unknown, chosen = speed.choose(job(model={"name": "somebody/something"}), H100)
    assert (chosen.batch_size, chosen.gradient_checkpointing, chosen.estimated_bytes) == (4, True, None)
    assert unknown.training.gradient_checkpointing is True
    rlhf = {"algorithm": "grpo", "rewards": ["distinct"]}
    _, chosen = speed.choose(job(method="rlhf", rlhf=rlhf), H100)
    assert (chosen.batch_size, chosen.padding) == (4, "padded")


def test_on_a_cpu_nothing_is_chosen() -> None:
    asked = job(training={"gradient_checkpointing": True})
    assert speed.choose(asked, CPU)[0] == asked
    spec, chosen = speed.choose(job(), CPU)
    assert spec.training.gradient_checkpointing is True
    assert (chosen.attention, chosen.padding, chosen.batch_size, chosen.why) == ("auto", "padded", 4, ())


@pytest.mark.training
def test_rows_one_behind_the_other_learn_what_padded_ones_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    padded, flat = jobs.make_job(tmp_path / "padded"), jobs.make_job(tmp_path / "flat")
    jobs.run_here(padded)
    choose = speed.choose

    def flatly(*arguments: Any) -> Any:
        spec, chosen = choose(*arguments)
        return spec, replace(chosen, padding="flat")

    monkeypatch.setattr(speed, "choose", flatly)
    jobs.run_here(flat)
    for type, names in {"train": ("loss", "grad_norm", "tokens"), "eval": ("eval_loss",)}.items():
        expected = jobs.by_step(padded, type, *names)
        found = jobs.by_step(flat, type, *names)
        assert found.keys() == expected.keys()
        for step, values in expected.items():
            assert found[step] == pytest.approx(values, rel=1e-4), (type, step)
    (start,) = jobs.events(flat, "start")
    assert start.data["speed"]["padding"] == "flat"
    (statistics, *_) = jobs.events(flat, "tokens")
    assert statistics.data["padding"] == 0
    (statistics, *_) = jobs.events(padded, "tokens")
    assert statistics.data["padding"] > 0
