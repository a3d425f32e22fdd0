"""The machine panel: its GPUs where there are any, and its processor, memory and disk."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.content import Content
from textual.reactive import reactive

from engine.analysis.format import UNKNOWN
from engine.analysis.snapshot import JobDetail
from engine.records import Gpu, HostSample
from tui.commands import Commanding
from tui.widgets.bars import spark
from tui.widgets.clean import clean
from tui.widgets.detail_view import DetailView
from tui.widgets.title_line import TitleLine

QUIET = "$text-muted"


class MachinePane(Commanding, VerticalScroll):
    """What the machine is doing; the little bars are the last minutes."""

    TITLE_IN_HELP = "Machine"

    detail: reactive[JobDetail | None] = reactive(None)

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._title = TitleLine("machine")

    def compose(self) -> ComposeResult:
        """Title and figures."""
        yield self._title
        yield MachineView().data_bind(MachinePane.detail)

    def watch_detail(self) -> None:
        """The title names the GPU."""
        self._title.facts = Content.styled(_name(self.detail) if self.detail else "", QUIET)


def _name(detail: JobDetail) -> str:
    gpus = detail.host[-1].gpus if detail.host else ()
    name = clean(next((gpu.name for gpu in gpus if gpu.name), None) or detail.job.gpu_type, 40)
    name = name.removeprefix("NVIDIA ")
    return f"{len(gpus)} × {name}" if len(gpus) > 1 else name


class MachineView(DetailView):
    """GPUs first, a line each when there are many."""

    def draw(self, detail: JobDetail, width: int) -> Content:
        """As many lines as there is something to say."""
        if not detail.host:
            waiting = "nothing heard of it yet" if detail.job.status.live else "not recorded"
            return Content.styled(waiting, QUIET)
        last = detail.host[-1]
        lines: list[Content] = []
        for gpu in last.gpus:
            if len(last.gpus) == 1:
                lines += _gpu_in_full(gpu, detail.host, width)
            else:
                lines.append(_gpu_in_short(gpu, detail.host, width))
        lines += _host(last, detail.host, width)
        return Content("\n").join(lines)


def _row(label: str, value: str, bars: str, more: str, style: str = "") -> Content:
    return Content.assemble(
        (f"{label:<5}", QUIET), (f"{value:>6}", style), " ", (bars, "$secondary"), "  ", (more, "")
    )


def _gpu_in_full(gpu: Gpu, host: Sequence[HostSample], width: int) -> list[Content]:
    memory = _of(gpu.memory_used_gb, gpu.memory_total_gb, "GB")
    power = f"{gpu.power_w:.0f} W" if gpu.power_w is not None else UNKNOWN
    heat = f"{gpu.temperature_c:.0f} °C" if gpu.temperature_c is not None else UNKNOWN
    room = max(6, width - 14 - len(f"mem {memory}"))
    history = _history(host, lambda sample: _utilization(sample, gpu.index))
    return [
        Content.assemble(
            ("util ", QUIET),
            (f"{_percent(gpu.utilization_percent):>6}", _utilization_style(gpu.utilization_percent)),
            " ",
            (spark(history, 0, 100, room), "$secondary"),
            ("  mem ", QUIET),
            memory,
        ),
        Content.assemble(("temp ", QUIET), f"{heat:>6}", " " * (room + 1), ("  pow ", QUIET), power),
    ]


def _gpu_in_short(gpu: Gpu, host: Sequence[HostSample], width: int) -> Content:
    memory = _of(gpu.memory_used_gb, gpu.memory_total_gb, "GB")
    heat = f"{gpu.temperature_c:.0f}°" if gpu.temperature_c is not None else UNKNOWN
    tail = f"  {memory}  {heat}"
    room = max(6, width - 13 - len(tail))
    history = _history(host, lambda sample: _utilization(sample, gpu.index))
    return Content.assemble(
        (f"gpu {gpu.index:<2}", QUIET),
        (f"{_percent(gpu.utilization_percent):>5}", _utilization_style(gpu.utilization_percent)),
        " ",
        (spark(history, 0, 100, room), "$secondary"),
        tail,
    )


def _host(last: HostSample, host: Sequence[HostSample], width: int) -> list[Content]:
    memory = _of(last.memory_used_gb, last.memory_total_gb, "GB")
    disk = f"{last.disk_free_gb:.0f} GB free" if last.disk_free_gb is not None else UNKNOWN
    room = max(6, width - 14 - len(f"mem {memory}"))
    history = _history(host, lambda sample: sample.cpu_percent)
    tight = last.disk_free_gb is not None and last.disk_free_gb < 5
    return [
        Content.assemble(
            ("cpu  ", QUIET),
            f"{_percent(last.cpu_percent):>6} ",
            (spark(history, 0, 100, room), "$secondary"),
            ("  mem ", QUIET),
            memory,
        ),
        Content.assemble(("disk ", QUIET), (disk, "$error" if tight else "")),
    ]


def _history(host: Sequence[HostSample], value: Callable[[HostSample], float | None]) -> list[float | None]:
    return [value(sample) for sample in host]


def _utilization(sample: HostSample, index: int) -> float | None:
    return next((gpu.utilization_percent for gpu in sample.gpus if gpu.index == index), None)


def _utilization_style(value: float | None) -> str:
    """An idle GPU costs money."""
    return (
        "bold $error"
        if value is not None and value < 5
        else "$warning"
        if value is not None and value < 50
        else ""
    )


def _percent(value: float | None) -> str:
    return UNKNOWN if value is None else f"{value:.0f} %"


def _of(used: float | None, total: float | None, unit: str) -> str:
    if used is None:
        return UNKNOWN
    return f"{used:.1f} / {total:.0f} {unit}" if total is not None else f"{used:.1f} {unit}"
