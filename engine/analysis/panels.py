"""The panels of a run's configuration, with the metrics that are there. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, Final

_MOST: Final = 8
_PANELS: Final = 20


@dataclass(frozen=True, slots=True)
class Panel:
    """Metrics that are looked at together.

    Args:
        name: What it is called.
        metrics: Their names, in the order of its patterns; empty while the run has none of them.
        log: Is y logarithmic at first?
        left_out: How many more would match.
    """

    name: str
    metrics: tuple[str, ...]
    log: bool = False
    left_out: int = 0


def panels_of(config: Mapping[str, Any], names: Iterable[str]) -> tuple[Panel, ...]:
    """The panels that a configuration asks for; what makes no sense in it is left out.

    Args:
        config: The job's configuration, section `panels`.
        names: The metrics that the run has.
    """
    given, known = config.get("panels"), list(names)
    found = []
    for item in list(given)[:_PANELS] if isinstance(given, (list, tuple)) else []:
        patterns = item.get("metrics") if isinstance(item, Mapping) else None
        if isinstance(patterns, (list, tuple)):
            most = item.get("most")
            most = most if isinstance(most, int) and most > 0 else _MOST
            metrics = _matching(patterns, known)
            kept, name = tuple(metrics[:most]), str(item.get("name", ""))[:40]
            found.append(Panel(name, kept, item.get("log") is True, len(metrics) - len(kept)))
    return tuple(found)


def _matching(patterns: Iterable[Any], names: list[str]) -> list[str]:
    every = (name for pattern in patterns for name in sorted(names) if fnmatchcase(name, str(pattern)))
    return list(dict.fromkeys(every))
