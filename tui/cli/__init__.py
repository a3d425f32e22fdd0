"""The command line: every command works without a screen, and has `--json` for programs."""

from __future__ import annotations

import contextlib
import sys
from typing import Final, TextIO

import click

from tui.cli.errors import BAD_INPUT, PodiumGroup, complain
from tui.cli.output import colour_wanted, interactive

COMMANDS: Final = {
    "demo": "demo:demo",
    "launch": "launch:launch",
    "attach": "attach:attach",
    "stop": "running:stop",
    "pause": "running:pause",
    "resume": "running:resume",
    "limits": "limits:limits",
    "wait": "waiting:wait",
    "pull": "pull:pull",
    "deploy": "deploy:deploy",
    "endpoints": "deploy:endpoints",
    "pods": "pods:pods",
    "jobs": "jobs:jobs",
    "show": "jobs:show",
    "logs": "logs:logs",
    "metrics": "progress:metrics",
    "checkpoints": "progress:checkpoints",
    "predictions": "predictions:predictions",
    "compare": "compare:compare_command",
    "comparisons": "compare:comparisons_command",
    "archive": "hiding:archive",
    "restore": "hiding:restore",
    "delete": "hiding:delete",
    "undo": "hiding:undo",
    "spend": "spend:spend",
    "purge": "tidying:purge",
    "prune": "tidying:prune",
    "tag": "naming:tag",
    "note": "naming:note",
    "rename": "naming:rename",
    "export": "export:export",
    "import": "moving:import_runs",
    "validate": "data:validate",
    "templates": "templates:templates",
    "score": "score:score",
    "store": "hosting:store",
    "alerts": "alerts:alerts",
    "doctor": "doctor:doctor",
}
"""Each command's module and name: a command is imported when it is asked for, and no other with it."""


def version() -> str:
    """The installed version; `unknown` in a source tree that is not installed."""
    import importlib.metadata  # it loads an e-mail parser

    try:
        return importlib.metadata.version("podium")
    except importlib.metadata.PackageNotFoundError:
        return "unknown"


@click.group(
    cls=PodiumGroup,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=lambda context, _, wanted: _print_version(context, wanted),
    help="Show the version and exit.",
)
@click.pass_context
def podium(context: click.Context) -> int | None:
    """Fine-tune on rented GPUs from the terminal. Without a command: the app."""
    context.color = colour_wanted()
    for stream in (sys.stdout, sys.stderr):
        _never_choke(stream)
    return _open_app() if context.invoked_subcommand is None else None


def _print_version(context: click.Context, wanted: bool) -> None:
    if wanted:
        click.echo(f"podium {version()}")
        context.exit()


def _open_app() -> int:
    """Open the app on what the store has."""
    if not interactive():
        complain("the app needs a terminal. podium --help lists the commands that need none")
        return BAD_INPUT
    from tui import quiet_start

    quiet_start.begin()
    from tui.app import run

    return run()


def _never_choke(stream: TextIO) -> None:
    """Show a character that the terminal's encoding lacks as `?` instead of failing."""
    with contextlib.suppress(AttributeError, ValueError):
        stream.reconfigure(errors="replace")  # type: ignore[attr-defined]


podium.lazy = COMMANDS
