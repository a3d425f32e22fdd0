"""Which metrics belong into one chart, and what they are called there. Pure.

Nothing here knows a trainer's metrics by heart: losses and evals stand beside what they evaluate, names
with one folder (`loss_components/span`) stand together, and so do the same figures of all GPUs.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import zip_longest
from typing import Final

from engine.analysis.panels import Panel

LOSS: Final = ("loss", "eval_loss")

MOST: Final = 8
"""Curves that can be told apart in one chart."""

LABELS: Final = {
    "loss": "train",
    "eval_loss": "eval",
    "learning_rate": "lr",
    "grad_norm": "grad",
    "tokens_per_second": "tok/s",
    "samples_per_second": "rows/s",
}
"""What a legend calls a metric."""

_GPU: Final = re.compile(r"gpu(\d+)_(.+)")


@dataclass(frozen=True, slots=True)
class Group:
    """The metrics of one chart.

    Args:
        name: What the chart is called.
        metrics: Their names, in the order they are drawn.
        log: Is y logarithmic at first?
    """

    name: str
    metrics: tuple[str, ...]
    log: bool = False

    def label(self, metric: str) -> str:
        """What the legend of this chart calls one of its metrics."""
        if len(self.metrics) > 1 and metric not in LOSS:
            if found := _GPU.fullmatch(metric):
                return f"gpu {found[1]}"
            bases = list(dict.fromkeys(metric.removeprefix("eval_") for metric in self.metrics))
            if len(bases) == 1:
                return "eval" if metric.startswith("eval_") else "train"
            short = _telling(bases)[metric.removeprefix("eval_")]
            return f"eval {short}" if metric.startswith("eval_") else short
        return label(metric)


def _telling(names: list[str]) -> dict[str, str]:
    """The words of each name that tell it from the others: `train ptr` of `loss/train/loss_ptr`."""
    words = [re.split("[/_]", name) for name in names]
    if len({len(each) for each in words}) == 1:
        differ = [len(set(column)) > 1 for column in zip(*words, strict=True)]
        kept = [[word for word, keep in zip(each, differ, strict=True) if keep] for each in words]
    else:
        shared = next(at for at, column in enumerate(zip_longest(*words)) if len(set(column)) > 1)
        # One that ends there keeps its last word.
        shared = min(shared, *(len(each) - 1 for each in words))
        kept = [each[shared:] for each in words]
    kept = kept if all(kept) else words
    return {name: " ".join(each) for name, each in zip(names, kept, strict=True)}


def label(metric: str) -> str:
    """A metric's short name."""
    return LABELS.get(metric, metric.replace("_", " "))


def groups(names: Iterable[str], panels: Iterable[Panel] = ()) -> list[Group]:
    """Metrics as charts, at most `MOST` curves in each.

    Args:
        names: What there is.
        panels: What the spec wants to be looked at together. They come after the losses; what is in one of
            them is in no other chart.
    """
    known = list(names)
    asked = [Group(panel.name, panel.metrics, panel.log) for panel in panels if panel.metrics]
    taken = {name for group in asked for name in group.metrics} - set(LOSS)
    together: dict[str, list[str]] = {}
    for name in known:
        if name not in LOSS and name not in taken:
            together.setdefault(_group(name), []).append(name)
    losses = Group("loss", tuple(name for name in LOSS if name in known) or LOSS)
    return [losses, *asked, *(part for name, metrics in together.items() for part in _parts(name, metrics))]


def _group(metric: str) -> str:
    """What the chart is called that a metric belongs into."""
    if found := _GPU.fullmatch(metric):
        return f"gpu {found[2].replace('_', ' ')}"
    base = metric.removeprefix("eval_")
    folder = base.rpartition("/")[0]
    return folder or LABELS.get(base, base.replace("_", " "))


def _parts(name: str, metrics: list[str]) -> list[Group]:
    """A group, or several where it has too many curves for one chart."""
    pieces = [tuple(metrics[at : at + MOST]) for at in range(0, len(metrics), MOST)]
    if len(pieces) == 1:
        return [Group(name, pieces[0])]
    return [Group(f"{name} {index}/{len(pieces)}", piece) for index, piece in enumerate(pieces, 1)]
