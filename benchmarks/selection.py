"""Which checkpoint does each rule choose, and how much worse is it than the best one on unseen data?

    nice -n 10 python benchmarks/selection.py [--batches 16] [--seed 0] [--json] [--write docs/SELECTION.md]

Hundreds of small models are fine-tuned (small_models.py). Each rule sees what a trainer logs: the train
loss since the last eval, and the loss on the eval split. Regret is the true test loss of what it chose
minus that of the best of the twenty checkpoints, in thousandths of a nat; intervals are 95 % bootstrap
intervals over runs. Differences are paired: on the same runs.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import Any, Final

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import small_models
from small_models import Run

from scorer import (
    MEAN_OF_THREE,
    CheckpointMetrics,
    RunScorer,
    Score,
    Weights,
    mean_of_three,
    ordering,
    score,
    select,
)

KINDS: Final = ("in distribution", "domain shift")
DEFAULT: Final = "multi-metric/1"
Choice = Callable[[Run], int]


def scored(run: Run, weights: Weights | None = None) -> list[Score]:
    """The scores of a run's checkpoints, made as the trainer makes them."""
    scorer = RunScorer(weights)
    found = []
    for step, train_loss, eval_loss in zip(run.steps, run.train, run.eval, strict=True):
        scorer.add_train(step, train_loss)
        found.append(scorer.add_eval(step, eval_loss))
    return found


def by_rule(rule: str, weights: Weights | None = None) -> Choice:
    def choose(run: Run) -> int:
        best = select(scored(run, weights), rule=rule).best
        assert best is not None
        return run.steps.index(best.metrics.step)

    return choose


def original(run: Run) -> int:
    """The rule of the system that Podium replaces, with its flaws.

    The train loss never arrived in time, so there is no gap; the bonus is that of the eval before; the
    previous best is scored again without its bonus, and replaced when the new one is below that.
    """
    best, improved = 0, True
    for place, loss in enumerate(run.eval):
        new = score(CheckpointMetrics(1, loss, None, improved)).total
        old = score(CheckpointMetrics(1, run.eval[best], None, False)).total
        best = place if new < old else best
        improved = place > 0 and loss < run.eval[place - 1]
    return best


def one_sided(run: Run) -> int:
    """multi-metric/1 with a gap only where the train loss is below the eval loss."""
    found = []
    for item in scored(run):
        train_loss, eval_loss = item.metrics.train_loss or 0.0, item.metrics.eval_loss or 0.0
        found.append(score(replace(item.metrics, train_loss=min(train_loss, eval_loss))))
    return run.steps.index(ordering(found)[0].metrics.step)


SINGLE: Final[Mapping[str, Choice]] = {
    "lowest eval loss": by_rule("eval-loss"),
    "EMA of the eval loss": by_rule("ema"),
    "original, as implemented": original,
    DEFAULT: by_rule("multi-metric"),
    "last checkpoint": by_rule("last"),
    "without the bonus": by_rule("multi-metric", Weights(bonus=0.0)),
    "gap weight 0.1, no bonus": by_rule("multi-metric", Weights(gap=0.1, bonus=0.0)),
    "one-sided gap": one_sided,
}
"""Rules that choose one checkpoint; the last three are variations of the default."""

AVERAGED: Final[Mapping[str, Callable[[Run], list[int]]]] = {
    "mean of the three lowest eval losses": lambda run: places(run, ordering(scored(run), "eval-loss")[:3]),
    MEAN_OF_THREE: lambda run: places(run, mean_of_three(scored(run))),
}
"""Rules that average the weights of three checkpoints; the scorer's own takes the three best scores."""


def places(run: Run, scores: Sequence[Score]) -> list[int]:
    return [run.steps.index(item.metrics.step) for item in scores]


def collect(batches: int, seed: int, tell: Callable[[str], None]) -> list[Run]:
    """Train everything; the runs, with the test losses of averaged weights filled in."""
    runs: list[Run] = []
    start = time.perf_counter()
    for number, (batch, checkpoints, truth) in enumerate(small_models.batches(batches, seed), start=1):
        for name, choose in AVERAGED.items():
            mean = small_models.averaged(checkpoints, [choose(run) for run in batch])
            for kind, losses in small_models.test_losses(mean, truth).items():
                for run, loss in zip(batch, losses.tolist(), strict=True):
                    run.averaged[name, kind] = loss
        runs += batch
        tell(f"{len(runs)} models, {time.perf_counter() - start:.0f} s (batch {number} of {batches})")
    return runs


