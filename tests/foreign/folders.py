"""Makes run folders as transformers leaves them, without training."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any


def log(*evals: tuple[int, float, float], every: int = 10) -> list[dict[str, Any]]:
    """A log_history: (step, train loss, eval loss), the train loss logged at the same step and before it."""
    rows: list[dict[str, Any]] = []
    for step, train_loss, eval_loss in evals:
        rows.append({"epoch": step / 100, "grad_norm": 1.0, "loss": train_loss, "step": step})
        rows.append({"epoch": step / 100, "eval_loss": eval_loss, "eval_runtime": 0.1, "step": step})
    return rows


def write_state(folder: Path, history: list[dict[str, Any]], step: int = 0) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "trainer_state.json"
    path.write_text(json.dumps({"global_step": step, "log_history": history}))
    return path


def write_weights(folder: Path, name: str = "model.safetensors", tensors: int = 4) -> Path:
    """A true safetensors file with one tensor of `tensors` zeros."""
    folder.mkdir(parents=True, exist_ok=True)
    header = json.dumps(
        {"w": {"dtype": "F32", "shape": [tensors], "data_offsets": [0, 4 * tensors]}}
    ).encode()
    path = folder / name
    path.write_bytes(struct.pack("<Q", len(header)) + header + bytes(4 * tensors))
    return path


def write_run(folder: Path, *evals: tuple[int, float, float]) -> Path:
    """A run folder with a complete checkpoint at each eval, each state holding the log up to there."""
    history = log(*evals)
    for place, (step, _, _) in enumerate(evals):
        checkpoint = folder / f"checkpoint-{step}"
        write_weights(checkpoint)
        write_state(checkpoint, history[: 2 * (place + 1)], step)
    return folder
