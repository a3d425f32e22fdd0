"""What a job would be rented, and at what price: its memory by the estimate, held against the catalog."""

from __future__ import annotations

import asyncio

from engine.controller.pods import Pods
from engine.controller.preparation import Data
from engine.job import dataset, estimate
from engine.job.estimate import Estimate
from engine.job.placement import RentSpec
from engine.job.shape import shape_of
from engine.job.spec import JobSpec
from engine.pods.quote import Quote, quote


async def quoted(pods: Pods, spec: JobSpec) -> Quote:
    """Ask for prices and stock; nothing is rented.

    Args:
        pods: Who knows the provider.
        spec: The job, for provider runpod.

    Raises:
        BadInput: What is wished for does not exist.
        ProviderError: The prices can't be had, or nothing fits.
    """
    rent = spec.pod.rent or RentSpec()
    needed = await asyncio.to_thread(_memory_gb, spec)
    return await quote(pods.provider(rent.backend), spec, needed)


def estimated(spec: JobSpec, data: Data, gpu: str | None) -> Estimate:
    """What a job will take on a GPU, its data split as they will be. Blocking."""
    if data.train is None:
        return estimate.estimate(spec, [], 0, gpu=gpu)  # nobody knows what a script takes
    if data.eval is None:
        train, held_out = dataset.split(data.train, spec.dataset, spec.training.seed)
    else:
        train, held_out = data.train.rows, data.eval.rows
    return estimate.estimate(spec, train, len(held_out), gpu=gpu)


def _memory_gb(spec: JobSpec) -> float | None:
    shape = shape_of(spec)
    return None if shape is None else estimate.memory(spec, shape).total / 1e9
