"""The GPUs that can be rented now, beside the field that names them."""

from __future__ import annotations

from typing import Final

from textual.content import Content

from tui.launch_answers import Gpu
from tui.widgets.clean import clean
from tui.widgets.line_list import LineList

AUTO: Final = Gpu("auto", "the cheapest that fits · $/h of one GPU")


class GpuList(LineList):
    """One GPU a line, with memory, price and stock; the field takes names in order of preference."""

    can_focus = False

    def __init__(self) -> None:
        super().__init__()
        self.gpus: tuple[Gpu, ...] = ()

    def only(self, text: str) -> None:
        """Show those that have the last name that is being typed in them; all of them where none has."""
        known = {gpu.name: gpu for gpu in (AUTO, *self.gpus)} if self.gpus else {}
        last = text.rpartition(",")[2].strip().casefold()
        exact = next((name for name in known if name.casefold() == last), None)
        fitting = [name for name in known if exact or last in name.casefold()]
        self.show(fitting or list(known))
        if exact:
            self.go_to(exact)

    def chosen(self, text: str) -> str:
        """The field's text with the pointed one as its last name."""
        before, comma, _ = text.rpartition(",")
        return f"{before}, {self.key}" if comma else str(self.key or text)

    def draw(self, row: int, width: int) -> Content:
        """A line."""
        gpu = next(gpu for gpu in (AUTO, *self.gpus) if gpu.name == self._keys[row])
        cells = Content.assemble(f"{clean(gpu.name, 40):<16}  ", (clean(gpu.about, 160), "$text-muted"))
        return cells.truncate(width, ellipsis=True)
