"""What the launch dialog says beside its fields: data, mistakes, what would be rented, what it will take."""

from __future__ import annotations

from collections.abc import Iterator

from textual.content import Content

from tui.launch_answers import Checked, Offered
from tui.widgets.clean import clean

_QUIET = "$text-muted"
_LONGEST = 160
"""Characters of a text of a row."""


def answers(checked: Checked | None, offered: Offered | None, *, rented: bool) -> Content:
    """All of it, what keeps the run from being launched first.

    Args:
        checked: What is known of the draft; None while it is being looked at.
        offered: What would be rented; None while that is asked for.
        rented: Is its machine to be rented?
    """
    lines: list[Content] = []
    if checked is None:
        lines += _section("checking …", ())
    else:
        wrong = [Content.styled(f"✗ {clean(text, 400)}", "$error") for text in checked.others]
        problems = [Content.styled(f"✗ {clean(text, 400)}", "$error") for text in checked.problems]
        lines += [*wrong, *([Content("")] if wrong else [])]
        lines += _section("data", [*(Content(clean(line, 400)) for line in checked.data), *problems])
    if rented:
        lines += _section("what would be rented", _offer(offered))
    if checked is not None:
        lines += _section("what it takes", [Content(clean(line, 300)) for line in checked.estimate])
        lines += _section("first rows", _rows(checked))
    return Content("\n").join(lines) if lines else Content.styled("—", _QUIET)


def _section(title: str, lines: list[Content] | tuple[Content, ...]) -> list[Content]:
    if not lines and title != "checking …":
        return []
    return [Content.styled(title, "bold $accent"), *lines, Content("")]


def _offer(offered: Offered | None) -> list[Content]:
    if offered is None:
        return [Content.styled("asking for prices and stock: —", _QUIET)]
    if offered.trouble:
        return [Content.styled(f"✗ {clean(offered.trouble, 300)}", "$error")]
    if not offered.rows:
        return [Content.styled("— until the spec is sound", _QUIET)]
    return [
        Content.assemble((f"{clean(name, 20):<11}", _QUIET), (clean(value, 300), _loud(name)))
        for name, value in offered.rows
    ]


def _loud(name: str) -> str:
    return "bold" if name in ("price", "worst cost") else ""


def _rows(checked: Checked) -> list[Content]:
    return [line for number, parts in checked.preview for line in _row(number, parts)]


def _row(number: int, parts: tuple[tuple[str, str], ...]) -> Iterator[Content]:
    for at, (name, text) in enumerate(parts):
        shown = clean(" ".join(text.split()), _LONGEST)
        yield Content.assemble(
            (f"{number if at == 0 else '':>3} ", _QUIET), (f"{clean(name, 20)}: ", "$secondary"), shown
        )


def confirmation(name: str, offered: Offered) -> str:
    """What is agreed to before a machine is rented, its first line a question."""
    rows = "\n".join(f"{label}: {value}" for label, value in offered.rows)
    return f"Rent this machine and launch {clean(name, 60)}?\n{clean_lines(rows)}"


def clean_lines(text: str) -> str:
    """Lines of text, each without what is not to be shown."""
    return "\n".join(clean(line, 300) for line in text.splitlines())
