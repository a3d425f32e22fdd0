"""How large the gradient of each layer is, before it was clipped."""

from __future__ import annotations

import math
import re
from typing import Any, Final

from engine.job.events import EventType
from engine.trainer.attempt import Attempt

_LAYER: Final = re.compile(r"(?:^|\.)(\w+\.\d+)(?=\.)")
"""The first numbered module in a weight's name, such as `layers.3` or `h.11`."""

_WRAPPED: Final = re.compile(r"^(?:module\.|_orig_mod\.|base_model\.|model\.)+")
_WEIGHT: Final = re.compile(r"\.(?:lora_\w+|weight|bias|default|modules_to_save)(?=\.|$)")


def tell(attempt: Attempt, model: Any, grad_norm: float | None, max_norm: float, step: int) -> None:
    """The event of one step's gradients; `layer_norms` says what the arguments are."""
    norms = layer_norms(model, grad_norm, max_norm)
    if norms:
        attempt.events.append(EventType.GRADIENTS, step, grad_norm=grad_norm, layers=norms, **extremes(norms))


def layer_norms(model: Any, grad_norm: float | None, max_norm: float) -> dict[str, float]:
    """The gradient's norm in each layer that is trained, in the order of the model.

    One pass over the gradients, and one wait for the device.

    Args:
        model: With its gradients, clipped or not.
        grad_norm: The norm of all of them before they were clipped; None takes them as they are.
        max_norm: What they were clipped to; 0 for not at all.
    """
    import torch

    names, norms = [], []
    for name, weights in model.named_parameters():
        if weights.grad is not None:
            norm = torch.linalg.vector_norm(weights.grad.detach(), dtype=torch.float32)
            names.append(layer_of(name))
            norms.append(norm.full_tensor() if hasattr(norm, "full_tensor") else norm)
    if not norms:
        return {}
    squares: dict[str, float] = {}
    for name, norm in zip(
        names, torch.stack([norm.to(norms[0].device) for norm in norms]).tolist(), strict=True
    ):
        squares[name] = squares.get(name, 0.0) + norm * norm
    scale = _unclipped(grad_norm, max_norm)
    return {name: math.sqrt(square) * scale if square >= 0 else square for name, square in squares.items()}


def layer_of(name: str) -> str:
    """The layer that a weight belongs to: its first numbered module, else the module itself."""
    if found := _LAYER.search(name):
        return found[1]
    return _WEIGHT.sub("", _WRAPPED.sub("", name)) or name


def extremes(norms: dict[str, float]) -> dict[str, Any]:
    """The layers with the largest and the smallest norm; one that is no number is the largest."""

    def size(item: tuple[str, float]) -> float:
        return item[1] if not math.isnan(item[1]) else math.inf

    largest, smallest = max(norms.items(), key=size), min(norms.items(), key=size)
    return {
        "largest": {"layer": largest[0], "norm": largest[1]},
        "smallest": {"layer": smallest[0], "norm": smallest[1]},
    }


def _unclipped(grad_norm: float | None, max_norm: float) -> float:
    """By what clipping divided, as `torch.nn.utils.clip_grad_norm_` does it."""
    if grad_norm is None or max_norm <= 0 or not math.isfinite(grad_norm):
        return 1.0
    return max(1.0, (grad_norm + 1e-6) / max_norm)
