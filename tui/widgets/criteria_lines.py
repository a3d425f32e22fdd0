"""How a run stands to its criteria, tier by tier. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from textual.content import Content

from engine.analysis.format import short
from tui.widgets.clean import clean

if TYPE_CHECKING:
    from engine.analysis.criteria import Check, Standing, Tier

QUIET: Final = "$text-muted"
SIGNS: Final = {True: ("✓", "$success"), False: ("✗", "$warning"), None: ("·", QUIET)}
"""How a condition stands that is met, is not, or can't be told yet."""


def criteria_lines(standing: Standing, width: int) -> Iterator[Content]:
    """A line for what was reached, and one for each tier and each of its conditions."""
    reached = standing.reached
    yield Content.assemble(
        ("criteria  ", QUIET), (f"{reached} reached" if reached else "none reached", _colour(reached))
    )
    for tier in standing.tiers:
        yield from _tier(tier, width)


def _colour(reached: str | None) -> str:
    return "bold $success" if reached else "bold"


def _tier(tier: Tier, width: int) -> Iterator[Content]:
    sign, style = SIGNS[tier.met]
    yield Content.assemble((f"{sign} ", style), (tier.name, "bold" if tier.met else ""))
    for check in tier.checks:
        yield _check(check).truncate(width, ellipsis=True)


def _check(check: Check) -> Content:
    """Sign, metric, what was asked for, what there is."""
    sign, style = SIGNS[check.met]
    change = f" ({check.change * 100:+.1f} %)" if check.change is not None and "%" in check.wanted else ""
    asked = f"{clean(check.metric, 60)} {clean(check.wanted, 30)}"
    return Content.assemble((f"  {sign} ", style), (f"{asked}  ", QUIET), f"{short(check.value)}{change}")
