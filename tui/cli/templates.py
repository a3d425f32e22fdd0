"""`podium templates`: the settings that each method starts from."""

from __future__ import annotations

import click

from tui.cli.errors import FAILED
from tui.cli.options import json_option
from tui.cli.output import emit, line, table


@click.group()
def templates() -> None:
    """List, show or check the templates that job files start from."""


@templates.command("list")
@json_option
def list_(as_json: bool) -> None:
    """List the templates: method, model and the settings that differ most."""
    from engine.job.spec import template_values
    from engine.job.spec import templates as names

    every = [{"name": name, **template_values(name)} for name in names()]
    if as_json:
        emit("templates", every)
        return
    table(
        ("TEMPLATE", "METHOD", "MODEL", "EPOCHS", "LEARNING RATE"),
        [
            (
                values["name"],
                values["method"],
                values["model"]["name"],
                str(values["training"]["epochs"]),
                str(values["training"]["learning_rate"]),
            )
            for values in every
        ],
    )


@templates.command()
@click.argument("template")
@json_option
def show(template: str, as_json: bool) -> None:
    """Show what a template sets, as YAML that a job file can start from."""
    import yaml

    from engine.job.spec import template_values

    values = template_values(template)
    if as_json:
        emit("template", {"name": template, **values})
    else:
        line(yaml.safe_dump(values, sort_keys=False, allow_unicode=True).rstrip())


@templates.command()
@json_option
def verify(as_json: bool) -> int:
    """Check that every template makes a whole job once it has a name and data."""
    from engine.errors import BadSpec
    from engine.job.spec import JobSpec
    from engine.job.spec import templates as names

    found: dict[str, str] = {}
    for name in names():
        try:
            JobSpec.parse({"template": name, "name": name, "dataset": {"path": "data.jsonl"}}, name)
            found[name] = ""
        except BadSpec as error:
            found[name] = str(error)
    if as_json:
        emit(
            "templates",
            [{"name": name, "ok": not wrong, "error": wrong or None} for name, wrong in found.items()],
        )
    else:
        for name, wrong in found.items():
            line(f"{name}  {wrong or 'sound'}")
    return FAILED if any(found.values()) else 0
