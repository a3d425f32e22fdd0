"""The arithmetic of the GPU benchmark, which nobody sees wrong by looking at its numbers."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import trainer_gpu
from engine.job.estimate import TFLOPS


def test_a_cards_peak_is_found_by_the_longest_name_that_fits() -> None:
    assert trainer_gpu.peak_flops("NVIDIA H100 80GB HBM3") == 989e12
    assert trainer_gpu.peak_flops("NVIDIA A100-SXM4-80GB") == 312e12
    assert trainer_gpu.peak_flops("NVIDIA A10") == 125e12
    assert trainer_gpu.peak_flops("NVIDIA L40S") == TFLOPS["L40S"] * 1e12
    assert trainer_gpu.peak_flops("anything", 100) == 1e14
    with pytest.raises(ValueError, match=r"the peak of Voodoo 2 is not known .* give --peak-tflops"):
        trainer_gpu.peak_flops("Voodoo 2")


def test_a_1b_lora_needs_the_published_operations_a_token_and_so_half_an_h200_is_91k_tokens() -> None:
    spec = trainer_gpu.spec_of(Path("model"), Path("data.jsonl"), 30)
    flops = trainer_gpu.flops_a_token(spec, 2048)
    assert flops == pytest.approx(5.41e9, rel=0.03)
    assert trainer_gpu.mfu(91_000, flops, 989e12) == pytest.approx(0.5, rel=0.03)
    recomputing = spec.training.model_copy(update={"gradient_checkpointing": True})
    assert trainer_gpu.flops_a_token(spec.model_copy(update={"training": recomputing}), 2048) == flops


def test_a_rate_counts_what_was_timed() -> None:
    assert trainer_gpu.Side(90_000, 1.5, [], [], 0).rate == 60_000


def test_an_expectation_is_off_by_a_share_of_what_was_measured() -> None:
    assert trainer_gpu.off(20e9, 23e9) == pytest.approx(0.15)
    assert trainer_gpu.off(20e9, 16e9) == pytest.approx(-0.2)


def test_losses_differ_where_they_are_further_apart_than_rounding_or_one_run_is_shorter() -> None:
    assert trainer_gpu.differing([2.0, 1.0], [2.02, 0.99]) == []
    assert trainer_gpu.differing([2.0, 1.0, 0.5], [2.0, 1.03, 0.45]) == [1, 2]
    assert trainer_gpu.differing([2.0, float("nan")], [2.0, float("nan")]) == [1]
    assert trainer_gpu.differing([2.0], [2.0, 1.0]) == [0, 1]
    assert trainer_gpu.differing([], []) == [0]


def test_rows_fill_whole_steps_and_the_rest_is_to_evaluate_on() -> None:
    rows = trainer_gpu.rows(True, steps=4)
    assert len(rows) == 5 * trainer_gpu.ROWS_A_STEP
    assert rows == trainer_gpu.rows(True, steps=4)
    lengths = [len(row["messages"][1]["content"].split()) for row in rows]
    assert max(lengths) > 5 * min(lengths)
    spec = trainer_gpu.spec_of(Path("model"), Path("data.jsonl"), 4)
    assert spec.training.batch_size * spec.training.gradient_accumulation_steps == trainer_gpu.ROWS_A_STEP
    assert spec.dataset.train_split * len(rows) == 4 * trainer_gpu.ROWS_A_STEP


@pytest.mark.training
def test_without_a_gpu_it_refuses_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert trainer_gpu.main(30, 1, None, tmp_path) == 2
    assert capsys.readouterr().err == "benchmarks/trainer.py --gpu: there is no GPU here that torch can use\n"
