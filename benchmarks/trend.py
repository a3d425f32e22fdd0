"""How often the trend verdict is wrong, how often it sees a real change, and what it costs.

    python benchmarks/trend.py [--series 2000] [--json]

Losses are simulated: a level of 3 nats, a linear drop or none, and noise with a standard deviation of 0.15
nats that is white, autocorrelated (AR(1)) or heavy-tailed (Student t with 3 degrees of freedom, scaled).
A verdict is asked for after 100 losses, and, for the long runs, after every one of 1,000.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from scorer.trend import LossTrend, TrendName

LEVEL, NOISE, COUNT, DROP = 3.0, 0.15, 100, 0.2
QUIET = {TrendName.PLATEAU, TrendName.INCONCLUSIVE, TrendName.WARMING_UP}

Noise = Callable[[random.Random, int], list[float]]


def autocorrelated(correlation: float) -> Noise:
    def noise(rng: random.Random, count: int) -> list[float]:
        value, values = rng.gauss(0, NOISE), []
        for _ in range(count):
            values.append(value)
            value = correlation * value + rng.gauss(0, NOISE * math.sqrt(1 - correlation**2))
        return values

    return noise


def heavy_tailed(rng: random.Random, count: int) -> list[float]:
    def student() -> float:
        return rng.gauss(0, 1) / math.sqrt(sum(rng.gauss(0, 1) ** 2 for _ in range(3)) / 3)

    return [NOISE / math.sqrt(3) * student() for _ in range(count)]


NOISES: dict[str, Noise] = {
    "white": autocorrelated(0.0),
    "AR(1) 0.5": autocorrelated(0.5),
    "AR(1) 0.8": autocorrelated(0.8),
    "heavy-tailed": heavy_tailed,
}


def verdicts(series: Iterator[list[float]]) -> Counter[TrendName]:
    """The verdict after the last loss of each series, counted."""
    counts: Counter[TrendName] = Counter()
    for losses in series:
        trend = LossTrend()
        for step, loss in enumerate(losses, start=1):
            trend.add_train(step, loss)
        counts[trend.verdict().name] += 1
    return counts


def simulated(noise: Noise, number: int, drop: float = 0.0, bump: float = 0.0) -> Iterator[list[float]]:
    rng = random.Random(20261121)
    for _ in range(number):
        losses = [LEVEL - drop * i / (COUNT - 1) + e for i, e in enumerate(noise(rng, COUNT))]
        losses[-1] += bump
        yield losses


def share_of_time(noise: Noise, runs: int, length: int = 1000) -> float:
    """The share of losses of long flat runs at which a verdict says that something happens."""
    rng, wrong = random.Random(7), 0
    for _ in range(runs):
        trend = LossTrend()
        for step, error in enumerate(noise(rng, length), start=1):
            trend.add_train(step, LEVEL + error)
            wrong += trend.verdict().name not in QUIET
    return wrong / (runs * length)


def microseconds_a_loss(length: int = 5000) -> float:
    """CPU time of adding a loss and asking for the verdict, every time; mean."""
    losses = [LEVEL + error for error in NOISES["AR(1) 0.5"](random.Random(3), length)]
    trend = LossTrend()
    start = time.process_time()
    for step, loss in enumerate(losses, start=1):
        trend.add_train(step, loss, 1.0)
        trend.verdict()
    return (time.process_time() - start) / length * 1e6


def measure(number: int) -> dict[str, object]:
    rows = []
    for name, noise in NOISES.items():
        flat = verdicts(simulated(noise, number))
        falling = verdicts(simulated(noise, number, drop=DROP))
        rising = verdicts(simulated(noise, number, drop=-DROP))
        rows.append(
            {
                "noise": name,
                "false_calls": sum(count for verdict, count in flat.items() if verdict not in QUIET) / number,
                "false_calls_over_time": share_of_time(noise, max(1, number // 100)),
                "sees_drop": falling[TrendName.IMPROVING] / number,
                "sees_rise": rising[TrendName.DIVERGING] / number,
                "sees_spike_1_5": verdicts(simulated(noise, number, bump=1.5))[TrendName.SPIKE] / number,
                "sees_spike_0_75": verdicts(simulated(noise, number, bump=0.75))[TrendName.SPIKE] / number,
            }
        )
    return {"schema": 1, "series": number, "trend": rows, "microseconds_a_loss": microseconds_a_loss()}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--series", type=int, default=2000, help="simulated series for each figure")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    result = measure(options.series)
    if options.json:
        print(json.dumps(result, indent=2))
        return
    columns = [
        "false_calls",
        "false_calls_over_time",
        "sees_drop",
        "sees_rise",
        "sees_spike_1_5",
        "sees_spike_0_75",
    ]
    print(f"{options.series} series of {COUNT} losses, noise {NOISE}, drop {DROP} nats\n")
    print(f"{'noise':14}" + "".join(f"{column:>23}" for column in columns))
    for row in result["trend"]:  # type: ignore[attr-defined]
        print(f"{row['noise']:14}" + "".join(f"{100 * row[column]:>21.1f} %" for column in columns))
    print(f"\n{result['microseconds_a_loss']:.0f} µs of CPU a loss, verdict included")


if __name__ == "__main__":
    main()
