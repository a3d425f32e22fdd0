"""The first line of every screen: tabs on the left, what the pods cost on the right."""

from __future__ import annotations

from typing import Final

from textual.content import Content
from textual.reactive import reactive
from textual.style import Style
from textual.widget import Widget

from engine.analysis.format import dollars
from engine.analysis.snapshot import Snapshot, Totals

_TABS: Final = (("job", "1", "Job"), ("comparison", "2", "Comparison"), ("history", "3", "History"))


class TopBar(Widget):
    """The tabs of the three screens, live pods, dollars an hour, dollars today and strays.

    Args:
        here: The screen that this bar is on.
    """

    snapshot: reactive[Snapshot | None] = reactive(None, repaint=False)

    def __init__(self, here: str) -> None:
        super().__init__()
        self.here = here

    def watch_snapshot(self, before: Snapshot | None, after: Snapshot | None) -> None:
        """Other totals."""
        if before is None or after is None or before.totals != after.totals:
            self.refresh()

    def render(self) -> Content:
        """Tabs and totals with the space between them; narrow bars leave out what matters least."""
        left = self._tabs(digits=self.size.width >= 70)
        totals = self.snapshot.totals if self.snapshot else Totals()
        for detail in (3, 2, 1, 0):
            right = _totals(totals, detail)
            space = self.size.width - left.cell_length - right.cell_length
            if space >= 2:
                return Content.assemble(left, " " * space, right)
        return left

    def _tabs(self, *, digits: bool) -> Content:
        parts: list[Content | tuple[str, str] | str] = [("podium", "bold $accent"), "  "]
        for name, digit, title in _TABS:
            label = f" {digit} {title} "
            style = "bold $foreground on $panel" if name == self.here else "$text-muted"
            tab = Content.styled(label, style)
            command = f"app.command('Show{title}Screen')"
            parts.append(tab.stylize(Style.from_meta({"@click": command})))
        return Content.assemble(*parts)


def _totals(totals: Totals, detail: int) -> Content:
    """The right half; `detail` 3 says everything, 0 only what is wrong."""
    parts: list[tuple[str, str]] = []
    if totals.strays:
        word = "stray pod" if totals.strays == 1 else "stray pods"
        parts.append((f"⚠ {totals.strays} {word} {dollars(totals.strays_per_hour)}/h", "bold $error"))
    if detail >= 2:
        parts.insert(0, (f"today {dollars(totals.cost_today)}", "$text-muted"))
    if detail >= 1 and totals.live:
        word = "pod" if totals.live == 1 else "pods"
        hourly = f"  {dollars(totals.cost_per_hour)}/h" if totals.cost_per_hour else ""
        parts.insert(0, (f"● {totals.live} {word}{hourly}", "$success"))
    elif detail >= 3:
        parts.insert(0, ("○ no pods", "$text-muted"))
    return Content("   ").join([Content.styled(text, style) for text, style in parts])
