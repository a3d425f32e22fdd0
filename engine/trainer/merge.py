"""The adapter and its base as one model, and the proof that it says the same as the two of them."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from engine.errors import TrainingError
from engine.job.folder import JobFolder
from engine.job.spec import JobSpec
from engine.trainer import memory, model, predictions

ROWS: Final = 4
TOKENS: Final = 128
"""How many eval rows are compared, and how many of the last tokens of each: logits are large."""

DTYPE: Final = "bf16"
"""What a model is merged in, whatever it was trained in: what serves models takes it."""

TOLERANCE: Final = 0.02
"""How far the losses may lie apart, nats a token.

A merged weight is rounded once more than base and adapter apart: by 2⁻⁹ of itself (bf16 has 8 bits of
precision). That moves logits by about as much of their own size, a little more with depth; the loss is a
mean over tokens whose errors have either sign.
"""


@dataclass(frozen=True, slots=True)
class Parity:
    """How the merged model differs from base and adapter apart, both in the dtype of the merge.

    An adapter that was trained on a quantized base has learnt to live with that one's roundings, which the
    merged model lacks: how it does on that base is told too.

    Args:
        max_logit_difference: The greatest difference of any logit.
        loss: The mean loss of base and adapter, nats a token.
        loss_difference: How much more the merged model has, nats a token.
        rows: Eval rows compared.
        tokens: Their tokens.
        within: Does the loss differ by no more than `TOLERANCE`?
        quantized_loss: The mean loss of the quantized base with the adapter, as it was trained; None for
            an adapter of a base that was not quantized.
    """

    max_logit_difference: float
    loss: float
    loss_difference: float
    rows: int
    tokens: int
    within: bool
    quantized_loss: float | None = None


def merge(
    spec: JobSpec, folder: JobFolder, adapter: Path, target: Path, rows: list[dict[str, Any]], format: str
) -> Parity:
    """Merge an adapter into its base, loaded anew without quantization, and compare what is on the disk.

    Args:
        spec: The job as it was asked for.
        folder: The job's folder.
        adapter: The adapter's folder.
        target: The folder to make, whole or not at all.
        rows: Eval rows to compare on.
        format: Their format.

    Raises:
        TrainingError: The base is quantized on the Hub already, or can't be loaded.
        OSError, RuntimeError, MemoryError: It can't be merged or written.
    """
    from peft import PeftModel

    whole = spec.model_copy(
        update={"quantization": None, "model": spec.model.model_copy(update={"dtype": DTYPE})}
    )
    base, tokenizer = model.load(whole, folder, [])
    if getattr(base.config, "quantization_config", None) is not None:
        raise TrainingError(
            "model",
            f"{spec.model.name} is quantized as it is: an adapter can't be merged into it",
            "Name the model that it was made from.",
        )
    chosen = [_tokens(tokenizer, row, format) for row in rows[:ROWS]]
    quantized = _quantized_loss(spec, folder, adapter, chosen) if spec.quantization is not None else None
    adapted = PeftModel.from_pretrained(base, str(adapter)).eval()
    before = _logits(adapted, chosen)
    merged = adapted.merge_and_unload(safe_merge=True)
    written = aside(target)
    shutil.rmtree(written, ignore_errors=True)
    merged.save_pretrained(written)
    tokenizer.save_pretrained(written)
    del base, adapted, merged
    memory.free()
    source = whole.model.model_copy(update={"name": str(written), "revision": None, "build": None})
    after = _logits(model.load(whole.model_copy(update={"model": source}), folder, [])[0].eval(), chosen)
    shutil.rmtree(target, ignore_errors=True)
    written.rename(target)
    return replace(_compare(before, after, chosen), quantized_loss=quantized)


def aside(target: Path) -> Path:
    """Where a merged model is written before it is whole."""
    return target.with_name(f".{target.name}.tmp")


def _quantized_loss(spec: JobSpec, folder: JobFolder, adapter: Path, rows: list[list[int]]) -> float:
    """The mean loss of what was trained: the adapter on the quantized base."""
    from peft import PeftModel

    base, _ = model.load(spec, folder, [])
    adapted = PeftModel.from_pretrained(base, str(adapter)).eval()
    loss = sum(map(_loss, _logits(adapted, rows), rows)) / sum(len(row) - 1 for row in rows)
    del base, adapted
    memory.free()
    return loss


def _tokens(tokenizer: Any, row: dict[str, Any], format: str) -> list[int]:
    """A row's tokens, prompt and answer, the last ones where there are many."""
    item = predictions.exchange(row, format, tokenizer)
    answer = tokenizer(item.truth or "", add_special_tokens=False)["input_ids"]
    tokens: list[int] = [*predictions.prompt_tokens(tokenizer, item.prompt), *answer]
    return tokens[-TOKENS:]


def _logits(network: Any, rows: list[list[int]]) -> list[Any]:
    """The logits of each row, (tokens, vocabulary), fp32 on the CPU."""
    import torch

    if torch.cuda.is_available():
        network = network.to("cuda")
    device = next(network.parameters()).device
    with torch.no_grad():
        return [network(torch.tensor([row], device=device)).logits[0].float().cpu() for row in rows]


def _loss(logits: Any, row: list[int]) -> float:
    """The loss of a row's tokens but the first, nats in all."""
    import torch

    return float(torch.nn.functional.cross_entropy(logits[:-1], torch.tensor(row[1:]), reduction="sum"))


def _compare(before: list[Any], after: list[Any], rows: list[list[int]]) -> Parity:
    greatest = max(float((one - other).abs().max()) for one, other in zip(before, after, strict=True))
    tokens = sum(len(row) - 1 for row in rows)
    loss = sum(map(_loss, before, rows)) / tokens
    difference = sum(map(_loss, after, rows)) / tokens - loss
    return Parity(greatest, loss, difference, len(rows), tokens, abs(difference) <= TOLERANCE)
