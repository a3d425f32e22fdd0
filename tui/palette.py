"""The palette: every command of the screen in front, and every run by its name."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from textual.command import CommandPalette, DiscoveryHit, Hit, Hits, Provider
from textual.content import Content

from tui.commands import Command, Commanding, offered
from tui.wishes import OpenJob

if TYPE_CHECKING:
    from tui.app import PodiumApp


def show_palette(app: PodiumApp) -> None:
    """Open the palette on top of the screen in front."""
    app.push_screen(
        CommandPalette(providers=[CommandProvider, JobProvider], placeholder="a command or a run")
    )


class CommandProvider(Provider):
    """The commands that the focused pane, the other panes of the screen and the app offer."""

    def _offers(self) -> Iterator[tuple[Commanding, type[Command]]]:
        seen: set[str] = set()
        panes = [node for node in self.screen.walk_children() if isinstance(node, Commanding)]
        for start in (self.focused or self.screen, *panes):
            for pane, command in offered(start):
                if command.__name__ not in seen:
                    seen.add(command.__name__)
                    yield pane, command

    async def discover(self) -> Hits:
        """Everything, the focused pane first."""
        for pane, command in self._offers():
            yield DiscoveryHit(_title(command), _Post(pane, command), help=command.help())

    async def search(self, query: str) -> Hits:
        """What matches, by name."""
        matcher = self.matcher(query)
        for pane, command in self._offers():
            if (score := matcher.match(command.label())) > 0:
                yield Hit(
                    score,
                    matcher.highlight(command.label()),
                    _Post(pane, command),
                    text=command.label(),
                    help=command.help(),
                )


class JobProvider(Provider):
    """The runs: choosing one opens it on the Job screen."""

    async def search(self, query: str) -> Hits:
        """Runs whose name matches."""
        matcher = self.matcher(query)
        app: PodiumApp = self.app  # type: ignore[assignment]
        for job in app.snapshot.jobs if app.snapshot else ():
            if (score := matcher.match(job.name)) > 0:
                yield Hit(
                    score,
                    matcher.highlight(job.name),
                    _Post(app, OpenJob, (job.id,)),
                    text=job.name,
                    help=f"Open this {job.status} run",
                )


def _title(command: type[Command]) -> Content:
    key = command.shown() if command.KEYS else ""
    return Content.assemble(command.label(), "  ", (key, "$accent"))


class _Post:
    """A callback that posts a command from its pane."""

    def __init__(
        self, pane: Commanding, command: type[Command], job_ids: tuple[str, ...] | None = None
    ) -> None:
        self.pane, self.command, self.job_ids = pane, command, job_ids

    def __call__(self) -> None:
        self.pane.post_message(self.command(self.pane.subject() if self.job_ids is None else self.job_ids))
