"""What `podium doctor` looks at: what is installed, what can be reached, and the place it works in.

Nothing is written, nothing heavy is imported, and nothing is waited for longer than seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from tui.cli.checks import installed, place, reachable
from tui.cli.checks.finding import Finding

PROBES: Final[tuple[Callable[[], Finding], ...]] = (
    installed.podium,
    installed.python,
    installed.packages,
    installed.train,
    installed.runpod,
    installed.supabase,
    installed.bitsandbytes,
    installed.stylesheet,
    place.machine,
    reachable.gpu,
    reachable.ssh,
    reachable.hub,
    place.home,
    place.disk,
    place.store,
    place.terminal,
)


def every_finding() -> Iterator[Finding]:
    """What each probe found, in the order of the report."""
    return (probe() for probe in PROBES)
