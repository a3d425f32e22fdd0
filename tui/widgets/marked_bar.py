"""What the marked runs hold in disk and dollars, and the keys that clear them up."""

from __future__ import annotations

from textual.content import Content
from textual.reactive import reactive
from textual.style import Style
from textual.widget import Widget

from engine.analysis import format as words
from engine.records import Job
from tui.commands import Command
from tui.what_goes import held


class MarkedBar(Widget):
    """One line: on the left what is marked, on the right what can be done with it, each clickable."""

    jobs: reactive[tuple[Job, ...]] = reactive(())
    """What the commands would act on."""
    marks: reactive[int] = reactive(0)
    """How many runs are marked; with none, the commands act on the run under the cursor."""
    ranging: reactive[bool] = reactive(False)
    """Is a range of marks being chosen?"""

    working: reactive[str] = reactive("")
    """How far a wish is that takes long; it has the line to itself."""

    actions: reactive[tuple[type[Command], ...]] = reactive(())
    """The commands to offer; the screen posts them."""

    def render(self) -> Content:
        """Both halves, as far as there is room."""
        if self.working:
            return Content.styled(self.working, "bold $accent")
        left = self._left()
        actions = [self._action(command) for command in self.actions]
        while actions:
            right = Content("  ").join(actions)
            if (space := self.size.width - left.cell_length - right.cell_length) >= 2:
                return Content.assemble(left, " " * space, right)
            actions.pop()
        return left

    def _left(self) -> Content:
        there = held(self.jobs)
        if self.ranging:
            how = ": move to its other end, v marks it, esc gives it up"
            return Content.assemble(("range", "bold $accent"), (how, "$text-muted"))
        if self.marks:
            return Content.assemble(
                (f"{words.count(self.marks)} marked", "bold $accent"), f": {there}" if there else ""
            )
        return Content.styled(f"this run: {there}" if there else "space marks runs", "$text-muted")

    def _action(self, command: type[Command]) -> Content:
        entry = Content.assemble((command.shown(), "bold $accent"), " ", (command.label(), "$text-muted"))
        return entry.stylize(Style.from_meta({"@click": f"screen.command('{command.__name__}')"}))
