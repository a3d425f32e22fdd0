"""`podium doctor`: what is installed, reachable and missing here, and how to get it."""

from __future__ import annotations

from typing import Final

import click

from tui.cli.options import json_option
from tui.cli.output import emit, line, one_line

MARKS: Final = {"ok": ("✓", "green"), "absent": ("–", "yellow"), "bad": ("✗", "red")}


@click.command()
@json_option
def doctor(as_json: bool) -> int:
    """Say what is installed, reachable and missing here.

    Exits 0 when Podium works here; what is optional may be missing.
    """
    from tui.cli.checks import every_finding

    findings = list(every_finding())
    works = all(finding.state != "bad" for finding in findings)
    if as_json:
        emit("doctor", {"ok": works, "checks": findings})
        return 0 if works else 1
    width = max(len(finding.name) for finding in findings)
    for finding in findings:
        mark, colour = MARKS[finding.state]
        line(f"{click.style(mark, fg=colour)} {finding.name:<{width}}  {one_line(finding.value)}")
        if finding.advice:
            line(f"  {'':<{width}}  {one_line(finding.advice)}", dim=True)
    line("Podium works here." if works else "Podium does not work here until what is marked ✗ is mended.")
    return 0 if works else 1
