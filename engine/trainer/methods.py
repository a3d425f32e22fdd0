"""The methods, each by the function that builds its trainer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from engine.job.spec import JobSpec


@dataclass(frozen=True, slots=True)
class Ingredients:
    """What a method's trainer is made of.

    Args:
        spec: The job, adapted to this machine.
        model: The model, without adapters.
        tokenizer: Its tokenizer.
        train: The rows to train on.
        held_out: The rows to evaluate on.
        format: The rows' format, one of the method's.
        arguments: What every method's arguments have in common.
    """

    spec: JobSpec
    model: Any
    tokenizer: Any
    train: list[dict[str, Any]]
    held_out: list[dict[str, Any]]
    format: str
    arguments: dict[str, Any]


Build = Callable[[Ingredients], Any]
"""Makes a method's `PodiumTrainer`."""


def builder(spec: JobSpec) -> Build:
    """What builds the trainer of the spec's method; its libraries are loaded now."""
    return _BUILDERS[spec.method](spec)


def _sft(spec: JobSpec) -> Build:
    from engine.trainer import sft

    return sft.trainer


def _cpt(spec: JobSpec) -> Build:
    from engine.trainer import cpt

    return cpt.trainer


def _dpo(spec: JobSpec) -> Build:
    from engine.trainer import dpo

    return dpo.trainer


def _orpo(spec: JobSpec) -> Build:
    from engine.trainer import orpo

    return orpo.trainer


def _rlhf(spec: JobSpec) -> Build:
    assert spec.rlhf is not None
    if spec.rlhf.algorithm == "ppo":
        from engine.trainer import ppo

        return ppo.trainer
    if spec.rlhf.algorithm == "grpo":
        from engine.trainer import grpo

        return grpo.trainer
    from engine.trainer import rloo

    return rloo.trainer


_BUILDERS: Final[dict[str, Callable[[JobSpec], Build]]] = {
    "sft": _sft,
    "cpt": _cpt,
    "dpo": _dpo,
    "orpo": _orpo,
    "rlhf": _rlhf,
}
