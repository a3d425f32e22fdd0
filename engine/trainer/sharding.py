"""How several ranks share a model: arguments of transformers' trainers for DDP and FSDP."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from engine.errors import TrainingError
from engine.job.spec import JobSpec
from engine.trainer.distributed import Ranks
from engine.trainer.machine import Machine


def arguments(spec: JobSpec, ranks: Ranks, machine: Machine) -> dict[str, Any]:
    """What the trainers' arguments have besides, where there is more than one rank.

    Args:
        spec: The job, adapted to the machine.
        ranks: This one among them.
        machine: Where it runs.
    """
    if ranks.alone:
        return {}
    found: dict[str, Any] = {
        "ddp_timeout": round(spec.distributed.timeout_minutes * 60),
        # Every weight that is trained has a part in every token's loss: nothing to look for.
        "ddp_find_unused_parameters": False,
    }
    if machine.device == "cpu":
        found["ddp_backend"] = "gloo"
    if spec.distributed.strategy == "fsdp":
        return {**found, "fsdp": True, "fsdp_config": fsdp(spec), "activation_checkpointing": False}
    return found


def check(checkpoint: Path, trainer: Any) -> None:
    """Can the optimizer's state in a checkpoint be read by ranks that share the model as these do?

    Raises:
        TrainingError: It was saved in the other way.
    """
    split = (checkpoint / "optimizer.bin").exists()
    if split != bool(trainer.is_fsdp_enabled):
        was = "by ranks that split the model (fsdp)" if split else "by ranks that did not split the model"
        raise TrainingError(
            "spec",
            f"{checkpoint.name} was saved {was}: its optimizer can't be read in another way",
            "Go on with the distributed.strategy that the job was begun with, on as good a machine.",
        )


def fsdp(spec: JobSpec) -> dict[str, Any]:
    """FSDP2, a unit for each of the model's layers; checkpoints are whole, as those of one rank are.

    Activation checkpointing is FSDP's own: the trainers' would gather each layer's weights twice.
    """
    return {
        "version": 2,
        "auto_wrap_policy": "TRANSFORMER_BASED_WRAP",
        "state_dict_type": "FULL_STATE_DICT",
        "reshard_after_forward": True,
        "cpu_ram_efficient_loading": False,
        "activation_checkpointing": spec.training.gradient_checkpointing is not False,
    }
