"""How much a job has to do: tokens to train on, steps, evaluations, tokens to draw one by one. Ships."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from engine.job import formats
from engine.job.spec import JobSpec

_CHARACTERS: Final = 4.0
"""Of English text, a token; it is a guess, and so are the tokens of data that was not tokenized."""

_GENERATIONS: Final = 8
"""Completions of a prompt where the spec does not say how many (grpo, rloo)."""


@dataclass(frozen=True, slots=True)
class Amount:
    """What a job does.

    Args:
        tokens: Trained on in all, each pass over them counted, padding left out.
        length: Tokens of a sequence on average.
        steps: Optimizer steps, each of which every rank has a share of.
        evaluated: Tokens of all evaluations together.
        drawn: Tokens that completions and predictions are drawn by, one after the other: those of one
            batch are drawn together.
    """

    tokens: int
    length: float
    steps: float
    evaluated: float
    drawn: float


def ranks(spec: JobSpec) -> int:
    """Processes that train together, on all machines; what nothing tells counts as one on each."""
    rented = spec.pod.rent.gpu_count if spec.pod.rent is not None else 1
    return spec.distributed.nodes * (spec.distributed.processes or rented)


def amount(spec: JobSpec, rows: Iterable[Mapping[str, Any]], eval_rows: int) -> Amount:
    """How much there is to do.

    Args:
        spec: The job.
        rows: The rows to train on.
        eval_rows: How many rows each evaluation has.
    """
    units = [_sequences(spec, row) for row in rows]
    count, sequences = len(units), max(1, sum(map(len, units)))
    tokens_a_row = sum(map(sum, units)) / max(1, count)
    # Batches are each rank's own.
    step_rows = spec.training.batch_size * spec.training.gradient_accumulation_steps * ranks(spec)
    trained = _rows_trained(spec, count, step_rows)
    steps = trained / step_rows
    evaluations = max(1, math.ceil(steps / spec.training.eval_steps))
    return Amount(
        tokens=round(trained * tokens_a_row),
        length=sum(map(sum, units)) / sequences,
        steps=steps,
        evaluated=evaluations * eval_rows * tokens_a_row,
        drawn=_drawn(spec, trained, step_rows, evaluations, eval_rows),
    )


def _rows_trained(spec: JobSpec, rows: int, step_rows: int) -> float:
    """Rows of micro-batches in all; of a prompt each completion is one, in each pass over it."""
    if spec.training.max_steps is not None:
        return float(spec.training.max_steps * step_rows)
    if spec.rlhf is None:
        return rows * spec.training.epochs
    return rows * spec.training.epochs * spec.rlhf.ppo_epochs * _completions(spec)


def _completions(spec: JobSpec) -> int:
    """Completions of a prompt."""
    if spec.rlhf is None or spec.rlhf.algorithm == "ppo":
        return 1
    return spec.rlhf.num_generations or _GENERATIONS


def _drawn(spec: JobSpec, trained: float, step_rows: int, evaluations: int, eval_rows: int) -> float:
    drawn = 0.0
    if spec.rlhf is not None:
        size = spec.rlhf.rollout_size
        together = size * ranks(spec) if size else step_rows
        evaluated_together = (spec.training.eval_batch_size or spec.training.batch_size) * ranks(spec)
        batches = trained / spec.rlhf.ppo_epochs / together
        batches += evaluations * math.ceil(eval_rows / evaluated_together)
        drawn += batches * spec.rlhf.max_completion_length
    if spec.predictions.enabled:
        drawn += evaluations * spec.predictions.sample_count * spec.predictions.max_new_tokens
    return drawn


def _sequences(spec: JobSpec, row: Mapping[str, Any]) -> list[int]:
    """Tokens of the sequences that a row of a micro-batch is: two of a pair; what is too long is cut."""
    longest = spec.training.max_length
    if spec.rlhf is not None:
        answer = spec.rlhf.max_completion_length
        return [min(longest - answer, _tokens(row.get("prompt"))) + answer]
    if spec.method in ("dpo", "orpo"):
        sides = ([row.get("prompt"), row.get(side)] for side in ("chosen", "rejected"))
        return [min(longest, _tokens(side)) for side in sides]
    format = formats.detect([dict(row)], spec.method)
    seen = [row.get(column) for column in formats.content(format)] if format is not None else row
    tokens = _tokens(seen)
    # Packed texts are split, not cut.
    return [tokens if spec.method == "cpt" and spec.training.packing else min(longest, tokens)]


def _tokens(value: Any) -> int:
    return round(_characters(value) / _CHARACTERS) + 1


def _characters(value: Any) -> int:
    if isinstance(value, str):
        return len(value)
    if isinstance(value, Mapping):
        return sum(map(_characters, value.values()))
    return sum(map(_characters, value)) if isinstance(value, (list, tuple)) else 0
