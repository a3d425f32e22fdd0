"""The machine panel: its GPUs where there are any, and its processor, memory and disk."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.reactive import reactive

from engine.analysis.format import UNKNOWN
from engine.analysis.snapshot import JobDetail
from engine.records import HostSample
from tui.commands import Commanding
from tui.widgets.bars import spark
from tui.widgets.clean import clean
from tui.widgets.curve_words import place
from tui.widgets.detail_view import DetailView
from tui.widgets.gpu_lines import in_full, in_short, of, warnings, whole_percent
from tui.widgets.title_line import TitleLine

QUIET = "$text-muted"


class MachinePane(Commanding, VerticalScroll):
    """What the machine does, or did where the crosshair stands; the little bars are the minutes before."""

    TITLE_IN_HELP = "Machine"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("k", "scroll_up", "up", show=False),
        Binding("j", "scroll_down", "down", show=False),
        Binding("g", "scroll_home", "first", show=False),
        Binding("G", "scroll_end", "last", show=False),
    ]

    detail: reactive[JobDetail | None] = reactive(None)

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._title = TitleLine("machine")

    def compose(self) -> ComposeResult:
        """Title and figures."""
        yield self._title
        yield MachineView().data_bind(MachinePane.detail)

    def watch_detail(self) -> None:
        """The title names the GPU, and the moment where it is not the present."""
        if self.detail is None:
            return
        then = self.detail.pointed.place if self.detail.pointed else None
        parts = [Content.styled(name, QUIET)] if (name := _name(self.detail)) else []
        if then is not None and then.step is not None and shown(self.detail) is not self.detail.host:
            parts.insert(0, Content.styled(f"at {place(then.step, 'step')}", "$secondary"))
        self._title.facts = Content("  ").join(parts)


def shown(detail: JobDetail) -> Sequence[HostSample]:
    """The heartbeats that are shown: those up to where the crosshair stands, else the last."""
    return detail.pointed.host if detail.pointed and detail.pointed.place else detail.host


def _name(detail: JobDetail) -> str:
    gpus = shown(detail)[-1].gpus if shown(detail) else ()
    name = clean(next((gpu.name for gpu in gpus if gpu.name), None) or detail.job.gpu_type, 40)
    name = name.removeprefix("NVIDIA ")
    return f"{len(gpus)} × {name}" if len(gpus) > 1 else name


class MachineView(DetailView):
    """GPUs first, a line each when there are many."""

    def draw(self, detail: JobDetail, width: int) -> Content:
        """As many lines as there is something to say."""
        host = shown(detail)
        if not host:
            waiting = "nothing heard of it yet" if detail.job.status.live else "not recorded"
            return Content.styled("nothing recorded by then" if detail.host else waiting, QUIET)
        last = host[-1]
        lines: list[Content] = []
        if len(last.gpus) == 1:
            lines += in_full(last.gpus[0], host, width)
        else:
            lines += [in_short(gpu, host, width) for gpu in last.gpus]
        return Content("\n").join([*lines, *warnings(detail, host), *_host(last, host, width)])


def _host(last: HostSample, host: Sequence[HostSample], width: int) -> list[Content]:
    memory = of(last.memory_used_gb, last.memory_total_gb, "GB")
    disk = f"{last.disk_free_gb:.0f} GB free" if last.disk_free_gb is not None else UNKNOWN
    room = max(6, width - 14 - len(f"mem {memory}"))
    history = [sample.cpu_percent for sample in host]
    tight = last.disk_free_gb is not None and last.disk_free_gb < 5
    return [
        Content.assemble(
            ("cpu  ", QUIET),
            f"{whole_percent(last.cpu_percent):>6} ",
            (spark(history, 0, 100, room), "$secondary"),
            ("  mem ", QUIET),
            memory,
        ),
        Content.assemble(("disk ", QUIET), (disk, "$error" if tight else "")),
    ]
