"""One class per intent: its keys, its words and its message live together.

The footer, the palette and the help screen are all made from these classes, so they can't drift.
A pane lists the commands that it offers in `COMMANDS`; a key or a palette entry posts the command as
a message, the pane's own handler takes it if it has one, else it bubbles up to the app, which turns
it into a call of the controller. The wish goes up; what came of it comes down in the next snapshot.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, ClassVar, Final

from textual.binding import Binding, BindingType
from textual.dom import DOMNode
from textual.message import Message
from textual.message_pump import MessagePump

_KEY_NAMES: Final = {
    "question_mark": "?",
    "colon": ":",
    "slash": "/",
    "exclamation_mark": "!",
    "equals_sign": "=",
    "plus": "+",
    "minus": "-",
    "left_square_bracket": "[",
    "right_square_bracket": "]",
    "left": "←",
    "right": "→",
    "up": "↑",
    "down": "↓",
    "escape": "esc",
    "pagedown": "pgdn",
    "pageup": "pgup",
}
"""How keys are written whose name is not what is printed on them."""

_ARROWS: Final = frozenset({"left", "right", "up", "down"})


def _is_text(key: str) -> bool:
    """Does the key write a character into a line of text?"""
    return key not in _ARROWS and (key == "space" or len(_KEY_NAMES.get(key, key)) == 1 or "_" in key)


class Command(Message):
    """A wish of the user's.

    A subclass's docstring is its help text: one sentence in the imperative.

    Args:
        job_ids: The jobs that it is about; empty where it is about none.
    """

    KEYS: ClassVar[str] = ""
    """The keys, separated by commas, as Textual names them; empty for palette only."""
    SHOWN: ClassVar[str] = ""
    """How the key is shown; empty lets Textual choose."""
    LABEL: ClassVar[str] = ""
    """One or two words for the footer; by default the class's name in words."""
    FOOTER: ClassVar[bool] = False
    """Is it worth a place in the footer?"""

    def __init__(self, job_ids: tuple[str, ...] = ()) -> None:
        self.job_ids = job_ids
        super().__init__()

    @classmethod
    def label(cls) -> str:
        """The words for the footer and the palette."""
        return cls.LABEL or re.sub(r"(?<=[a-z])(?=[A-Z])", " ", cls.__name__).lower()

    @classmethod
    def help(cls) -> str:
        """One sentence: what it does."""
        return " ".join((cls.__doc__ or "").split())

    @classmethod
    def shown(cls) -> str:
        """Its first key as the footer and help show it; empty when it has none."""
        first = cls.KEYS.split(",")[0].strip()
        return cls.SHOWN or _KEY_NAMES.get(first, first.replace("ctrl+", "^"))

    @classmethod
    def shown_while_typing(cls) -> str:
        """The first of its keys that is no text, as the footer shows it; empty when all are."""
        keys = (key.strip() for key in cls.KEYS.split(","))
        first = next((key for key in keys if key and not _is_text(key)), "")
        return _KEY_NAMES.get(first, first.replace("ctrl+", "^"))

    @classmethod
    def binding(cls) -> Binding:
        """The key binding that posts this command."""
        return Binding(
            cls.KEYS,
            f"command('{cls.__name__}')",
            cls.label(),
            show=cls.FOOTER,
            key_display=cls.shown(),
            tooltip=cls.help(),
        )


class Commanding(MessagePump):
    """A mixin for widgets, screens and the app: declares commands and posts them.

    List it before the Textual class: `class LogPane(Commanding, ScrollView)`.
    """

    COMMANDS: ClassVar[Any] = ()
    """What this pane offers, in the order of help: a tuple of `Command` classes.

    Its type is open, for Textual's screens have a `COMMANDS` too: the palette's providers; ours has its own.
    """
    TITLE_IN_HELP: ClassVar[str] = ""
    """What help calls this pane."""
    BINDINGS: ClassVar[list[BindingType]] = []

    def __init_subclass__(cls, **options: object) -> None:
        # Textual merges BINDINGS along the MRO when the class is made, so they must be there before.
        own = cls.__dict__.get("COMMANDS", ())
        if own:
            cls.BINDINGS = [
                *cls.__dict__.get("BINDINGS", []),
                *(command.binding() for command in own if command.KEYS),
            ]
        super().__init_subclass__(**options)

    @classmethod
    def commands(cls) -> Iterator[type[Command]]:
        """Its commands, then those of the classes that it inherits from."""
        seen: set[type[Command]] = set()
        for base in cls.__mro__:
            for command in base.__dict__.get("COMMANDS", ()):
                if isinstance(command, type) and command not in seen:
                    seen.add(command)
                    yield command

    def offers(self, command: type[Command]) -> bool:
        """Does the command make sense here and now? What does not is left out of footer and palette."""
        return True

    def subject(self) -> tuple[str, ...]:
        """The ids of the jobs that a command posted from here is about."""
        return ()

    def action_command(self, name: str) -> None:
        """Post the command of that name, if it makes sense now."""
        for command in self.commands():
            if command.__name__ == name:
                if self.offers(command):
                    self.post_message(command(self.subject()))
                return
        raise LookupError(f"{type(self).__name__} has no command {name}")


def offered(node: DOMNode | None) -> Iterator[tuple[Commanding, type[Command]]]:
    """The commands on offer at a focused node, nearest pane first, each with the pane that offers it."""
    seen: set[str] = set()
    while node is not None:
        if isinstance(node, Commanding):
            for command in node.commands():
                if command.__name__ not in seen and node.offers(command):
                    seen.add(command.__name__)
                    yield node, command
        parent = node.parent
        node = parent if isinstance(parent, DOMNode) else None
