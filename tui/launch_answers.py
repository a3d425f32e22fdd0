"""What the launch dialog is told, and whom it asks: values, so that it needs to know nobody."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from tui.draft import Draft


@dataclass(frozen=True, slots=True)
class Source:
    """What a run can start from.

    Args:
        name: What is typed for it: a template's name, a file's path.
        kind: What it is.
        about: A few words on it.
    """

    name: str
    kind: Literal["template", "file", "recent"]
    about: str = ""


@dataclass(frozen=True, slots=True)
class Checked:
    """What is known of a draft without asking anybody else.

    Args:
        mistakes: What is wrong, by field.
        others: What is wrong with keys that have no field.
        problems: What is wrong with the data, row by row.
        data: Rows and format, one line each; what is suspicious among them.
        preview: Of the first rows, the number and who says what.
        estimate: Memory, time and dollars, one line each.
    """

    mistakes: Mapping[str, str] = field(default_factory=dict)
    others: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()
    data: tuple[str, ...] = ()
    preview: tuple[tuple[int, tuple[tuple[str, str], ...]], ...] = ()
    estimate: tuple[str, ...] = ()

    @property
    def ready(self) -> bool:
        """Can it be launched?"""
        return not (self.mistakes or self.others or self.problems)


@dataclass(frozen=True, slots=True)
class Gpu:
    """A GPU that can be rented.

    Args:
        name: What is typed for it.
        about: Its memory, prices and stock.
    """

    name: str
    about: str = ""


@dataclass(frozen=True, slots=True)
class Offered:
    """What would be rented now.

    Args:
        rows: Names and values: machine, price × count, stock, disks, time, cost, limits, worst cost.
        trouble: Why that is not known; empty when it is.
        quote: For the one who launches.
    """

    rows: tuple[tuple[str, str], ...] = ()
    trouble: str = ""
    quote: Any = None


class Launching(Protocol):
    """Whom the dialog asks.

    Raises:
        PodiumError: From any method; one line that is shown.
    """

    async def sources(self) -> tuple[Source, ...]:
        """What there is to start from."""
        ...

    async def begin(self, source: str) -> Draft:
        """A draft on a template or a file.

        Raises:
            BadSpec: It is neither, or can't be read.
        """
        ...

    async def check(self, draft: Draft) -> Checked:
        """What is wrong with a draft, what its data are, and what it will take."""
        ...

    async def offers(self, draft: Draft) -> Offered:
        """What would be rented; unknown within some seconds."""
        ...

    async def gpus(self, draft: Draft) -> tuple[Gpu, ...]:
        """What GPUs can be rented now; none where that is not known within some seconds."""
        ...

    async def paths(self, text: str) -> str | None:
        """The first path that begins so; None where there is none."""
        ...

    async def write(self, draft: Draft, path: str, *, replacing: bool) -> str:
        """Write the spec as a job file; a line that says where.

        Raises:
            BadInput: It is there and is not to be replaced, or can't be written.
        """
        ...

    async def launch(self, draft: Draft, offered: Offered | None, begun: Callable[[str], None]) -> str:
        """Start the run; told of its id as soon as it has one. A line that says what was done."""
        ...

    async def close(self) -> None:
        """Give up launches that are not done; what was rented is ended, or found at the next start."""
        ...
