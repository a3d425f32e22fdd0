"""The fields of a run that is about to be launched, each with what is wrong with it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from textual import on
from textual.app import ComposeResult
from textual.containers import Horizontal, VerticalScroll
from textual.content import Content
from textual.message import Message
from textual.reactive import reactive
from textual.suggester import Suggester
from textual.widgets import Input, Static

from tui.draft import FIELDS, RENTED, TRAINERS, Draft
from tui.widgets.clean import clean

SOURCE: Final = "source"
"""The field that says what a run starts from; all others are the draft's."""

_LINES: Final[tuple[tuple[tuple[str, str], ...], ...]] = (
    ((SOURCE, "start from"),),
    (("name", "name"),),
    (("model", "model"),),
    (("data", "data"),),
    (("eval", "eval data"),),
    (("place", "where"),),
    (("gpu", "GPU"),),
    (("gpu_count", "GPUs each"), ("nodes", "machines")),
    (("max_hours", "hours ≤"), ("max_cost", "dollars ≤")),
    (("stall", "silence ≤"), ("retrieve", "fetching ≤")),
    (("tags", "tags"),),
    (("more", "more"),),
)
"""The lines of the form: fields and what they are called."""

_HINTS: Final[Mapping[str, str]] = {
    SOURCE: "a template, or a job file",
    "data": "a JSON or JSON Lines file",
    "eval": "else a share of the data",
    "place": "local, runpod, or ssh://user@host:port",
    "gpu": "auto, or names in order of preference",
    "max_hours": "no limit",
    "max_cost": "no limit",
    "stall": "minutes; for ever",
    "retrieve": "minutes",
    "more": "training.epochs=2 lora.r=8",
}
_PATHS: Final = (SOURCE, "data", "eval")
"""Fields in which a path can be completed."""

Complete = Callable[[str], Awaitable[str | None]]


class Paths(Suggester):
    """Goes on with a path that is being typed.

    Args:
        complete: Finds one.
    """

    def __init__(self, complete: Complete) -> None:
        super().__init__(use_cache=False, case_sensitive=True)
        self._complete = complete

    async def get_suggestion(self, value: str) -> str | None:
        """The path, if there is one."""
        return await self._complete(value)


class FieldInput(Input):
    """One field.

    Args:
        name: Which.
        suggester: What goes on with its text, if anything does.
    """

    def __init__(self, name: str, suggester: Suggester | None) -> None:
        hint = _HINTS.get(name, "")
        super().__init__(placeholder=hint, compact=True, id=f"field-{name}", suggester=suggester)
        self.field = name
        self.cursor_blink = False

    def accept(self) -> bool:
        """Take what is suggested, if anything is."""
        before = self.value
        if self.cursor_at_end:
            self.action_cursor_right()
        return self.value != before


class DraftForm(VerticalScroll):
    """A line or two a field; it shows a draft and tells what is typed.

    Args:
        complete: Goes on with paths.
    """

    can_focus = False

    class Typed(Message):
        """A field of the draft has another text."""

        def __init__(self, field: str, text: str) -> None:
            self.field, self.text = field, text
            super().__init__()

    class Entered(Message):
        """Enter was pressed in a field."""

        def __init__(self, field: str) -> None:
            self.field = field
            super().__init__()

    draft: reactive[Draft | None] = reactive(None, init=False)
    mistakes: reactive[Mapping[str, str]] = reactive({}, init=False)

    def __init__(self, complete: Complete) -> None:
        super().__init__()
        self._complete = complete

    def compose(self) -> ComposeResult:
        """Labels, fields, mistakes."""
        for line in _LINES:
            with Horizontal(classes="line"):
                for at, (name, label) in enumerate(line):
                    yield Static(Content(label), classes="label second" if at else "label")
                    yield FieldInput(name, Paths(self._complete) if name in _PATHS else None)
            for name, _ in line:
                yield Static(id=f"mistake-{name}", classes="mistake")

    def field(self, name: str) -> FieldInput:
        """A field's entry."""
        return self.query_one(f"#field-{name}", FieldInput)

    def watch_draft(self, draft: Draft | None) -> None:
        """Show its texts; a field that has no meaning for it can't be entered."""
        if draft is None:
            return
        for name in FIELDS:
            entry, text = self.field(name), clean(draft.text(name), 4000)
            entry.disabled = name in _without_meaning(draft)
            if entry.value != text and not (entry.has_focus and name in draft.touched):
                with self.prevent(Input.Changed):
                    entry.value = text

    def watch_mistakes(self) -> None:
        """Say each under its field."""
        for line in _LINES:
            for name, _ in line:
                self.say(name, self.mistakes.get(name, ""))

    def say(self, name: str, mistake: str) -> None:
        """Say what is wrong with a field, or that nothing is."""
        place = self.query_one(f"#mistake-{name}", Static)
        place.update(Content(clean(mistake, 400)))
        place.display = bool(mistake)
        self.field(name).set_class(bool(mistake), "-bad")

    def first_mistake(self) -> str | None:
        """The first field with one, from the top."""
        return next((name for line in _LINES for name, _ in line if name in self.mistakes), None)

    @on(Input.Changed)
    def _typed(self, event: Input.Changed) -> None:
        event.stop()
        if isinstance(event.input, FieldInput):
            self.post_message(self.Typed(event.input.field, event.value))

    @on(Input.Submitted)
    def _entered(self, event: Input.Submitted) -> None:
        event.stop()
        if isinstance(event.input, FieldInput):
            self.post_message(self.Entered(event.input.field))


def _without_meaning(draft: Draft) -> tuple[str, ...]:
    return (*(TRAINERS if draft.script else ()), *(() if draft.rented else RENTED))
