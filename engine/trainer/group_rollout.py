"""The completions that GRPO and RLOO are using, kept in checkpoints that fall between two rollouts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file


def save(path: Path, batches: list[dict[str, Any]], figures: dict[str, float]) -> None:
    """Write a rollout.

    Args:
        path: The file.
        batches: Its micro-batches; what is no tensor in them must be JSON.
        figures: What was told of it.
    """
    tensors: dict[str, Any] = {}
    others = []
    for number, batch in enumerate(batches):
        others.append({name: value for name, value in batch.items() if not torch.is_tensor(value)})
        tensors |= {
            f"{number}.{name}": value.contiguous().clone()
            for name, value in batch.items()
            if torch.is_tensor(value)
        }
    notes = {"others": others, "figures": figures}
    save_file(tensors, path, {name: json.dumps(value) for name, value in notes.items()})


def load(path: Path, device: Any) -> tuple[list[dict[str, Any]], dict[str, float]]:
    """The micro-batches and the figures that `save` wrote."""
    with safe_open(path, "pt", str(device)) as opened:
        notes = opened.metadata() or {}
        tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
    batches: list[dict[str, Any]] = json.loads(notes["others"])
    for name, value in tensors.items():
        number, key = name.split(".", 1)
        batches[int(number)][key] = value
    return batches, json.loads(notes.get("figures", "{}"))
