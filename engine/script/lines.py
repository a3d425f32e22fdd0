"""Log lines that tell figures: `Epoch 3/100: train_loss=…, val_loss=…` and its kin, and the user's own.

A pattern of the user's may be one that takes for ever: it has so many seconds a line, and one that
exceeds them again and again is not tried any more. The clock is SIGALRM, which Python's matcher heeds, so
a `Reader` belongs into the main thread.
"""

from __future__ import annotations

import re
import signal
from collections.abc import Callable, Sequence
from types import FrameType
from typing import Any, Final

from engine.script.figures import Figure, Names, Row, figure, plain_name, put_place

LONGEST: Final = 4096
"""Characters of a line that are looked at."""
PATIENCE: Final = 0.05
"""Seconds that one pattern may take for one line."""
STRIKES: Final = 3
"""How often it may exceed them."""

_ESCAPES: Final = re.compile(
    r"\x1b(?:\[[0-?]{0,40}[ -/]{0,4}[@-~]?|\][^\x07\x1b]{0,400}(?:\x07|\x1b\\)?|[ -~])"
)
_NUMBER: Final = r"[-+]?(?:\d{1,30}\.?\d{0,30}|\.\d{1,30})(?:[eE][-+]?\d{1,3})?|[-+]?(?:nan|inf(?:inity)?)"
_PAIR: Final = re.compile(
    rf"(?<![\w./-])['\"]?([A-Za-z_][\w./@-]{{0,60}})['\"]?[ \t]{{0,8}}[=:][ \t]{{0,8}}['\"]?({_NUMBER})"
    r"(?:s|ms|sec|%)?(?![\w.])",
    re.IGNORECASE,
)
_SPACED: Final = re.compile(
    rf"(?<![\w./-])([A-Za-z_][\w./-]{{0,60}})[ \t]{{1,4}}({_NUMBER})(?![\w./:])", re.IGNORECASE
)
_AT: Final = re.compile(
    r"(?<![\w.])(epoch|ep|step|global_step|iteration|iter)\b['\"]?[ \t]{0,8}[=:#\[(]{0,2}[ \t]{0,8}"
    r"(\d{1,15}(?:\.\d{1,15})?)(?:[ \t]{0,8}(?:/|of)[ \t]{0,8}(\d{1,15}))?",
    re.IGNORECASE,
)
_TELLING: Final = re.compile(
    r"loss|acc|f1|ppl|perplex|precision|recall|auc|error|reward|bleu|rouge|grad|nll|mse|mae|rmse|lr|map|iou|score"
)


class Reader:
    """Reads figures out of log lines.

    Args:
        names: What the script's names mean.
        patterns: The user's own regular expressions; they go before ours.
        complain: Told, once, of a pattern that is not tried any more.
        patience: Seconds that one pattern may take for one line.
    """

    def __init__(
        self,
        names: Names | None = None,
        patterns: Sequence[str] = (),
        complain: Callable[[str], None] = lambda text: None,
        patience: float = PATIENCE,
    ) -> None:
        self._names, self._complain, self._patience = names or Names(), complain, patience
        self._patterns = [re.compile(pattern) for pattern in patterns]
        self._strikes = [0] * len(self._patterns)

    def read(self, line: str) -> Row | None:
        """What a line tells; None when it tells nothing."""
        line = clean(line)
        if not line:
            return None
        for at, pattern in enumerate(self._patterns):
            if self._strikes[at] < STRIKES and (found := self._search(at, pattern, line)) is not None:
                row = self._own(found)
                if row.tells:
                    return row
        return self._ours(line)

    def _search(self, at: int, pattern: re.Pattern[str], line: str) -> re.Match[str] | None:
        try:
            with _Alarm(self._patience):
                return pattern.search(line)
        except TimeoutError:
            self._strikes[at] += 1
            if self._strikes[at] == STRIKES:
                self._complain(f"the pattern {pattern.pattern[:100]!r} takes too long: it is tried no more")
            return None

    def _own(self, found: re.Match[str]) -> Row:
        """What the groups of a pattern of the user's tell."""
        row, figures = Row(), []
        groups = found.groupdict()
        if (name := groups.pop("name", None)) is not None:
            groups[name] = groups.pop("value", None)
        for name, text in groups.items():
            value = figure(text)
            if value is None:
                continue
            if name in ("epochs", "steps"):
                _put_total(row, name, value)
            elif (plain := plain_name(name)) != "":
                figures.append((plain, value))
        self._names.sort(row, figures)
        return row

    def _ours(self, line: str) -> Row | None:
        """What a line of the usual kind tells: a place, and figures of which at least one is telling."""
        lower = line.lower()
        if "ep" not in lower and "iter" not in lower:  # neither epoch nor step: most lines are not for us
            return None
        row = Row()
        for found in _AT.finditer(line):
            place = "epoch" if found[1].lower().startswith("ep") else "step"
            value = figure(found[2])
            if value is not None and (row.epoch if place == "epoch" else row.step) is None:
                put_place(row, place, value)
                if found[3] is not None and (total := figure(found[3])) is not None:
                    _put_total(row, f"{place}s", total)
        pairs = [(plain_name(found[1]), figure(found[2])) for found in _PAIR.finditer(line)]
        seen = {name for name, _ in pairs}
        pairs += [
            (name, figure(found[2]))
            for found in _SPACED.finditer(line)
            if (name := plain_name(found[1])) not in seen and _TELLING.search(name)
        ]
        figures = [(name, value) for name, value in pairs if name and value is not None]
        if not any(_TELLING.search(name) or self._names.given(name) for name, _ in figures):
            return None
        step = row.step
        self._names.sort(row, figures)
        row.step = row.step if step is None else step
        return row if row.tells else None


def clean(line: str) -> str:
    """A line without escapes and controls: what a terminal would show in the end, cut where it is long."""
    line = line.rstrip("\r\n")
    if "\r" in line:
        line = line.rsplit("\r", 1)[1]
    line = line[: 2 * LONGEST]
    if "\x1b" in line:
        line = _ESCAPES.sub("", line)
    return line[:LONGEST]


def _put_total(row: Row, name: str, value: Figure) -> None:
    if value.value >= 1:
        if name == "epochs":
            row.epochs = value.value
        else:
            row.steps = int(value.value)


class _Alarm:
    """Raises TimeoutError in what it guards after some seconds; the main thread's alone."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    def __enter__(self) -> None:
        self._before = signal.signal(signal.SIGALRM, _late)
        signal.setitimer(signal.ITIMER_REAL, self._seconds)

    def __exit__(self, *reason: Any) -> None:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, self._before)


def _late(number: int, frame: FrameType | None) -> None:
    raise TimeoutError
