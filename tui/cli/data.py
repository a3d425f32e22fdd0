"""`podium validate`: is a data file fit to train on?"""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import click

from tui.cli.options import json_option
from tui.cli.output import emit, line


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
@json_option
def validate(data: Path, method: str, as_json: bool) -> None:
    """Check every row of a data file."""
    from engine.job import dataset

    found = dataset.read(data, method=method)
    if as_json:
        facts = {"rows": len(found.rows), "format": found.format, "sha256": found.sha256}
        emit("dataset", {"path": str(data), "method": method, **facts, "warnings": found.warnings})
        return
    line(f"{data}: {len(found.rows)} rows of format {found.format}, all fit for {method}")
    for warning in found.warnings:
        line(f"  {warning}", fg="yellow")
