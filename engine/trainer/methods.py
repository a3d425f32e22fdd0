"""The methods, each by the function that builds its trainer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from engine.job.spec import JobSpec

Build = Callable[..., Any]
"""(spec, model, tokenizer, train rows, eval rows, their format, common arguments) -> a `PodiumTrainer`."""


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
