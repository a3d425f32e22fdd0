"""`podium validate`: is a data file fit to train on?"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import click

from engine.errors import BadInput
from tui.cli.options import json_option
from tui.cli.output import emit, line, one_line

if TYPE_CHECKING:
    from engine.job.dataset import Dataset


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
    "--eval", "held_out", type=click.Path(path_type=Path), metavar="DATA", help="Check eval data too."
)
@click.option(
    "--model",
    metavar="MODEL",
    help="Show rows as that model sees them, what is learnt marked; name those too long.",
)
@click.option(
    "--max-length",
    type=click.IntRange(min=8),
    metavar="TOKENS",
    help="What is too long; else as the template says.",
)
@json_option
def validate(
    data: Path, method: str, held_out: Path | None, model: str | None, max_length: int | None, as_json: bool
) -> None:
    """Check every row of a data file."""
    from engine.job import dataset

    if max_length is not None and model is None:
        raise click.UsageError("--max-length needs --model, whose tokens are counted")
    found = dataset.read(data, method=method)
    beside = _beside(found, held_out, method) if held_out is not None else None
    warnings = [*dataset.warnings_of(found, beside)]
    seen = _previewed(data, method, model, max_length) if model is not None else {}
    if seen.get("too_long") is not None:
        warnings.append(str(seen["too_long"]["told"]))
    if as_json:
        facts = {"rows": len(found.rows), "format": found.format, "sha256": found.sha256}
        told = {"path": str(data), "method": method, **facts, "warnings": warnings}
        emit("dataset", {**told, **seen})
        return
    line(f"{data}: {len(found.rows)} rows of format {found.format}, all fit for {method}")
    for warning in warnings:
        line(f"  {one_line(warning)}", fg="yellow")
    for sample in seen.get("samples", ()):
        _show(sample, method)


def _beside(train: Dataset, path: Path, method: str) -> Dataset:
    """Eval data for these rows.

    Raises:
        BadDataset: It can't be evaluated on.
    """
    from engine.errors import BadDataset
    from engine.job import dataset

    held_out = dataset.read(path, train.format, method=method)
    if not dataset.without(train.rows, held_out.rows, train.format):
        raise BadDataset(str(path), ["holds every training row"], "Give rows of its own to evaluate on.")
    return held_out


def _show(sample: dict[str, Any], method: str) -> None:
    """A row as the model sees it; what is learnt stands between ▶ and ◀, in green on a terminal."""
    runs = sample["runs"]
    learnt = sum(run["tokens"] for run in runs if run["trained"])
    part = "" if sample["part"] in ("text", "prompt") else f", {sample['part']}"
    how = f"{learnt} of them learnt" if method != "rlhf" else "what the model answers is rewarded"
    line("")
    line(f"row {sample['row']}{part}: {sum(run['tokens'] for run in runs)} tokens, {how}", bold=True)
    for run in runs:
        text = "\n".join(one_line(part) for part in run["text"].splitlines())
        line(f"▶{text}◀", fg="green") if run["trained"] else line(text, dim=True)


def _previewed(data: Path, method: str, model: str, max_length: int | None) -> dict[str, Any]:
    """What the trainer makes of the first rows; in a process of its own, for this one loads no torch.

    Raises:
        Missing: The train extra is not installed.
        BadInput: The model's tokenizer can't be used with these rows.
    """
    from tui.cli.launch import need_trainers

    need_trainers()
    arguments = [sys.executable, "-m", "engine.trainer.preview", str(data.absolute()), method, model]
    arguments += [str(max_length)] if max_length is not None else []
    done = subprocess.run(arguments, capture_output=True, text=True, check=False)
    try:
        told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    except (IndexError, ValueError):
        raise BadInput("the preview ended early", (done.stderr.splitlines() or [""])[-1][:200]) from None
    if "samples" not in told:
        raise BadInput(told["error"], told["advice"])
    return told
