"""What the three screens have in common: the top bar, the snapshot, the command bar."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, ClassVar

from textual.app import ComposeResult
from textual.events import DescendantBlur, DescendantFocus
from textual.reactive import reactive
from textual.screen import Screen
from textual.widget import Widget

from engine.analysis.snapshot import Snapshot
from tui.commands import Commanding
from tui.widgets.command_bar import CommandBar
from tui.widgets.top_bar import TopBar
from tui.widgets.trouble import TroubleLine
from tui.wishes import ScreenName


class PodiumScreen(Commanding, Screen[None]):
    """One of the three screens.

    The app gives the screen in front each new snapshot; `compose_body` binds widgets to it:

        yield CheckpointTable().data_bind(PodiumScreen.snapshot)
    """

    NAME: ClassVar[ScreenName]
    COMMANDS: ClassVar[Any] = ()
    PANES: ClassVar[Collection[str]] = ()
    """The ids of its panes: the title of the one that has the keys looks like it."""
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (100, "-normal"), (170, "-wide")]
    VERTICAL_BREAKPOINTS = [(0, "-short"), (32, "-normal-height"), (46, "-tall")]

    snapshot: reactive[Snapshot | None] = reactive(None)
    working: reactive[str] = reactive("", repaint=False)
    """How far a wish is that takes long; empty when none is carried out."""

    def __init__(self, *classes: str) -> None:
        width, height = self.app.size
        fitting = self._get_breakpoint_classes(width, self.HORIZONTAL_BREAKPOINTS)
        fitting |= self._get_breakpoint_classes(height, self.VERTICAL_BREAKPOINTS)
        # With its classes from the beginning, and told that it has the newest stylesheet, the screen is
        # styled once; else Textual reads the stylesheet again and styles every widget three times more.
        super().__init__(classes=" ".join((*classes, *fitting)))
        self._css_update_count = self.app._css_update_count

    def compose(self) -> ComposeResult:
        """The top bar, what is wrong if something is, the screen's own body, the command bar."""
        yield TopBar(self.NAME).data_bind(PodiumScreen.snapshot)
        yield TroubleLine().data_bind(PodiumScreen.snapshot)
        yield from self.compose_body()
        yield CommandBar()

    def compose_body(self) -> ComposeResult:
        """The screen's own widgets."""
        raise NotImplementedError

    def on_descendant_focus(self, event: DescendantFocus) -> None:
        """A pane has the keys, by key or by mouse."""
        if (pane := self._pane_of(event.widget)) is not None:
            if event.widget is self.focused:  # else a key has gone on to another by now
                self.bring_to_front(pane.id or "")
            pane.update_node_styles()

    def on_descendant_blur(self, event: DescendantBlur) -> None:
        """A pane that lost the keys looks like it."""
        # Textual styles only what lost or got the focus anew, and not the titles beside it.
        if (pane := self._pane_of(event.widget)) is not None:
            pane.update_node_styles()

    def _pane_of(self, widget: Widget) -> Widget | None:
        found = (node for node in widget.ancestors_with_self if node.id in self.PANES)
        return next((node for node in found if isinstance(node, Widget)), None)

    def bring_to_front(self, pane: str) -> None:
        """Show the pane that has the keys, where there is room for one only."""

    async def drawn(self) -> None:
        """Wait until the curves of the last snapshot are drawn; where there are none, not at all."""

    def _compositor_refresh(self) -> None:
        # Textual renders while updates are held too, and throws the result away.
        if not self.app._batch_count:
            super()._compositor_refresh()
