"""Rows of figures become events: in the order of steps, each once, scored and judged as a trainer's are.

Figures of a step come from several places (a line, six files) and at several times. What is told of a
step for the first time is a `train` or `eval` event; what follows for the same step, or comes late for an
earlier one, is a `metric` event, which takes nothing back. A figure that differs from what was told
for that step means that the script went back: the later one wins, as after a resume.
"""

from __future__ import annotations

import bisect
import contextlib
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final, Literal

from engine.errors import BadWireLine
from engine.job.events import EventType, EventWriter, Phase, decode, number
from engine.script.figures import Figure, Row
from scorer import RunScorer, Score, Weights, order_key
from scorer.trend import LossTrend, TrendName

Kind = Literal["train", "eval"]
"""The rows of the store that figures end in."""
Side = Literal["train", "eval", "more"]
SIDES: Final[tuple[Side, ...]] = ("train", "eval", "more")

_ALARMS: Final[Mapping[str, tuple[str, str]]] = {
    TrendName.NAN: ("loss_nan", "error"),
    TrendName.SPIKE: ("loss_spike", "warning"),
    TrendName.DIVERGING: ("loss_diverging", "error"),
    TrendName.OVERFITTING: ("overfitting", "warning"),
}
_NO_FIGURES: Final = frozenset({"epoch", "kind", "score", "train_loss", "perplexity"})
_KEPT: Final = 100_000
"""Steps whose figures are remembered."""


