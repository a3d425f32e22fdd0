"""What this machine can do, and what to do about a spec that asks for more.

A fallback is taken where it changes cost but not the result that was asked for; where it would, or
could end in running out of memory, training is refused before step 1.
"""

from __future__ import annotations

import importlib.util
import os
from dataclasses import dataclass
from typing import Any, Final

from engine.errors import TrainingError
from engine.job.spec import JobSpec
from engine.trainer.distributed import cores


@dataclass(frozen=True, slots=True)
class Machine:
    """What training can run on.

    Args:
        device: `cuda`, `mps` or `cpu`.
        bf16: Is bf16 computed by the hardware?
        bitsandbytes: Is it installed?
        flash_attention: Is the flash-attn package installed?
        threads: CPU threads that torch uses.
        names: The GPUs' names.
        memory: Bytes of the smallest GPU; None without one.
    """

    device: str
    bf16: bool
    bitsandbytes: bool
    flash_attention: bool
    threads: int
    names: tuple[str, ...] = ()
    memory: int | None = None

    @classmethod
    def detect(cls) -> Machine:
        """Look at this machine, and set torch's threads."""
        import torch

        # One core is left to those who watch: threads that wait for each other crawl on a busy machine.
        threads = int(os.environ.get("OMP_NUM_THREADS") or max(1, cores() - 1))
        torch.set_num_threads(threads)
        cuda = torch.cuda.is_available()
        mps = not cuda and torch.backends.mps.is_available()
        count = torch.cuda.device_count() if cuda else 0
        return cls(
            device="cuda" if cuda else "mps" if mps else "cpu",
            bf16=cuda and torch.cuda.is_bf16_supported(including_emulation=False),
            bitsandbytes=importlib.util.find_spec("bitsandbytes") is not None,
            flash_attention=importlib.util.find_spec("flash_attn") is not None,
            threads=threads,
            names=tuple(torch.cuda.get_device_name(index) for index in range(count)),
            memory=min(
                (torch.cuda.get_device_properties(index).total_memory for index in range(count)), default=None
            ),
        )


@dataclass(frozen=True, slots=True)
class Fallback:
    """Something the spec asked for that this machine lacks.

    Args:
        failure: What is lacking.
        action: What is done instead.
    """

    failure: str
    action: str


_PLAIN_OPTIMIZERS: Final = {
    "paged_adamw_8bit": "adamw_torch",
    "paged_adamw_32bit": "adamw_torch",
    "adamw_8bit": "adamw_torch",
    "adamw_bnb_8bit": "adamw_torch",
}
"""Optimizers of bitsandbytes, and those of torch that take the same steps with more memory."""


def adapt(spec: JobSpec, machine: Machine) -> tuple[JobSpec, list[Fallback]]:
    """The spec as this machine can run it, and what was changed.

    Raises:
        TrainingError: It can't be run here safely.
    """
    if spec.quantization is not None and not machine.bitsandbytes:
        raise TrainingError(
            "model",
            "quantization needs bitsandbytes, which is not installed here",
            "pip install bitsandbytes, or set quantization: null to load the model whole.",
        )
    fallbacks: list[Fallback] = []
    sharded = spec.distributed.strategy == "fsdp"
    if sharded and spec.quantization is not None:
        raise TrainingError(
            "model",
            "fsdp can't split a model in 4 bits",
            "Set distributed.strategy: ddp, or quantization: null.",
        )
    distributed: dict[str, Any] = {}
    if sharded and machine.device != "cuda":
        distributed["strategy"] = "ddp"
        fallbacks.append(Fallback("fsdp needs GPUs", "each process holds the whole model (ddp)"))
    model: dict[str, Any] = {}
    training: dict[str, Any] = {}
    if spec.model.dtype != "fp32" and machine.device != "cuda":
        model["dtype"] = "fp32"
        fallbacks.append(Fallback(f"no GPU for {spec.model.dtype}", "computing in fp32"))
    elif spec.model.dtype == "bf16" and not machine.bf16:
        model["dtype"] = "fp32"
        fallbacks.append(Fallback("this GPU has no bf16", "computing in fp32"))
    if spec.model.attention == "flash_attention_2" and not (
        machine.flash_attention and machine.device == "cuda"
    ):
        model["attention"] = "sdpa"
        fallbacks.append(Fallback("flash_attention_2 needs a GPU and the flash-attn package", "using sdpa"))
    optimizer = spec.training.optimizer
    if _needs_bitsandbytes(optimizer) and not (machine.bitsandbytes and machine.device == "cuda"):
        if optimizer not in _PLAIN_OPTIMIZERS:
            raise TrainingError(
                "model",
                f"the optimizer {optimizer} needs a GPU and bitsandbytes",
                "Choose another training.optimizer.",
            )
        training["optimizer"] = _PLAIN_OPTIMIZERS[optimizer]
        fallbacks.append(
            Fallback(f"{optimizer} needs a GPU and bitsandbytes", f"using {training['optimizer']}")
        )
    return (
        spec.model_copy(
            update={
                "model": spec.model.model_copy(update=model),
                "training": spec.training.model_copy(update=training),
                "distributed": spec.distributed.model_copy(update=distributed),
            }
        ),
        fallbacks,
    )


def _needs_bitsandbytes(optimizer: str) -> bool:
    return optimizer.startswith("paged_") or optimizer in _PLAIN_OPTIMIZERS or optimizer.startswith("lion_")
