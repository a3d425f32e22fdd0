"""`podium predictions`: what a run's model answered to its sample of eval prompts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import click

from engine.analysis import format as words
from tui.cli.options import job_argument, json_option
from tui.cli.output import emit, fields, line
from tui.cli.workplace import up_to_date


@click.command()
@job_argument
@click.option("--step", type=click.IntRange(min=0), metavar="N", help="Show what it answered at step N.")
@json_option
def predictions(job: str, step: int | None, as_json: bool) -> None:
    """Show what a run's model answered to its sample of eval prompts."""
    with up_to_date() as store:
        found = store.predictions(store.find(job).id, step=step)
    if as_json:
        emit("predictions", found)
    elif found:
        _show([row for row in found if row["step"] == found[-1]["step"]])
    else:
        line("No predictions" + (" yet." if step is None else f" at step {step}."))


def _show(rows: list[dict[str, Any]]) -> None:
    exact = [row["exact_match"] for row in rows if row["exact_match"] is not None]
    told = f", {sum(exact)} of {len(exact)} exact" if exact else ""
    line(f"step {words.count(rows[0]['step'])}: {len(rows)} predictions{told}", bold=True)
    for row in rows:
        line("")
        fields(
            {
                "prompt": row["prompt"] or words.UNKNOWN,
                "truth": row["ground_truth"] or words.UNKNOWN,
                "prediction": row["prediction"] or words.UNKNOWN,
                "marks": " · ".join(_marks(row)) or words.UNKNOWN,
            }.items()
        )


def _marks(row: dict[str, Any]) -> Iterator[str]:
    """How good an answer is, in few words."""
    if row["exact_match"] is not None:
        yield "exact" if row["exact_match"] else "not exact"
    for column, name in (("char_error_rate", "character errors"), ("word_overlap", "words shared")):
        if row[column] is not None:
            yield f"{name} {row[column]:.0%}"
    if row["length_ratio"] is not None:
        yield f"length ×{row['length_ratio']:.2f}"
    if row["validation_pass"] is not None:
        yield "valid" if row["validation_pass"] else f"not valid: {row['validation_errors']}"
    if row["completion_tokens"] is not None and row["latency_ms"] is not None:
        yield f"{row['completion_tokens']} tokens in {row['latency_ms'] / 1000:.2f} s"