class Teller:
    """Writes a script's figures to the wire.

    Args:
        events: The wire.
        weights: How checkpoints are scored.
    """

    def __init__(self, events: EventWriter, weights: Weights | None = None) -> None:
        self._events = events
        self._told: dict[int, dict[tuple[Side, str], Figure]] = {}
        self._main: dict[Kind, int] = {"train": -1, "eval": -1}
        self._newest = dict(self._main)
        self._epochs: list[tuple[float, int]] = []
        self._scorer, self._trend = RunScorer(weights), LossTrend()
        self._verdict, self._alarmed = "", set[str]()
        self._totals: dict[str, float] = {}
        self.scores: dict[int, dict[str, Any]] = {}
        """What the evaluation of a step found: eval_loss, train_loss, epoch, score."""
        self.count = 0
        """Events that were written."""

    @property
    def step(self) -> int | None:
        """The newest step that was told."""
        newest = max(self._main.values())
        return newest if newest >= 0 else None

    @property
    def by_epochs(self) -> bool:
        """Are its epochs its steps?"""
        return bool(self._epochs) and all(step == epoch for epoch, step in self._epochs[-50:])

    @property
    def done(self) -> bool:
        """Has the last epoch, or the last step, of those that it said it would do been told?

        One that goes beyond has said something else.
        """
        epoch = self._epochs[-1][0] if self._epochs else None
        if "epochs" in self._totals and epoch is not None:
            return epoch == self._totals["epochs"]
        return "steps" in self._totals and self.step == self._totals["steps"]

    def recall(self, path: Path) -> None:
        """Remember what the events of earlier attempts have told."""
        try:
            lines = path.read_bytes().split(b"\n")
        except OSError:
            return
        for line in lines:
            if b'"type":"train"' not in line and b'"type":"eval"' not in line and b'"metric"' not in line:
                continue
            try:
                event = decode(line)
            except BadWireLine:
                continue
            if event.step is not None:
                self._recall(event.type, event.step, event.data)

    def _recall(self, type: str, step: int, data: Mapping[str, Any]) -> None:
        side: Any = type if type in ("train", "eval") else data.get("kind")
        if side not in SIDES:
            return
        for name, value in data.items():
            if name not in _NO_FIGURES and (known := number(value)) is not None:
                self._remember(step, side, name, Figure(known))
        if (epoch := number(data.get("epoch"))) is not None:
            self._at(epoch, step)
        if type == EventType.TRAIN and "loss" in data:
            self._scorer.add_train(step, data["loss"])
            self._trend.add_train(step, data["loss"], data.get("grad_norm"))
        elif type == EventType.EVAL and "eval_loss" in data:
            self._scorer.add_eval(step, data["eval_loss"])
            self._trend.add_eval(step, data["eval_loss"])
            told = ("eval_loss", "train_loss", "epoch", "score")
            self.scores[step] = {name: data[name] for name in told if name in data}

    def tell(self, rows: Iterable[Row]) -> None:
        """Write what these rows tell that was not told yet."""
        steps: dict[int, Row] = {}
        for row in rows:
            self._total(row)
            step = self._place(row)
            if step is None:
                continue
            known = steps.setdefault(step, Row(step, row.epoch))
            known.epoch = row.epoch if known.epoch is None else known.epoch
            for side in SIDES:
                mine: dict[str, Figure] = getattr(known, side)
                for name, value in getattr(row, side).items():
                    before = mine.get(name)
                    if before is None or not before.agrees(value) or value.decimals > before.decimals:
                        mine[name] = value
        for step in sorted(steps):
            self._step(step, steps[step])

    def _place(self, row: Row) -> int | None:
        """The step that a row belongs to; a script that knows only epochs has them for steps."""
        if row.step is not None:
            if row.epoch is not None:
                self._at(row.epoch, row.step)
            return row.step
        if row.epoch is None:
            return None
        stepped = any(step > math.ceil(epoch) for epoch, step in self._epochs[-50:])
        if stepped:
            at = bisect.bisect_right(self._epochs, (row.epoch, 2**62)) - 1
            return self._epochs[max(0, at)][1]
        if row.epoch != int(row.epoch):
            # Parts of epochs: counted.
            known = next((step for epoch, step in self._epochs if epoch == row.epoch), None)
            step = known if known is not None else (self._epochs[-1][1] + 1 if self._epochs else 1)
        else:
            step = int(row.epoch)
        self._at(row.epoch, step)
        return step

    def _at(self, epoch: float, step: int) -> None:
        at = bisect.bisect_left(self._epochs, (epoch, step))
        if at == len(self._epochs) or self._epochs[at] != (epoch, step):
            self._epochs.insert(at, (epoch, step))
            del self._epochs[:-_KEPT]

    def _total(self, row: Row) -> None:
        """Tell of how many, when that is known or changes."""
        before = dict(self._totals)
        if row.epochs is not None:
            self._totals["epochs"] = row.epochs
        if row.steps is not None:
            self._totals["steps"] = row.steps
        if self._totals == before:
            return
        epochs, steps = self._totals.get("epochs"), self._totals.get("steps")
        if steps is None and row.step is None:
            steps = epochs  # epochs are the steps
        self._put(EventType.START, None, {"total_epochs": epochs, "total_steps": steps and int(steps)})

    def _step(self, step: int, row: Row) -> None:
        train, evaluated, more = (self._news(step, side, getattr(row, side)) for side in SIDES)
        place = {} if row.epoch is None else {"epoch": row.epoch}
        if train and self._tell("train", step, {**train, **place}) and "loss" in train:
            self._scorer.add_train(step, train["loss"])
            self._trend.add_train(step, train["loss"], train.get("grad_norm"))
            self._judge(step)
        if "eval_loss" in evaluated and step > self._main["eval"]:
            self._evaluated(step, evaluated, place)
        elif evaluated:
            self._add("eval", "eval", step, {**evaluated, **place})
        if more:
            self._add("more", "train", step, {**more, **place})

    def _news(self, step: int, side: Side, figures: Mapping[str, Figure]) -> dict[str, float]:
        """Those that were not told yet; one that differs takes back what was told from there on."""
        known, news = self._told.get(step, {}), {}
        for name, value in figures.items():
            before = known.get((side, name))
            if before is None or (value.decimals > before.decimals and value.value != before.value):
                news[name] = value
            elif not before.agrees(value):
                news[name] = value
                if side != "more" and step <= self._main[side]:
                    self._back(step, side)
        for name, value in news.items():
            self._remember(step, side, name, value)
        return {name: value.value for name, value in news.items()}

    def _back(self, step: int, side: Kind) -> None:
        """The script does a step again that it had left behind."""
        self._main[side] = self._newest[side] = step - 1
        for later in [at for at in self._told if at > step]:
            for key in [key for key in self._told[later] if key[0] == side]:
                del self._told[later][key]

    def _remember(self, step: int, side: Side, name: str, value: Figure) -> None:
        self._told.setdefault(step, {})[side, name] = value
        if len(self._told) > _KEPT:
            del self._told[next(iter(self._told))]  # the one that was told first

    def _tell(self, kind: Kind, step: int, data: Mapping[str, Any]) -> bool:
        """Tell of a step, in an event of its own where nothing lies beyond it; True for the first time."""
        first = step > self._main[kind]
        if first and step >= self._newest[kind]:
            self._newest[kind] = step
            self._put(EventType(kind), step, data, sync=kind == "eval")
        else:
            self._add(kind, kind, step, data)
        self._main[kind] = max(step, self._main[kind])
        return first

    def _add(self, side: Side, kind: Kind, step: int, data: Mapping[str, Any]) -> None:
        """Add to what was told of a step."""
        self._newest[kind] = max(step, self._newest[kind])
        self._put(EventType.METRIC, step, {"kind": side, **data})

    def _evaluated(self, step: int, figures: dict[str, float], place: Mapping[str, Any]) -> None:
        """Tell of an evaluation, with its score."""
        loss = figures["eval_loss"]
        score = self._scorer.add_eval(step, loss)
        self._trend.add_eval(step, loss)
        found = {"train_loss": score.metrics.train_loss, **place, "score": score.to_json()}
        self.scores[step] = {"eval_loss": loss, **found}
        self._tell("eval", step, {**figures, **found})
        self._judge(step)

    def _judge(self, step: int) -> None:
        """Tell when the trend's verdict changes, and raise the alarm once for each bad one."""
        verdict = self._trend.verdict()
        if verdict.name == self._verdict:
            return
        self._verdict = verdict.name
        told = {"verdict": verdict.name, "evidence": verdict.evidence, "numbers": verdict.numbers}
        self._put(EventType.TREND, step, told)
        if (alarm := _ALARMS.get(verdict.name)) and alarm[0] not in self._alarmed:
            self._alarmed.add(alarm[0])
            self.alert(alarm[0], verdict.evidence, alarm[1], step)

    def start(self, told: Mapping[str, Any]) -> None:
        """Tell that an attempt begins."""
        self._put(EventType.START, None, told)

    def sign_of_life(self, phase: Phase) -> None:
        """Tell what it is busy with."""
        self._put(EventType.PHASE, self.step, {"phase": phase})

    def result(self) -> None:
        """Tell that it ended well."""
        best = {"best_step": self.best(), "total_steps": self.step}
        self._put(EventType.RESULT, self.step, best, sync=True)

    def alert(self, name: str, message: str, severity: str = "info", step: int | None = None) -> None:
        """Tell something that somebody should know."""
        self._put(EventType.ALERT, step, {"alert": name, "severity": severity, "message": message})

    def checkpoint(self, step: int, **told: Any) -> None:
        """Tell of a checkpoint, with what the evaluation of its step found."""
        self._put(EventType.CHECKPOINT, step, {**self.scores.get(step, {}), **told}, sync=True)

    def step_of(self, epoch: int) -> int | None:
        """The step that an epoch ended with; None when that is not known yet."""
        return self._place(Row(None, float(epoch))) if self._epochs else None

    def best(self) -> int | None:
        """The step with the best score."""
        found = []
        for step, told in self.scores.items():
            with contextlib.suppress(ValueError, KeyError):
                found.append((order_key(Score.from_json(told["score"])), step))
        return min(found)[1] if found else None

    def _put(self, type: str, step: int | None, data: Mapping[str, Any], *, sync: bool = False) -> None:
        self._events.put(type, step, data, sync=sync)
        self.count += 1
