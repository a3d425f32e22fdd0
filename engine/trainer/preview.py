"""`python -m engine.trainer.preview`: a few rows as the model will see them, trained tokens marked. JSON out.

It runs in a process of its own: no room on the laptop may load torch.
"""

from __future__ import annotations

import json
import sys
import tempfile
from dataclasses import asdict
from itertools import groupby
from pathlib import Path
from typing import Any, Final

from engine.errors import BadDataset, PodiumError
from engine.job import dataset
from engine.job.dataset import Dataset
from engine.job.folder import JobFolder
from engine.job.spec import JobSpec
from engine.trainer import loading

ROWS: Final = 3
"""How many rows are shown."""

_COMPLETION: Final = 256
"""Tokens that the completions of a prompt are given room for."""

Runs = list[dict[str, Any]]


def main(arguments: list[str]) -> int:
    """DATA METHOD MODEL [MAX_LENGTH] → one JSON object: `samples`, `too_long`; or `error` and `advice`."""
    data, method, model, *rest = arguments
    loading.begin()
    with tempfile.TemporaryDirectory() as place:
        try:
            told = preview(Path(data), method, model, Path(place), int(rest[0]) if rest else None)
        except PodiumError as error:
            told = {"error": error.what, "advice": error.advice}
        finally:
            loading.end()
    sys.stdout.write(json.dumps(told) + "\n")
    return 0 if "samples" in told else 2


def preview(data: Path, method: str, model: str, place: Path, max_length: int | None) -> dict[str, Any]:
    """What training with these rows would see.

    Args:
        data: The data file.
        method: The method that it is to train with.
        model: A Hub name or a folder, whose tokenizer is used.
        place: An empty folder.
        max_length: `training.max_length`; None is that of the method's template.

    Returns:
        `samples`: of the first rows that fit, the row's number (`row`), which side of a pair it is or
        `prompt` (`part`), and runs of text (`runs`); `too_long`: the rows that don't fit, or None.

    Raises:
        BadDataset, TrainingError: The rows, or the tokenizer, can't be used.
    """
    found = dataset.read(data, method=method)
    spec = _spec(data, method, model, max_length)
    from engine.trainer import setup

    setup.quiet(spec)
    from engine.trainer import fit
    from engine.trainer.model import load_tokenizer
    from engine.trainer.too_long import too_long

    tokenizer = load_tokenizer(spec, model, None)
    fit.check_end(tokenizer, found.format)
    longer = too_long(spec, found.rows, found.numbers, found.format, tokenizer)
    unfit = set(longer.rows) if longer is not None else set()
    shown = [pair for pair in zip(found.numbers, found.rows, strict=True) if pair[0] not in unfit][:ROWS]
    if not shown:
        raise BadDataset(str(data), [f"of {len(found.rows)} rows none fits: {longer}"], "Raise max_length.")
    told: dict[str, Any] = {"samples": _samples(spec, found, shown, tokenizer, place), "too_long": None}
    if longer is not None:
        told["too_long"] = asdict(longer) | {"rows": len(longer.rows), "told": str(longer)}
    return told


def _spec(data: Path, method: str, model: str, max_length: int | None) -> JobSpec:
    training: dict[str, Any] = {"gradient_checkpointing": False, "optimizer": "adamw_torch", "max_steps": 1}
    training |= {"packing": False} | ({"max_length": max_length} if max_length is not None else {})
    changed: dict[str, Any] = {"model": {"name": model, "dtype": "fp32"}, "lora": None, "quantization": None}
    if method == "rlhf" and max_length is not None:
        changed["rlhf"] = {"max_completion_length": min(_COMPLETION, max_length // 2)}
    values = {"template": f"{method}_standard", "name": "preview", "dataset": {"path": str(data)}}
    return JobSpec.parse({**values, **changed, "training": training}, "preview")


def _samples(
    spec: JobSpec, found: Dataset, shown: list[tuple[int, dict[str, Any]]], tokenizer: Any, place: Path
) -> list[dict[str, Any]]:
    rows = [row for _, row in shown]
    if spec.method == "rlhf":
        from engine.trainer import ppo_prompts

        parts = [
            {"prompt": _unlearnt(tokenizer, item.tokens)} for item in ppo_prompts.read(rows, tokenizer, spec)
        ]
    else:
        parts = [_parts(tokenizer, row) for row in _tokenized(spec, rows, found.format, tokenizer, place)]
    return [
        {"row": number, "part": part, "runs": runs}
        for (number, _), sides in zip(shown, parts, strict=True)
        for part, runs in sides.items()
    ]


def _tokenized(spec: JobSpec, rows: list[dict[str, Any]], format: str, tokenizer: Any, place: Path) -> Any:
    """The rows as the method's own trainer makes them."""
    from transformers import LlamaConfig, LlamaForCausalLM

    from engine.trainer import arguments, methods
    from engine.trainer.machine import Machine

    folder = JobFolder(place)
    folder.create()
    # The tokenizer alone counts: a model of next to no weights stands in.
    sizes = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}
    network = LlamaForCausalLM(LlamaConfig(vocab_size=len(tokenizer), **sizes))
    common = arguments.common(spec, folder, Machine.detect())
    job = methods.Ingredients(spec, network, tokenizer, rows, rows, format, common)
    return methods.builder(spec)(job).train_dataset


def _parts(tokenizer: Any, row: dict[str, Any]) -> dict[str, Runs]:
    """What a tokenized row is to its method, by side: one text, or the two of a pair."""
    if "prompt_ids" in row:  # dpo
        prompt = row["prompt_ids"]
        return {
            side: marked(tokenizer, prompt + row[f"{side}_ids"], [-100] * len(prompt) + row[f"{side}_ids"])
            for side in ("chosen", "rejected")
        }
    if "chosen_labels" in row:  # orpo, whose likelihood is that of the chosen side with its prompt
        chosen, rejected = row["chosen_input_ids"], row["rejected_input_ids"]
        return {
            "chosen": marked(tokenizer, chosen, chosen),
            "rejected": marked(tokenizer, rejected, row["rejected_labels"]),
        }
    return {"text": marked(tokenizer, row["input_ids"], row.get("labels") or row["input_ids"])}


def _unlearnt(tokenizer: Any, tokens: list[int]) -> Runs:
    return marked(tokenizer, tokens, [-100] * len(tokens))


def marked(tokenizer: Any, tokens: list[int], labels: list[int]) -> Runs:
    """Tokens as runs of text: `text`, `tokens` (how many) and `trained` (is there a loss on them?)."""
    runs = []
    for trained, run in groupby(zip(tokens, labels, strict=True), key=lambda pair: pair[1] != -100):
        ids = [token for token, _ in run]
        runs.append({"text": tokenizer.decode(ids), "tokens": len(ids), "trained": trained})
    return runs


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
