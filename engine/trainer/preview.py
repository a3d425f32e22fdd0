"""`python -m engine.trainer.preview`: a few rows as the model will see them, trained tokens marked. JSON out.

It runs in a process of its own: no room on the laptop may load torch.
"""

from __future__ import annotations

import json
import sys
import tempfile
from itertools import groupby
from pathlib import Path
from typing import Any, Final

from engine.errors import PodiumError
from engine.job import dataset
from engine.job.folder import JobFolder
from engine.job.spec import JobSpec

ROWS: Final = 3
"""How many rows are shown."""


def main(arguments: list[str]) -> int:
    """DATA METHOD MODEL → one JSON object: `samples`, or `error` and `advice`."""
    data, method, model = arguments
    with tempfile.TemporaryDirectory() as place:
        try:
            told: dict[str, Any] = {"samples": samples(Path(data), method, model, Path(place))}
        except PodiumError as error:
            told = {"error": error.what, "advice": error.advice}
    sys.stdout.write(json.dumps(told) + "\n")
    return 0 if "samples" in told else 2


def samples(data: Path, method: str, model: str, place: Path) -> list[list[dict[str, Any]]]:
    """Rows as runs of text, each with whether it is trained on.

    Args:
        data: The data file.
        method: The method that it is to train with; `sft`, whose rows have labels.
        model: A Hub name or a folder, whose tokenizer is used.
        place: An empty folder.

    Raises:
        BadDataset, TrainingError: The rows, or the tokenizer, can't be used.
    """
    found = dataset.read(data, method=method)
    training = {"gradient_checkpointing": False, "optimizer": "adamw_torch", "max_steps": 1}
    spec = JobSpec.parse(
        {
            "name": "preview",
            "method": method,
            "model": {"name": model, "dtype": "fp32"},
            "dataset": {"path": str(data)},
            "lora": None,
            "training": training,
        },
        "preview",
    )
    from engine.trainer import setup

    setup.quiet(spec)
    from transformers import LlamaConfig, LlamaForCausalLM

    from engine.trainer import arguments, methods
    from engine.trainer.machine import Machine
    from engine.trainer.model import load_tokenizer

    folder = JobFolder(place)
    folder.create()
    tokenizer = load_tokenizer(spec, model, None)
    # The tokenizer alone counts: a model of next to no weights stands in.
    sizes = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}
    network = LlamaForCausalLM(LlamaConfig(vocab_size=len(tokenizer), **sizes))
    common = arguments.common(spec, folder, Machine.detect())
    rows = found.rows[:ROWS]
    job = methods.Ingredients(spec, network, tokenizer, rows, rows, found.format, common)
    trainer = methods.builder(spec)(job)
    return [marked(tokenizer, row["input_ids"], row["labels"]) for row in trainer.train_dataset]


def marked(tokenizer: Any, tokens: list[int], labels: list[int]) -> list[dict[str, Any]]:
    """Tokens as runs of text: `text`, `tokens` (how many) and `trained` (is there a loss on them?)."""
    runs = []
    for trained, run in groupby(zip(tokens, labels, strict=True), key=lambda pair: pair[1] != -100):
        ids = [token for token, _ in run]
        runs.append({"text": tokenizer.decode(ids), "tokens": len(ids), "trained": trained})
    return runs


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
