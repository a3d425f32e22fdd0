"""What a job will take, before the money is spent: GPU memory, time and dollars. Standard library only.

Sources. Activations: Korthikanti et al., "Reducing Activation Recomputation in Large Transformer Models"
(2022), counted anew for gated MLPs, RMSNorm and attention that keeps no scores. NF4: Dettmers et al.,
"QLoRA" (2023), section 3: 4 bits and 0.127 bits a weight with double quantization, 0.5 without. Operations:
Kaplan et al., "Scaling Laws" (2020), section 2.1: 2 a weight and token forward, twice that backward; of
that the half that frozen weights need not. GPUs: their data sheets, bf16 without sparsity.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

from engine.job.amount import amount, ranks
from engine.job.shape import Shape, shape_of
from engine.job.spec import JobSpec

_BYTES: Final = {"bf16": 2, "fp16": 2, "fp32": 4}
_STATE: Final = {
    "adamw": 8.0,
    "adamw_8bit": 2.06,
    "lion": 4.0,
    "lion_8bit": 1.03,
    "adafactor": 0.01,
    "sgd": 0.0,
}
"""Bytes of optimizer state a trained weight: fp32 moments, or bytes with a scale for each block of 256."""

_CONTEXT: Final = 0.75e9
"""Bytes that CUDA's context, its libraries' workspaces and kernels take."""

_FRAGMENTS: Final = 1.05
"""What the allocator keeps that nothing uses."""

TFLOPS: Final[Mapping[str, float]] = {
    "B200": 2250, "H200": 989, "H100": 989, "A100": 312, "L40S": 362, "RTX 4090": 165, "A10": 125, "L4": 121,
}  # fmt: skip
MFU: Final = 0.4
"""The share of a GPU's operations that training is taken to reach."""

_DECODING: Final = 1e-3
"""Seconds of a layer and a token that is drawn: launching its kernels takes as long for many rows as for one.
A guess, for nothing here measured it."""

_CHUNKED: Final = ("sft", "cpt")
_TILE: Final = (4096, 8192)
"""Tokens and entries of the vocabulary that TRL's chunked loss takes at once."""

_ROWS_OF: Final = {"dpo": 2, "orpo": 2}
"""Sequences a row of a micro-batch, by method: chosen and rejected."""


