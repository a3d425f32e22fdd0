"""The pods panel: what the account rents now, live, stopped and stray, what it costs, and its end."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Static

from engine.analysis import format as words
from engine.errors import PodiumError
from tui.account import Account, AccountPod
from tui.run_wishes import CarriedOut, EndPod, StopPod
from tui.widgets.clean import clean
from tui.widgets.line_list import LineList
from tui.widgets.run_cells import Piece, fit

Read = Callable[[], Awaitable[Account]]
"""Asks the provider, within some seconds."""

PERIOD: Final = 15.0
"""Seconds from one look at the account to the next, while the panel is open."""

_HEADS: Final = (("status", 12), ("gpus", 16), ("busy", 6), ("idle", 9), ("$/h", 7), ("so far", 8))


class PodLines(LineList):
    """A pod a line; strays and what idles stand out."""

    pods: dict[str, AccountPod]

    def __init__(self) -> None:
        super().__init__()
        self.pods = {}

    def fill(self, pods: tuple[AccountPod, ...]) -> None:
        """Show these."""
        self.pods = {pod.id: pod for pod in pods}
        self.show(list(self.pods))

    @property
    def pod(self) -> AccountPod | None:
        """The one under the cursor."""
        return self.pods.get(str(self.key))

    def heads(self, width: int) -> Content:
        """The titles."""
        shown = self._shown(width)
        text = "".join("  " + fit(title, cells, title not in ("status", "gpus")) for title, cells in shown)
        return Content(fit("  pod and its run", self._first(width)) + text)

    def draw(self, row: int, width: int) -> Content:
        """A line."""
        pod = self.pods[str(self._keys[row])]
        run = clean(pod.run) if pod.run else "stray" if pod.reapable else "not Podium's"
        style = "$foreground" if pod.run else "bold $error" if pod.reapable else "$text-muted"
        sign = "●" if pod.status == "running" else "○"
        cells: dict[str, Piece] = {
            "status": (clean(pod.status), "$foreground"),
            "gpus": (clean(pod.gpus) or words.UNKNOWN, "$foreground"),
            "busy": (words.percent(pod.busy_percent), "$foreground"),
            "idle": (words.duration(pod.idle_seconds), "$warning" if _idles(pod) else "$text-muted"),
            "$/h": (words.dollars(pod.per_hour), "bold"),
            "so far": (words.dollars(pod.cost), "$foreground"),
        }
        parts: list[Piece] = [(fit(f"{sign} {clean(pod.name)} · {run}", self._first(width)), style)]
        for title, size in self._shown(width):
            text, colour = cells[title]
            parts.append(("  " + fit(text, size, title not in ("status", "gpus")), colour))
        return Content.assemble(*parts)

    def _shown(self, width: int) -> list[tuple[str, int]]:
        shown = list(_HEADS)
        for title in ("gpus", "so far", "busy"):
            if width - sum(size + 2 for _, size in shown) >= 28:
                break
            shown = [head for head in shown if head[0] != title]
        return shown

    def _first(self, width: int) -> int:
        return max(8, width - sum(size + 2 for _, size in self._shown(width)))


def _idles(pod: AccountPod) -> bool:
    return pod.status == "running" and pod.idle_seconds is not None and pod.idle_seconds > 600


def _keys(some: bool) -> Content:
    """What can be pressed; with no pod there is none to end."""
    ending = "[bold $accent]d[/] terminates  [bold $accent]s[/] stops, /workspace stays  " if some else ""
    return Content.from_markup(f"{ending}[bold $accent]r[/] looks again  [bold $accent]esc[/] leaves")


class PodsPanel(ModalScreen[None]):
    """What is rented, looked at again every few seconds while the panel is open.

    Args:
        read: Asks the provider.
    """

    BINDINGS = [
        Binding("escape,q,p", "dismiss", "close"),
        Binding("d", "end", "terminate"),
        Binding("s", "stop", "stop"),
        Binding("r", "look", "look again"),
    ]

    def __init__(self, read: Read) -> None:
        super().__init__()
        self._read = read
        self._account: Account | None = None

    def compose(self) -> ComposeResult:
        """The table, what it costs together, the keys."""
        with Vertical(id="sheet"):
            yield Static(Content.styled("What the account rents now", "bold"))
            yield Static(classes="heads")
            yield PodLines()
            yield Static(Content.styled("asking the provider…", "$text-muted"), classes="said")
            yield Static(_keys(False), classes="keys")

    def on_mount(self) -> None:
        """Look, and again."""
        self.query_one(PodLines).focus()
        self.action_look()
        self.set_interval(PERIOD, self.action_look)

    def action_look(self) -> None:
        """Ask once more; an answer that is still awaited is given up."""
        self.run_worker(self._look(), exclusive=True)

    def on_carried_out(self, _: CarriedOut) -> None:
        """Something was ended."""
        self.action_look()

    async def _look(self) -> None:
        said = self.query_one(".said", Static)
        try:
            self._account = await self._read()
        except PodiumError as error:
            said.update(Content.styled(clean(str(error)), "$warning"))
            return
        self.query_one(PodLines).fill(self._account.pods)
        said.update(self._sum(self._account))
        self.query_one(".keys", Static).update(_keys(bool(self._account.pods)))
        self.call_after_refresh(self._show_heads)

    def on_line_list_resized(self) -> None:
        """The titles stand over their columns."""
        self._show_heads()

    def _show_heads(self) -> None:
        lines = self.query_one(PodLines)
        width = lines.scrollable_content_region.width
        self.query_one(".heads", Static).update(lines.heads(width) if lines.pods else Content(""))

    def _sum(self, account: Account) -> Content:
        if not account.pods:
            lines = ["Nothing is rented."]
        else:
            strays = f"; {account.strays} of {len(account.pods)} belong to no run here"
            lines = [f"Together {words.dollars(account.per_hour)} an hour{strays if account.strays else ''}."]
        if account.volumes:
            lines.append(f"Network volumes, which bill until they are deleted: {', '.join(account.volumes)}.")
        return Content("\n".join(map(clean, lines)))

    # What is done

    def action_end(self) -> None:
        """The pod under the cursor, for good; asked first."""
        if pod := self.query_one(PodLines).pod:
            self.post_message(EndPod(pod))

    def action_stop(self) -> None:
        """The pod under the cursor; asked first."""
        if pod := self.query_one(PodLines).pod:
            self.post_message(StopPod(pod))
