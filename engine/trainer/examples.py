"""The loss of each eval example: with it two checkpoints are compared on the same examples, in pairs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

from engine.trainer.meter import packed_lengths

LIMIT: Final = 1000
"""Examples of an evaluation whose losses are kept: the first in its order."""


@contextmanager
def overheard(model: Any) -> Iterator[list[Any]]:
    """What a model answers inside, one output a forward pass."""
    heard: list[Any] = []
    hook = model.register_forward_hook(lambda module, arguments, output: heard.append(output))
    try:
        yield heard
    finally:
        hook.remove()


def losses(output: Any, inputs: dict[str, Any]) -> list[float]:
    """The mean loss of each row's trained tokens, nats; rows without any are left out.

    Args:
        output: Has `log_probs` and `label_mask`, (rows, tokens − 1), as TRL's models have them.
        inputs: The batch; with `position_ids` and no `attention_mask` its rows stand one behind the other.
    """
    import torch

    sums, mask = -output.log_probs.detach().float(), output.label_mask
    if inputs.get("attention_mask") is None and inputs.get("position_ids") is not None:
        lengths = packed_lengths(inputs["position_ids"])
        row = torch.repeat_interleave(torch.arange(len(lengths), device=lengths.device), lengths)
        # A row's first token is a label of nobody: place t is about token t + 1.
        row = row[1 : 1 + sums.numel()]
        sums = sums.new_zeros(len(lengths)).index_add(0, row, sums.reshape(-1))
        counts = sums.new_zeros(len(lengths)).index_add(0, row, mask.reshape(-1).to(sums.dtype))
    else:
        sums, counts = sums.sum(1), mask.sum(1)
    return [total / count for total, count in zip(sums.tolist(), counts.tolist(), strict=True) if count]


def told(found: Sequence[float]) -> list[float]:
    """Losses as an event tells them: to five digits."""
    return [float(f"{loss:.5g}") for loss in found[:LIMIT]]
