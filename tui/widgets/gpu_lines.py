"""The lines about GPUs: a few figures with their history, and what is wrong with them. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from textual.content import Content

from engine.analysis.format import UNKNOWN, duration, listed
from engine.analysis.gpus import idle_seconds, mean_utilization, named, utilization
from engine.analysis.health import BUSY, SETTLED
from engine.analysis.snapshot import JobDetail
from engine.job.events import Phase
from engine.records import Gpu, HostSample
from tui.widgets.bars import spark

QUIET: Final = "$text-muted"
IDLE: Final = 60.0
"""From when on a GPU that does nothing is told of, seconds."""
ENOUGH: Final = 10
"""Heartbeats from which a mean says something."""


def in_full(gpu: Gpu, host: Sequence[HostSample], width: int) -> list[Content]:
    """The only GPU of a machine, in two lines."""
    memory = of(gpu.memory_used_gb, gpu.memory_total_gb, "GB")
    power = f"{gpu.power_w:.0f} W" if gpu.power_w is not None else UNKNOWN
    heat = f"{gpu.temperature_c:.0f} °C" if gpu.temperature_c is not None else UNKNOWN
    room = max(6, width - 14 - len(f"mem {memory}"))
    history = [utilization(sample, gpu.index, gpu.node) for sample in host]
    return [
        Content.assemble(
            ("util ", QUIET),
            (f"{whole_percent(gpu.utilization_percent):>6}", _style(gpu.utilization_percent)),
            " ",
            (spark(history, 0, 100, room), "$secondary"),
            ("  mem ", QUIET),
            memory,
        ),
        Content.assemble(("temp ", QUIET), f"{heat:>6}", " " * (room + 1), ("  pow ", QUIET), power),
    ]


def in_short(gpu: Gpu, host: Sequence[HostSample], width: int) -> Content:
    """One of several, in a line; of several machines with its node before it, such as 1:0."""
    name = named(gpu, host[-1].gpus)
    memory = of(gpu.memory_used_gb, gpu.memory_total_gb, "GB")
    heat = f"{gpu.temperature_c:.0f} °C" if gpu.temperature_c is not None else UNKNOWN
    power = f"{gpu.power_w:.0f} W" if gpu.power_w is not None else UNKNOWN
    name = f"gpu {name:<4}" if ":" in name else f"gpu {name:<2}"
    tail = f"  {memory}  {heat:>5}"
    room = width - 6 - len(name) - len(tail)
    if room >= 13:
        tail, room = f"{tail}  {power:>5}", room - 7
    room = max(6, room)
    history = [utilization(sample, gpu.index, gpu.node) for sample in host]
    return Content.assemble(
        (name, QUIET),
        (f"{whole_percent(gpu.utilization_percent):>5}", _style(gpu.utilization_percent)),
        " ",
        (spark(history, 0, 100, room), "$secondary"),
        tail,
    )


def warnings(detail: JobDetail, host: Sequence[HostSample]) -> Iterator[Content]:
    """What is paid for and not used, or not to be seen."""
    if not host or detail.job.status.ended:
        return
    if not host[-1].gpus:
        yield from _unseen(detail)
        return
    gpus = host[-1].gpus
    idle = {named(gpu, gpus): idle_seconds(host, gpu.index, gpu.node) for gpu in gpus}
    for seconds in sorted(set(idle.values()), reverse=True):
        if seconds >= IDLE:
            names = listed((name for name, age in idle.items() if age == seconds), limit=8)
            who = f"gpu {names} " if len(idle) > 1 else ""
            yield Content.styled(f"{who}idle for {duration(seconds)}", "bold $error")
    mean = mean_utilization(host)
    settled = detail.job.phase == Phase.TRAIN and (detail.job.current_step or 0) >= SETTLED
    if settled and len(host) >= ENOUGH and mean is not None and mean < BUSY and not any(idle.values()):
        yield Content.styled(f"{mean:.0f} % busy, below {BUSY:.0f} %: raise the batch", "$warning")


def _unseen(detail: JobDetail) -> Iterator[Content]:
    """Why there are no figures: the driver's tool hangs, or there is no GPU where one is paid for."""
    if any(alert.alert == "gpu_tool" for alert in detail.alerts):
        yield Content.styled("nvidia-smi does not answer: the GPUs' figures are missing", "$warning")
    elif detail.job.provider == "runpod":
        yield Content.styled("no GPU is seen there", "bold $error")


def _style(value: float | None) -> str:
    """An idle GPU costs money."""
    if value is None:
        return ""
    return "bold $error" if value < 5 else "$warning" if value < 50 else ""


def whole_percent(value: float | None) -> str:
    """A percentage without decimals."""
    return UNKNOWN if value is None else f"{value:.0f} %"


def of(used: float | None, total: float | None, unit: str) -> str:
    """What is used of a total."""
    if used is None:
        return UNKNOWN
    return f"{used:.1f} / {total:.0f} {unit}" if total is not None else f"{used:.1f} {unit}"
