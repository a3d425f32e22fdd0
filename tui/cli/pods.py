"""`podium pods`: everything that the RunPod account runs, what it costs, and which run it belongs to."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from engine.analysis import format as words
from tui.cli.options import json_option
from tui.cli.output import emit, line, one_line, table
from tui.cli.workplace import up_to_date

if TYPE_CHECKING:
    from engine.pods.provider import Rented
    from engine.records import Job


@click.command()
@json_option
def pods(as_json: bool) -> None:
    """List all that the RunPod account runs, with what it costs an hour; a stray belongs to no run here."""
    found = asyncio.run(_rented())
    with up_to_date() as store:
        known = {job.pod_id: job for job in store.jobs(archived=True, deleted=True) if job.pod_id}
    if as_json:
        emit("pods", [_facts(pod, known.get(pod.id)) for pod in found])
    elif found:
        _show(found, known)
    else:
        line("The account runs nothing.")


async def _rented() -> Sequence[Rented]:
    from engine.pods.runpod_account import connect

    provider = connect()
    try:
        return [pod for pod in await provider.list() if not pod.gone]
    finally:
        await provider.close()


def _show(found: Sequence[Rented], known: Mapping[str, Job]) -> None:
    now = datetime.now(UTC)
    rows = [_row(pod, known.get(pod.id), now) for pod in found]
    table(("POD", "ID", "STATUS", "GPUS", "BUSY", "$/H", "SINCE", "RUN"), rows, right=("BUSY", "$/H"))
    hourly = sum(pod.price_per_hour or 0.0 for pod in found)
    strays = sum(pod.id not in known for pod in found)
    line(f"Together {words.dollars(hourly)} an hour; {strays} of {len(found)} belong to no run here.")


def _row(pod: Rented, job: Job | None, now: datetime) -> tuple[str, ...]:
    busy = _busy(pod)
    return (
        one_line(pod.name),
        one_line(pod.id),
        pod.status,
        one_line(f"{pod.gpu_count} × {pod.gpu_name}") if pod.gpu_name else words.UNKNOWN,
        words.UNKNOWN if busy is None else f"{busy:.0f} %",
        words.dollars(pod.price_per_hour),
        words.day(pod.created_at, now) if pod.created_at else words.UNKNOWN,
        job.name if job else "stray",
    )


def _busy(pod: Rented) -> float | None:
    """The GPUs' mean utilization, percent; None when nobody says."""
    told = [use.utilization_percent for use in pod.gpus if use.utilization_percent is not None]
    return sum(told) / len(told) if told else None


def _facts(pod: Rented, job: Job | None) -> dict[str, object]:
    return {
        "id": pod.id,
        "name": pod.name,
        "status": pod.status,
        "gpu_type": pod.gpu_name,
        "gpu_count": pod.gpu_count,
        "gpu_utilization_percent": _busy(pod),
        "cost_per_hour": pod.price_per_hour,
        "created_at": pod.created_at,
        "job_id": job.id if job else None,
    }