def regrets(runs: Sequence[Run], kind: str) -> dict[str, list[float]]:
    """Rule -> the regret on each run, thousandths of a nat."""
    found: dict[str, list[float]] = {}
    for run in runs:
        losses = run.test[kind]
        for name, choose in SINGLE.items():
            found.setdefault(name, []).append(1000 * (losses[choose(run)] - min(losses)))
        for name in AVERAGED:
            found.setdefault(name, []).append(1000 * (run.averaged[name, kind] - min(losses)))
    return found


def interval(values: Sequence[float], rounds: int = 2000) -> tuple[float, float, float]:
    """The mean and its 95 % bootstrap interval."""
    rng = random.Random(1)
    means = sorted(fmean(rng.choices(values, k=len(values))) for _ in range(rounds))
    return fmean(values), means[int(0.025 * rounds)], means[int(0.975 * rounds)]


def summarize(runs: Sequence[Run]) -> dict[str, Any]:
    """Everything that the table shows."""
    rules: dict[str, dict[str, Any]] = {}
    for kind in KINDS:
        found = regrets(runs, kind)
        for name, values in found.items():
            against = [ours - theirs for ours, theirs in zip(values, found[DEFAULT], strict=True)]
            rules.setdefault(name, {})[kind] = {
                "regret": interval(values),
                "against_default": interval(against),
            }
    return {"schema": 1, "runs": len(runs), "selection": rules, "groups": grouped(runs)}


GROUPS: Final[Mapping[str, Callable[[Run], float]]] = {
    "adapters": lambda run: run.adapters,
    "train symbols": lambda run: run.examples,
    "eval symbols": lambda run: run.eval_examples,
    "learning rate": lambda run: round(run.learning_rate, 6),
    "label noise": lambda run: round(run.label_noise, 3),
}
"""What runs differ in; adapters is 1 where low-rank adapters were trained, else 0."""


def grouped(runs: Sequence[Run]) -> list[dict[str, Any]]:
    """The mean regrets of the main rules in each group of runs."""
    names = ("lowest eval loss", DEFAULT, MEAN_OF_THREE)
    rows = []
    for title, key in GROUPS.items():
        for value in sorted({key(run) for run in runs}, key=float):
            members = [run for run in runs if key(run) == value]
            means = {}
            for kind in KINDS:
                found = regrets(members, kind)
                means[kind] = {name: fmean(found[name]) for name in names}
            rows.append({"group": title, "value": float(value), "runs": len(members), "regret": means})
    return rows


def table(result: Mapping[str, Any]) -> str:
    """The result as Markdown."""
    lines = [
        "Regret against the best of the twenty checkpoints, in thousandths of a nat, mean over "
        f"{result['runs']} models [95 % interval]; below zero is better than any single checkpoint. "
        f"*Against the default* is paired: below zero is better than {DEFAULT}.",
        "",
        "| rule | in distribution | against the default | domain shift | against the default |",
        "|---|---|---|---|---|",
    ]
    for name, kinds in result["selection"].items():
        cells = [cell(kinds[kind][what]) for kind in KINDS for what in ("regret", "against_default")]
        if name == DEFAULT:
            cells[1::2] = ["—", "—"]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    names = list(result["groups"][0]["regret"][KINDS[0]])
    lines += ["", "Mean regret by kind of run: " + ", ".join(names) + ".", ""]
    lines += ["| | runs | in distribution | domain shift |", "|---|---|---|---|"]
    for row in result["groups"]:
        figures = [" / ".join(f"{row['regret'][kind][name]:.1f}" for name in names) for kind in KINDS]
        lines.append(f"| {row['group']} {row['value']:g} | {row['runs']} | " + " | ".join(figures) + " |")
    return "\n".join(lines)


def cell(figures: Sequence[float]) -> str:
    mean, low, high = figures
    return f"{mean:.1f} [{low:.1f}, {high:.1f}]"


def write(path: Path, text: str) -> None:
    """Put the table between the markers of a document."""
    document = path.read_text(encoding="utf-8")
    marked = re.compile(r"(<!-- benchmarks/selection\.py -->\n).*?(<!-- end -->)", re.DOTALL)
    if not marked.search(document):
        raise SystemExit(f"{path} has no place marked for the table")
    path.write_text(marked.sub(lambda match: f"{match[1]}{text}\n{match[2]}", document), encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--batches", type=int, default=16, help="batches of 64 models; each takes about 12 s")
    parser.add_argument("--seed", type=int, default=0, help="of the first batch")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--write", type=Path, help="put the table into this document")
    options = parser.parse_args()
    runs = collect(options.batches, options.seed, lambda text: print(text, file=sys.stderr))
    result = summarize(runs)
    print(json.dumps(result, indent=2) if options.json else table(result))
    if options.write:
        write(options.write, table(result))


if __name__ == "__main__":
    main()
