"""The fast path on a GPU: the same rows in every optimizer step, computed in less time.

What is chosen changes cost, never what is learnt: which kernel attends, whether padding is computed, whether
the loss keeps all logits, how many rows go through at once, and whether activations are kept or computed
again. All of it is told in the `start` event. Memory is what `engine/job/estimate.py` expects at the longest
rows; where that was too little, running out of it is dealt with as ever, and what was learnt then wins.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from typing import Any, Final

from engine.job import estimate
from engine.job.shape import Shape, shape_of
from engine.job.spec import JobSpec
from engine.trainer.machine import Machine

_ENOUGH: Final = 16_384
"""Tokens of a micro-step from which on a GPU is busy: smaller ones wait for launches and weights."""

_SHARE: Final = 0.85
"""Of a GPU's memory that may be planned with."""

_REGROUPED: Final = ("sft", "cpt", "dpo", "orpo")
"""Methods whose micro-batches are any rows of a step."""

_FLAT: Final = ("sft", "cpt")
"""Methods whose rows can stand one behind the other in one sequence, none of which sees another."""


@dataclass(frozen=True, slots=True)
class Choices:
    """How a job is computed here.

    Args:
        attention: The kernel.
        padding: `packed` and `flat` compute none; `padded` rows are as long as the longest of their batch.
        loss: `chunked` never holds all logits.
        batch_size: Rows of a micro-step and device.
        gradient_accumulation_steps: Micro-steps of an optimizer step.
        gradient_checkpointing: Are activations computed again instead of kept?
        estimated_bytes: GPU memory that this should take; None where nobody can say.
        why: What was chosen and not asked for, and why, a sentence each.
    """

    attention: str
    padding: str
    loss: str
    batch_size: int
    gradient_accumulation_steps: int
    gradient_checkpointing: bool
    estimated_bytes: float | None
    why: tuple[str, ...] = ()


def choose(spec: JobSpec, machine: Machine, learnt: Collection[str] = ()) -> tuple[JobSpec, Choices]:
    """The spec with what the user left to us filled in, and how it will be computed.

    Args:
        spec: The job, adapted to the machine.
        machine: Where it runs.
        learnt: Keys of the training section that were changed because memory ran out: they stay.
    """
    why: list[str] = []
    shape = shape_of(spec)
    room = None if machine.memory is None else _SHARE * machine.memory
    attention = _attention(spec, machine, why)
    training: dict[str, Any] = {}
    if spec.training.gradient_checkpointing is None:
        training["gradient_checkpointing"] = True
    trial = _with(spec, training)
    if machine.device == "cuda" and shape is not None and room is not None:
        if spec.training.gradient_checkpointing is None and _fits(_kept(trial), shape, room):
            training["gradient_checkpointing"] = False
            why.append("activations are kept, for there is room")
        if spec.method in _REGROUPED and not {"batch_size", "gradient_accumulation_steps"} & set(learnt):
            training |= _regrouped(_with(spec, training), shape, room, why)
    model = spec.model.model_copy(update={"attention": attention})
    chosen = _with(spec.model_copy(update={"model": model}), training)
    flat = spec.method in _FLAT and attention.startswith("flash_attention") and machine.device == "cuda"
    if flat and not spec.training.packing:
        why.append("rows stand one behind the other: no padding is computed")
    now = chosen.training
    return chosen, Choices(
        attention=attention,
        padding="packed" if now.packing else "flat" if flat else "padded",
        loss="chunked" if spec.method in _FLAT else "whole",
        batch_size=now.batch_size,
        gradient_accumulation_steps=now.gradient_accumulation_steps,
        gradient_checkpointing=bool(now.gradient_checkpointing),
        estimated_bytes=estimate.memory(chosen, shape).total if shape is not None else None,
        why=tuple(why),
    )


def flatten(trainer: Any) -> None:
    """Let a trainer's batches be rows one behind the other; they were cut to their length before."""
    trainer.padding_free = True
    trainer.data_collator = replace(trainer.data_collator, padding_free=True)


def _attention(spec: JobSpec, machine: Machine, why: list[str]) -> str:
    if spec.model.attention != "auto" or machine.device != "cuda":
        return spec.model.attention
    if machine.flash_attention and spec.model.dtype != "fp32":
        why.append("flash-attn is installed: attention takes rows of any length as they are")
        return "flash_attention_2"
    why.append("flash-attn is not installed: attention is torch's own")
    return "sdpa"


def _regrouped(spec: JobSpec, shape: Shape, room: float, why: list[str]) -> dict[str, int]:
    """Fewer, larger micro-batches of the same step, as far as they fit; nothing where they are enough."""
    now = spec.training.batch_size
    rows = now * spec.training.gradient_accumulation_steps
    best = now
    for size in (size for size in _divisors(rows) if size > now):
        if best * spec.training.max_length >= _ENOUGH:
            break
        if not _fits(_with(spec, {"batch_size": size}), shape, room):
            break
        best = size
    if best == now:
        return {}
    why.append(f"micro-batches of {best} rows instead of {now}, the same {rows} a step: there is room")
    return {"batch_size": best, "gradient_accumulation_steps": rows // best}


def _divisors(number: int) -> Iterator[int]:
    return (size for size in range(1, number + 1) if number % size == 0)


def _kept(spec: JobSpec) -> JobSpec:
    return _with(spec, {"gradient_checkpointing": False})


def _fits(spec: JobSpec, shape: Shape, room: float) -> bool:
    return estimate.memory(spec, shape).total <= room


def _with(spec: JobSpec, training: dict[str, Any]) -> JobSpec:
    return spec.model_copy(update={"training": spec.training.model_copy(update=training)})