@dataclass(frozen=True, slots=True)
class Memory:
    """Memory of one GPU at the worst moment, bytes.

    Args:
        weights: The model, and a reference model where the method needs a whole one.
        adapters: LoRA's own weights.
        gradients: Of what is trained.
        optimizer: Its state.
        activations: Kept for the backward pass, at full length.
        logits: And their gradients.
        overhead: CUDA's context, and what the allocator wastes.
    """

    weights: float
    adapters: float
    gradients: float
    optimizer: float
    activations: float
    logits: float
    overhead: float

    @property
    def total(self) -> float:
        """All of it, bytes."""
        parts: Iterable[float] = asdict(self).values()
        return sum(parts)


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a job will take; None for what can't be known here.

    Args:
        weights: The model's weights.
        trained: How many of them (or of its adapters') are trained.
        memory: GPU memory by what it is for; None for a model whose sizes nothing here tells.
        tokens: To train on, all passes over them, padding left out; a guess from the characters.
        flops: Operations of a trained token.
        seconds: On that GPU, evaluations, completions and predictions included, loading not.
        dollars: At the pod's price.
        gpu: The GPU that the time is for.
        ranks: How many of them train together, each on rows of its own.
        steps: Optimizer steps; each takes the batches of all ranks.
    """

    weights: int | None
    trained: int | None
    memory: Memory | None
    tokens: int
    flops: float | None
    seconds: float | None
    dollars: float | None
    gpu: str | None
    ranks: int = 1
    steps: float | None = None

    def to_json(self) -> dict[str, Any]:
        """As JSON values, bytes in all among them."""
        total = self.memory.total if self.memory is not None else None
        return {**asdict(self), "memory_bytes": total}


def estimate(
    spec: JobSpec,
    rows: Iterable[Mapping[str, Any]],
    eval_rows: int,
    gpu: str | None = None,
    tokens_per_second: float | None = None,
) -> Estimate:
    """What a job will take.

    Args:
        spec: The job.
        rows: The rows to train on.
        eval_rows: How many rows each evaluation has.
        gpu: The GPU, such as `H100`; the longest name in `TFLOPS` that its name holds counts.
        tokens_per_second: The speed of one rank, where it is known; else it follows from the GPU.
    """
    shape, todo = shape_of(spec), amount(spec, rows, eval_rows)
    flops = flops_a_token(spec, shape, todo.length) if shape is not None else None
    known = max((name for name in TFLOPS if gpu is not None and name in gpu), key=len, default=None)
    if tokens_per_second is None and flops is not None and known is not None:
        tokens_per_second = TFLOPS[known] * 1e12 * MFU / flops
    seconds = None
    if tokens_per_second:
        # Evaluating is a forward pass alone: a third of what training costs.
        seconds = (todo.tokens + todo.evaluated / 3) / (tokens_per_second * ranks(spec))
        seconds += todo.drawn * shape.layers * _DECODING if shape is not None else 0.0
    price = spec.pod.cost_per_hour
    return Estimate(
        weights=shape.weights if shape is not None else None,
        trained=trained(spec, shape) if shape is not None else None,
        memory=memory(spec, shape) if shape is not None else None,
        tokens=todo.tokens,
        flops=flops,
        seconds=seconds,
        dollars=seconds / 3600 * price if seconds is not None and price is not None else None,
        gpu=known,
        ranks=ranks(spec),
        steps=todo.steps,
    )


def trained(spec: JobSpec, shape: Shape) -> int:
    """How many weights are trained: LoRA's r · (inputs + outputs) of each target, or all."""
    if spec.lora is None:
        return shape.weights
    return shape.layers * sum(spec.lora.r * sum(shape.linear(name)) for name in spec.lora.target_modules)


def memory(spec: JobSpec, shape: Shape) -> Memory:
    """GPU memory at the worst moment of training, one GPU of a rank, rows at full length.

    With fsdp each rank keeps its share of weights, gradients and optimizer, and beside it whole the layer
    that it computes and the next one; with ddp all of it.
    """
    size = _BYTES[spec.model.dtype]
    count = trained(spec, shape)
    if spec.lora is None:
        # fp32 weights, and the copies in 16 bits that autocast keeps during a step.
        weights: float = shape.weights * (4 + (size if size < 4 else 0))
        weights += shape.weights * 4 if spec.method in ("dpo", "rlhf") else 0
    elif spec.quantization is not None:
        bits = 4 + (0.127 if spec.quantization.double_quantization else 0.5)
        weights = shape.linears * bits / 8 + (shape.weights - shape.linears) * size
    else:
        weights = shape.weights * size
    sequences = spec.training.batch_size * _ROWS_OF.get(spec.method, 1)
    tokens = sequences * spec.training.max_length
    layer = _layer(spec, shape, size)
    stream = shape.hidden * (size if spec.lora is not None else 4)
    kept = shape.layers * stream + layer if again(spec) else shape.layers * layer
    share = ranks(spec) if spec.distributed.strategy == "fsdp" else 1
    gathered = 2 * weights / shape.layers * (share - 1) / share
    used = {
        "weights": weights / share + gathered,
        "adapters": 4.0 * count / share if spec.lora is not None else 0.0,
        "gradients": 4.0 * count / share,
        "optimizer": count * _state(spec.training.optimizer) / share,
        "activations": float(tokens * kept),
        "logits": _logits(spec, shape, tokens, size),
    }
    return Memory(**used, overhead=_CONTEXT + (_FRAGMENTS - 1) * sum(used.values()))


def again(spec: JobSpec) -> bool:
    """Are activations computed again? They are where nothing else was said."""
    return spec.training.gradient_checkpointing is not False


def _logits(spec: JobSpec, shape: Shape, tokens: int, size: int) -> float:
    """Bytes of the logits and their gradients, or of what TRL's chunked loss (sft, cpt) has instead."""
    if spec.method in _CHUNKED:
        # A tile and its fp32 copy; of each token its hidden state's gradient in fp32, and ten statistics.
        tile = min(tokens, _TILE[0]) * min(shape.vocab, _TILE[1]) * (size + 4)
        return float(tile + tokens * (shape.hidden + 10) * 4)
    # As they come, in fp32 for the loss, and the gradients of both.
    return float(tokens * shape.vocab * (2 * size + 8))


def _layer(spec: JobSpec, shape: Shape, size: int) -> float:
    """Bytes a token that a layer keeps for its backward pass."""
    attention, keys = shape.heads * shape.head, shape.kv_heads * shape.head
    # Both norms keep fp32 inputs and their outputs; attention its three inputs, its output and a sum a head.
    norms = 2 * shape.hidden * (4 + size)
    attended = size * (2 * attention + 2 * keys) + 4 * shape.heads
    # The gate before and after its function, what it gates, and their product.
    gated = 4 * size * shape.intermediate
    if spec.lora is None:
        return norms + attended + gated
    inputs = sum(shape.linear(name)[0] for name in spec.lora.target_modules)
    # Adapters are fp32: each keeps its input in that, and with dropout which of them were dropped.
    return norms + attended + gated + inputs * (4 + (1 if spec.lora.dropout > 0 else 0))


def flops_a_token(spec: JobSpec, shape: Shape, length: float) -> float:
    """Operations of training on one token.

    Args:
        spec: The job.
        shape: The model's sizes.
        length: Tokens of a row on average; attention looks back on half of them.
    """
    multiplied = shape.linears + shape.vocab * shape.hidden
    forward = 2.0 * multiplied
    attention = 2.0 * length * shape.heads * shape.head * shape.layers
    # Of frozen weights the gradients of the weights, as much as a forward pass, are not computed.
    backward = forward * (1 if spec.lora is not None else 2) + 2 * attention
    recomputed = forward + attention if again(spec) else 0.0
    looks = 1.0 if spec.method == "dpo" else 0.0
    if spec.rlhf is not None:
        # Once in a rollout, which several passes are made over: the policy as it was, and the reference.
        looks = 2 / spec.rlhf.ppo_epochs
    return forward + attention + backward + recomputed + looks * (forward + attention)


def _state(optimizer: str) -> float:
    name = optimizer.removeprefix("paged_").replace("_torch_fused", "").replace("_torch", "")
    return _STATE[name.replace("_32bit", "")]


def told(found: Estimate) -> list[str]:
    """The estimate in lines for people."""
    lines = []
    if found.memory is None:
        lines.append("GPU memory: unknown, for nothing on this machine tells how large the model is")
    else:
        parts = sorted(asdict(found.memory).items(), key=lambda part: -part[1])
        main = ", ".join(f"{name} {value / 1e9:.1f}" for name, value in parts if value > 5e7)
        each = "GPU memory of each rank" if found.ranks > 1 else "GPU memory"
        lines.append(f"{each}: about {found.memory.total / 1e9:.1f} GB ({main})")
    guessed = f"about {found.tokens:,} tokens in all"
    if found.seconds is None:
        lines.append(f"Time: unknown ({guessed})")
    else:
        its = "their" if found.ranks > 1 else "its"
        where = f" on {_many(found)} at {MFU:.0%} of {its} speed" if found.gpu else ""
        lines.append(f"Time: {_duration(found.seconds)}{where}, loading not counted ({guessed})")
    if found.dollars is not None:
        lines.append(f"Cost: {f'about ${found.dollars:.2f}' if found.dollars >= 0.01 else 'under $0.01'}")
    return lines


def _many(found: Estimate) -> str:
    return f"{found.ranks} × {found.gpu}" if found.ranks > 1 else f"one {found.gpu}"


def _duration(seconds: float) -> str:
    if seconds < 60:
        return "under a minute"
    return f"about {seconds / 60:.0f} min" if seconds < 5400 else f"about {seconds / 3600:.1f} h"
