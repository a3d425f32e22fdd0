"""The launch dialog: from a template, a file or another run to a run that trains.

It shows a draft and the answers to it, and knows nobody but who answers. Nothing that it asks for is
waited for where keys are read; what was typed since makes an answer void.
"""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

from textual import events, on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.timer import Timer
from textual.widgets import Input, Static

from engine.errors import PodiumError
from tui.draft import Draft, file_name
from tui.launch_answers import Checked, Launching, Offered, Source
from tui.screens.dialogs import Confirm
from tui.screens.entry import Entry, Field
from tui.widgets.clean import clean
from tui.widgets.draft_form import SOURCE, DraftForm, FieldInput
from tui.widgets.gpu_list import GpuList
from tui.widgets.launch_words import answers, confirmation
from tui.widgets.line_list import LineList

PAUSE: Final = 0.3
"""How long nothing is typed until a draft is looked at, seconds."""

ANSWERS: Final = ("sources", "begin", "check", "offer", "gpus")
"""The groups of workers that wait for answers."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Agreed:
    """What the dialog is dismissed with.

    Args:
        draft: What to launch.
        offered: What was confirmed, for a machine that is to be rented.
    """

    draft: Draft
    offered: Offered | None


class SourceList(LineList):
    """What a run can start from, one a line."""

    can_focus = False

    def __init__(self) -> None:
        super().__init__()
        self.sources: tuple[Source, ...] = ()

    def only(self, text: str) -> None:
        """Show those that have the text in them; all of them where none has."""
        wanted = text.strip().casefold()
        known = {source.name: source for source in self.sources}
        exact = any(source.name.casefold() == wanted for source in self.sources)
        fitting = [name for name in known if exact or wanted in name.casefold()]
        self.show(fitting or list(known))
        if exact:
            self.go_to(next(name for name in known if name.casefold() == wanted))

    def draw(self, row: int, width: int) -> Content:
        """A line."""
        source = next(source for source in self.sources if source.name == self._keys[row])
        cells = Content.assemble(
            (f"{source.kind:<9}", "$text-muted"),
            f"{clean(source.name, 120):<24}  ",
            (clean(source.about, 120), "$text-muted"),
        )
        return cells.truncate(width, ellipsis=True)


class LaunchDialog(ModalScreen[Agreed | None]):
    """Launch a run; dismissed with what was agreed to, or None.

    Args:
        launching: Who answers.
        draft: What to begin with; None for nothing chosen yet.
    """

    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (100, "-normal")]
    BINDINGS = [
        Binding("escape", "leave", "close; the draft is kept"),
        Binding("enter", "launch", "launch"),
        Binding("tab", "next", "next", priority=True),
        Binding("shift+tab", "app.focus_previous", "previous", priority=True),
        Binding("down", "move(1)", "next", priority=True),
        Binding("up", "move(-1)", "previous", priority=True),
        Binding("pageup", "page(-1)", "page up", priority=True),
        Binding("pagedown", "page(1)", "page down", priority=True),
        Binding("w,ctrl+s", "write", "write to a file"),
    ]

    def __init__(self, launching: Launching, draft: Draft | None) -> None:
        super().__init__()
        self.launching = launching
        self.draft = draft or Draft()
        self.checked: Checked | None = None
        self.offered: Offered | None = None
        self._form = DraftForm(launching.paths)
        self._sources = SourceList()
        self._gpus = GpuList()
        self._told = Static(id="told")
        self._due: Timer | None = None

    def compose(self) -> ComposeResult:
        """The fields, what is known of them, the keys."""
        with Vertical(id="launch"):
            yield Static(Content.styled("Launch a run", "bold"), id="question")
            with Vertical(id="both"):
                yield self._form
                yield self._sources
                yield self._gpus
                with VerticalScroll(id="answers"):
                    yield self._told
            yield Static(
                Content.from_markup(
                    "[bold $accent]enter[/] launches  [bold $accent]^s[/] writes a job file  "
                    "[bold $accent]tab[/] next  [bold $accent]esc[/] closes, the draft stays"
                ),
                classes="keys",
            )

    def on_mount(self) -> None:
        """Show the draft; with none, what there is to start from."""
        self._form.draft = self.draft
        entry = self._form.field(SOURCE)
        with self.prevent(Input.Changed):
            entry.value = clean(self.draft.source, 400)
        (self._form.field("name") if self.draft.source else entry).focus()
        self.run_worker(self._list(), group="sources")
        self._look_soon()

    async def _list(self) -> None:
        self._sources.sources = await self._said(self.launching.sources()) or ()
        self._sources.only(self._form.field(SOURCE).value)

    @property
    def settled(self) -> bool:
        """Is all that is shown about what stands in the fields?"""
        mine = (worker for worker in self.app.workers if worker.node is self and not worker.is_finished)
        # What goes on behind a question waits for the user.
        asking = self.app.screen is not self
        return self._due is None and not any(worker.group in ANSWERS or not asking for worker in mine)

    # What is typed

    @on(DraftForm.Typed)
    def _typed(self, event: DraftForm.Typed) -> None:
        if event.field == SOURCE:
            self._form.say(SOURCE, "")
            self._sources.only(event.text)
        else:
            self._take(self.draft.put(event.field, event.text))
            if event.field == "gpu":
                self._gpus.only(event.text)

    def _take(self, draft: Draft) -> None:
        """Another draft: what is known of the one before is void."""
        moved = draft.rented != self.draft.rented
        self.draft = draft
        if moved:
            self.offered = None
        self._form.draft = draft
        self._look_soon()

    def _look_soon(self) -> None:
        """Look at the draft as soon as nothing more is typed."""
        if self._due is not None:
            self._due.stop()
        self.offered = None
        self._due = self.set_timer(PAUSE, self._look)

    def _look(self) -> None:
        self._due = None
        if self.draft.source:
            self.run_worker(self._check(self.draft), group="check", exclusive=True)
            if self.draft.rented:
                self.run_worker(self._offer(self.draft), group="offer", exclusive=True)
                self.run_worker(self._list_gpus(self.draft), group="gpus", exclusive=True)
        self._show()

    async def _check(self, draft: Draft) -> None:
        checked = await self._said(self.launching.check(draft))
        if checked is not None and draft == self.draft:
            self.checked = checked
            self._form.mistakes = checked.mistakes
            self._show()

    async def _offer(self, draft: Draft) -> None:
        offered = await self._said(self.launching.offers(draft))
        if offered is not None and draft == self.draft:
            self.offered = offered
            self._show()

    async def _list_gpus(self, draft: Draft) -> None:
        found = await self.launching.gpus(draft)
        if draft == self.draft and found != self._gpus.gpus:
            self._gpus.gpus = found
            self._gpus.only(self._form.field("gpu").value)
            self._show()

    async def _said(self, asking: Awaitable[T]) -> T | None:
        """The answer; of an error, None and one line for the user."""
        try:
            return await asking
        except PodiumError as error:
            self.notify(str(error), severity="error", markup=False, timeout=8)
            return None

    def _show(self) -> None:
        field = self.focused.field if isinstance(self.focused, FieldInput) else None
        self._sources.display = field == SOURCE
        self._gpus.display = field == "gpu" and bool(self._gpus.gpus)
        self.query_one("#answers").display = not (self._sources.display or self._gpus.display)
        if self.draft.source:
            self._told.update(answers(self.checked, self.offered, rented=self.draft.rented))

    def on_descendant_focus(self, _: events.DescendantFocus) -> None:
        """The field that says what to start from shows what there is."""
        self._show()

    def on_descendant_blur(self, event: events.DescendantBlur) -> None:
        """A source that was typed is begun with."""
        if isinstance(event.widget, FieldInput) and event.widget.field == SOURCE:
            self._choose(event.widget.value.strip())

    # Where it starts from

    @on(DraftForm.Entered)
    def _entered(self, event: DraftForm.Entered) -> None:
        if event.field != SOURCE:
            self.action_launch()
            return
        self._take_listed()
        self._form.field("name").focus()

    def _take_listed(self) -> None:
        """Put what the list points at into the field, where that is no source of its own."""
        entry = self._form.field(SOURCE)
        typed = entry.value.strip()
        pointed = self._sources.key
        if isinstance(pointed, str) and "/" not in typed and typed != self.draft.source:
            with self.prevent(Input.Changed):
                entry.value = pointed
        elif isinstance(pointed, str) and not typed:
            entry.value = pointed

    def _choose(self, source: str) -> None:
        if source and source != self.draft.source:
            self.run_worker(self._begin(source), group="begin", exclusive=True)

    async def _begin(self, source: str) -> None:
        try:
            begun = await self.launching.begin(source)
        except PodiumError as error:
            self._form.say(SOURCE, error.what)
            return
        self._form.say(SOURCE, "")
        self.checked = None
        self._take(self.draft.on(begun))

    # Keys

    def action_next(self) -> None:
        """Take a path that is suggested, or go to the next field."""
        if not (isinstance(self.focused, FieldInput) and self.focused.accept()):
            self.focus_next()

    def action_move(self, by: int) -> None:
        """Another source or GPU of the list, or another field."""
        if self._sources.display:
            self._sources.action_move(by)
            if isinstance(self._sources.key, str):
                entry = self._form.field(SOURCE)
                with self.prevent(Input.Changed):
                    entry.value = self._sources.key
                entry.cursor_position = len(entry.value)
        elif self._gpus.display:
            self._gpus.action_move(by)
            entry = self._form.field("gpu")
            entry.value = self._gpus.chosen(entry.value)
            entry.cursor_position = len(entry.value)
        elif isinstance(self.focused, FieldInput):
            self.focus_next() if by > 0 else self.focus_previous()
        else:
            self.query_one("#answers").scroll_relative(y=by, animate=False)

    def action_page(self, by: int) -> None:
        """Scroll what stands beside the fields."""
        beside = self.query_one("#answers")
        beside.scroll_relative(y=by * max(1, beside.size.height - 1), animate=False)

    def action_leave(self) -> None:
        """Close; what was typed is kept."""
        self.dismiss(None)

    def action_launch(self) -> None:
        """Launch it, after all was looked at once more."""
        self.run_worker(self._launch(), group="launch", exclusive=True)

    async def _launch(self) -> None:
        draft = self.draft
        if not draft.source:
            self._form.field(SOURCE).focus()
            return
        checked = await self._said(self.launching.check(draft))
        if checked is None:
            return
        self.checked = checked
        self._form.mistakes = checked.mistakes
        self._show()
        if not checked.ready:
            self._go_to_mistake()
            return
        offered = None
        if draft.rented:
            offered = await self._confirmed(draft)
            if offered is None:
                return
        if draft == self.draft:
            self.dismiss(Agreed(draft, offered))

    def _go_to_mistake(self) -> None:
        if (name := self._form.first_mistake()) is not None:
            self._form.field(name).focus()
        self.notify("There are mistakes: nothing was launched.", severity="warning", timeout=4)

    async def _confirmed(self, draft: Draft) -> Offered | None:
        """What would be rented now, if the user agrees to it."""
        offered = await self._said(self.launching.offers(draft))
        if offered is None or draft != self.draft:
            return None
        self.offered = offered
        self._show()
        if offered.quote is None:
            self.notify(offered.trouble or "Nothing can be rented.", severity="error", markup=False)
            return None
        agreed = await self.app.push_screen_wait(
            Confirm(confirmation(draft.text("name"), offered), "rent and launch")
        )
        return offered if agreed else None

    # The file

    def action_write(self) -> None:
        """Ask where."""
        name = file_name(self.draft.text("name"))
        self.app.push_screen(Entry("Write the spec to a job file", [Field("path", name)]), self._write)

    def _write(self, told: Sequence[str] | None) -> None:
        if told:
            self.run_worker(self._written(self.draft, told[0]), group="write")

    async def _written(self, draft: Draft, path: str) -> None:
        try:
            said = await self.launching.write(draft, path, replacing=False)
        except PodiumError as error:
            if "is there already" not in error.what:
                self.notify(str(error), severity="error", markup=False, timeout=8)
                return
            question = f"Replace {clean(path, 200)}?\nWhat is in it now is lost."
            if not await self.app.push_screen_wait(Confirm(question, "replace")):
                return
            said = await self._said(self.launching.write(draft, path, replacing=True)) or ""
        if said:
            self.notify(said, markup=False, timeout=6)
