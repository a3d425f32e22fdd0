"""What scripts call things, and what Podium does: a row of figures, and where in the run it stands."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

LONGEST_NAME: Final = 80

_LOSS: Final = frozenset(
    {"loss", "train_loss", "training_loss", "loss_train", "train/loss", "tr_loss", "trn_loss"}
)
_EVAL_LOSS: Final = frozenset(
    f"{side}{sign}loss" for side in ("val", "valid", "validation", "eval", "dev") for sign in "_/"
) | {"loss_val", "vl_loss", "loss_eval", "loss_valid"}
_OTHERS: Final = {
    "lr": "learning_rate",
    "learning_rate": "learning_rate",
    "train/learning_rate": "learning_rate",
    "grad_norm": "grad_norm",
    "total_grad_norm": "grad_norm",
    "gradient_norm": "grad_norm",
    "train/grad_norm": "grad_norm",
    "time": "epoch_time",
    "ppl": "perplexity",
    "val_ppl": "perplexity",
}
_STEP: Final = frozenset(
    {"step", "global_step", "iteration", "iter", "it", "train/global_step", "trainer/global_step"}
)
_EPOCH: Final = frozenset({"epoch", "ep", "epochs", "train/epoch"})
_EVAL_PREFIX: Final = re.compile(r"(?:val|valid|validation|eval|dev)[_/](.+)")
_TRAIN_NAMES: Final = re.compile(
    r"loss|learning_rate|grad_norm|train[_/].*|.*(?:_per_second|_time|seconds|tokens)"
)
_ODD: Final = re.compile(r"[^a-z0-9_./:-]+")
_NUMBER: Final = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?")
_WORDS: Final = {
    "nan": math.nan,
    "inf": math.inf,
    "infinity": math.inf,
    "-inf": -math.inf,
    "-infinity": -math.inf,
}


@dataclass(frozen=True, slots=True)
class Figure:
    """A number as somebody wrote it.

    Args:
        value: It; NaN and infinities too.
        decimals: How many it was written with: a log line rounds what a file has in full.
    """

    value: float
    decimals: int = 20

    def agrees(self, other: Figure) -> bool:
        """Are the two the same number, as far as the coarser one was written?"""
        if math.isnan(self.value) or math.isnan(other.value):
            return math.isnan(self.value) and math.isnan(other.value)
        if self.value == other.value:
            return True
        least = min(self.decimals, other.decimals)
        return abs(self.value - other.value) <= 0.51 * 10.0 ** -min(max(least, -300), 300)


@dataclass(slots=True)
class Row:
    """What one log line, or one row of a file, tells.

    Args:
        step: The step, where it says one.
        epoch: The epoch, where it says one.
        steps: Of how many.
        epochs: Of how many.
        train: Figures of training, by metric.
        eval: Figures of an evaluation, by metric; `eval_loss` among them.
        more: Figures of neither, by metric.
    """

    step: int | None = None
    epoch: float | None = None
    steps: int | None = None
    epochs: float | None = None
    train: dict[str, Figure] = field(default_factory=dict)
    eval: dict[str, Figure] = field(default_factory=dict)
    more: dict[str, Figure] = field(default_factory=dict)

    @property
    def tells(self) -> bool:
        """Does it have figures, and a place?"""
        return bool(self.train or self.eval or self.more) and not (self.step is None and self.epoch is None)


def figure(text: Any) -> Figure | None:
    """A number that was written, or that JSON had; None for what is none."""
    if isinstance(text, bool) or text is None:
        return None
    if isinstance(text, (int, float)):
        try:
            return Figure(float(text), _decimals(repr(text)))
        except OverflowError:
            return None
    if not isinstance(text, str) or len(text) > 60:
        return None
    text = text.strip()
    if _NUMBER.fullmatch(text):
        return Figure(float(text), _decimals(text))
    known = _WORDS.get(text.lower().removeprefix("+"))
    return None if known is None else Figure(known)


def _decimals(text: str) -> int:
    mantissa, _, exponent = text.lower().partition("e")
    return len(mantissa.partition(".")[2]) - int(exponent or 0) if mantissa[-1:].isdigit() else 20


def plain_name(name: str) -> str:
    """A name as metrics have it: lower case, no odd characters; empty when nothing is left."""
    name = _ODD.sub("_", name.strip().lower()).strip("_./:-")[:LONGEST_NAME]
    return name if name and (name[0].isalpha() or name[0] == "_") else (f"_{name}" if name else "")


def place_of(name: str) -> str | None:
    """`step` or `epoch` where a plain name says where in the run something stands."""
    return "step" if name in _STEP else "epoch" if name in _EPOCH else None


def known(name: str) -> str | None:
    """What Podium calls a metric that everybody has; None for others."""
    if name in _LOSS:
        return "loss"
    if name in _EVAL_LOSS:
        return "eval_loss"
    return _OTHERS.get(name)


class Names:
    """What a script's names mean.

    Args:
        given: What the user says that they mean.
    """

    def __init__(self, given: Mapping[str, Any] | None = None) -> None:
        self._given = {plain_name(str(theirs)): str(ours) for theirs, ours in (given or {}).items()}

    def given(self, name: str) -> str | None:
        """What the user says that a plain name means."""
        return self._given.get(name)

    def is_loss(self, name: str) -> bool:
        """Is it the loss, of training or of an evaluation?"""
        return (self.given(name) or known(name)) in ("loss", "eval_loss")

    def sort(self, row: Row, figures: Iterable[tuple[str, Figure]], phase: str | None = None) -> None:
        """Put figures of a run's own names into a row.

        Args:
            row: The row.
            figures: By plain name; what says where it stands is told apart.
            phase: `train` or `eval`, where all of them are of one.
        """
        found = list(figures)
        evaluated = phase == "eval" or any(
            (self.given(name) or known(name)) == "eval_loss" for name, _ in found
        )
        for name, value in found:
            place = None if self.given(name) else place_of(name)
            if place is not None:
                put_place(row, place, value)
                continue
            ours = self.given(name) or known(name) or name
            if phase == "eval" and not self.given(name):
                ours = ours if ours.startswith("eval_") else "eval_loss" if ours == "loss" else f"eval_{name}"
            elif ours == name and (prefixed := _EVAL_PREFIX.fullmatch(name)):
                ours = f"eval_{prefixed[1]}"
            side = evaluated and (phase == "eval" or not _TRAIN_NAMES.fullmatch(ours))
            (row.eval if side or ours.startswith("eval_") else row.train)[ours] = value


def put_place(row: Row, place: str, value: Figure) -> None:
    """Say where a row stands; what is no place is ignored."""
    number = value.value
    if not math.isfinite(number) or not 0 <= number < 2**53:
        return
    if place == "step":
        row.step = int(number)
    else:
        row.epoch = number
