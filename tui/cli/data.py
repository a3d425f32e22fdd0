"""`podium validate`: is a data file fit to train on?"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, get_args

import click

from engine.errors import BadInput
from tui.cli.options import json_option
from tui.cli.output import emit, line, one_line


class MethodType(click.ParamType[str]):
    """A training method, by the names that the job file knows."""

    name = "method"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The method itself, if there is such a one."""
        from engine.job.spec import Method

        if value not in (known := get_args(Method)):
            self.fail(f"{value!r} is no method: there is {', '.join(known)}", param, ctx)
        return value


@click.command()
@click.argument("data", type=click.Path(path_type=Path))
@click.option(
    "--method", type=MethodType(), default="sft", show_default=True, help="What it is to train with."
)
@click.option(
    "--model", metavar="MODEL", help="Show rows as that model sees them, what is learnt marked (sft)."
)
@json_option
def validate(data: Path, method: str, model: str | None, as_json: bool) -> None:
    """Check every row of a data file."""
    from engine.job import dataset

    if model is not None and method != "sft":
        raise click.UsageError("--model shows rows for method sft alone")
    found = dataset.read(data, method=method)
    samples = _previewed(data, method, model) if model is not None else None
    if as_json:
        facts = {"rows": len(found.rows), "format": found.format, "sha256": found.sha256}
        told = {"path": str(data), "method": method, **facts, "warnings": found.warnings}
        emit("dataset", told if samples is None else {**told, "samples": samples})
        return
    line(f"{data}: {len(found.rows)} rows of format {found.format}, all fit for {method}")
    for warning in found.warnings:
        line(f"  {warning}", fg="yellow")
    for number, runs in enumerate(samples or [], 1):
        _show(number, runs)


def _show(number: int, runs: list[dict[str, Any]]) -> None:
    """A row as the model sees it; what is learnt stands between ▶ and ◀, in green on a terminal."""
    learnt = sum(run["tokens"] for run in runs if run["trained"])
    line("")
    line(f"row {number}: {sum(run['tokens'] for run in runs)} tokens, {learnt} of them learnt", bold=True)
    for run in runs:
        text = "\n".join(one_line(part) for part in run["text"].splitlines())
        line(f"▶{text}◀", fg="green") if run["trained"] else line(text, dim=True)


def _previewed(data: Path, method: str, model: str) -> list[list[dict[str, Any]]]:
    """What the trainer makes of the first rows; in a process of its own, for this one loads no torch.

    Raises:
        Missing: The train extra is not installed.
        BadInput: The model's tokenizer can't be used with these rows.
    """
    from tui.cli.launch import need_trainers

    need_trainers()
    arguments = [sys.executable, "-m", "engine.trainer.preview", str(data.absolute()), method, model]
    done = subprocess.run(arguments, capture_output=True, text=True, check=False)
    try:
        told = json.loads(done.stdout.splitlines()[-1])
        samples: list[list[dict[str, Any]]] = told["samples"]
    except (IndexError, ValueError):
        raise BadInput("the preview ended early", (done.stderr.splitlines() or [""])[-1][:200]) from None
    except KeyError:
        raise BadInput(told["error"], told["advice"]) from None
    return samples
