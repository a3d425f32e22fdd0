"""The demo's two runs: the same everything but the learning rate, so that there is something to compare."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from engine.demo.data import EVAL_ROWS, TRAIN_ROWS
from engine.job.placement import LimitsSpec, PodSpec
from engine.job.sections import BuildSpec, DatasetSpec, ModelSpec, TrainingSpec
from engine.job.spec import JobSpec

LEARNING_RATES: Final = (1e-3, 3e-3)


def demo_specs(dataset_path: Path) -> list[JobSpec]:
    """The demo's jobs, in the order to run them.

    Settings that overfit within a minute on two cores, so that the best checkpoint is not the last one.

    Args:
        dataset_path: What `make_dataset` wrote.
    """
    return [_spec(rate, dataset_path) for rate in LEARNING_RATES]


def _spec(learning_rate: float, dataset_path: Path) -> JobSpec:
    mantissa, exponent = f"{learning_rate:e}".split("e")
    return JobSpec(
        name=f"docstrings-lr-{float(mantissa):g}e{int(exponent)}",
        method="sft",
        model=ModelSpec(name="llama-demo-0.5M", dtype="fp32", build=BuildSpec(max_positions=256)),
        dataset=DatasetSpec(
            path=str(dataset_path),
            format="messages",
            train_split=TRAIN_ROWS / (TRAIN_ROWS + EVAL_ROWS),
            split_by="module",
        ),
        lora=None,
        training=TrainingSpec(
            max_steps=360,
            learning_rate=learning_rate,
            batch_size=16,
            eval_batch_size=50,
            gradient_accumulation_steps=1,
            max_length=128,
            optimizer="adamw_torch",
            schedule="constant",
            warmup_steps=20,
            weight_decay=0.0,
            gradient_checkpointing=False,
            log_steps=5,
            eval_steps=20,
            keep_checkpoints=3,
            seed=0,
        ),
        limits=LimitsSpec(max_hours=1, stall_minutes=5, max_restarts=3),
        pod=PodSpec(provider="local", cost_per_hour=0),
        tags=("demo",),
    )
