"""The spec's training section as arguments of transformers' trainers: every key arrives, 0 included."""

from __future__ import annotations

from typing import Any

from engine.job.folder import JobFolder
from engine.job.spec import JobSpec
from engine.trainer import checkpoints
from engine.trainer.machine import Machine


def common(spec: JobSpec, folder: JobFolder, machine: Machine) -> dict[str, Any]:
    """Arguments that every method takes.

    Args:
        spec: The job, adapted to the machine.
        folder: The job's folder; checkpoints are written to its staging folder and renamed from there.
        machine: Where it runs.
    """
    training = spec.training
    return {
        "output_dir": str(checkpoints.staging(folder)),
        "num_train_epochs": training.epochs,
        "max_steps": training.max_steps if training.max_steps is not None else -1,
        "learning_rate": training.learning_rate,
        "per_device_train_batch_size": training.batch_size,
        "per_device_eval_batch_size": training.eval_batch_size or training.batch_size,
        "gradient_accumulation_steps": training.gradient_accumulation_steps,
        "optim": training.optimizer,
        "lr_scheduler_type": schedule(training.schedule, training.warmup_steps),
        "warmup_steps": training.warmup_steps,
        "weight_decay": training.weight_decay,
        "max_grad_norm": training.max_grad_norm,
        "activation_checkpointing": training.gradient_checkpointing is not False,
        "gradient_checkpointing": None,
        "logging_strategy": "steps",
        "logging_steps": training.log_steps,
        "eval_strategy": "steps",
        "eval_steps": training.eval_steps,
        "save_strategy": "steps",
        "save_steps": training.eval_steps,
        "save_total_limit": None,
        "seed": training.seed,
        "bf16": spec.model.dtype == "bf16",
        "fp16": spec.model.dtype == "fp16",
        "use_cpu": machine.device == "cpu",
        "dataloader_pin_memory": machine.device == "cuda",
        "logging_nan_inf_filter": False,
        "disable_tqdm": True,
        "report_to": "none",
    }


def schedule(name: str, warmup_steps: int) -> str:
    """The schedule's name there; `constant` alone would ignore the warm-up."""
    return "constant_with_warmup" if name == "constant" and warmup_steps > 0 else name
