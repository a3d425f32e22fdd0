"""The command line: every command works without a screen, and has `--json` for programs."""

from __future__ import annotations

import contextlib
import importlib.metadata
import sys
from typing import Final, TextIO

import click

from tui.cli.compare import compare_command
from tui.cli.data import validate
from tui.cli.demo import demo
from tui.cli.doctor import doctor
from tui.cli.errors import BAD_INPUT, PodiumGroup, complain
from tui.cli.hiding import archive, delete, restore, undo
from tui.cli.jobs import jobs, show
from tui.cli.launch import launch
from tui.cli.logs import logs
from tui.cli.output import colour_wanted, interactive
from tui.cli.pods import pods
from tui.cli.predictions import predictions
from tui.cli.progress import checkpoints, metrics
from tui.cli.pull import pull
from tui.cli.running import pause, resume, stop
from tui.cli.score import score
from tui.cli.templates import templates

COMMANDS: Final = (
    demo, launch, stop, pause, resume, pull, pods,
    jobs, show, logs, metrics, checkpoints, predictions, compare_command,
    archive, restore, delete, undo, validate, templates, score, doctor,
)  # fmt: skip


def version() -> str:
    """The installed version; `unknown` in a source tree that is not installed."""
    try:
        return importlib.metadata.version("podium")
    except importlib.metadata.PackageNotFoundError:
        return "unknown"


@click.group(
    cls=PodiumGroup,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
@click.version_option(version(), "--version", message="podium %(version)s")
@click.pass_context
def podium(context: click.Context) -> int | None:
    """Fine-tune on rented GPUs from the terminal. Without a command: the app."""
    context.color = colour_wanted()
    for stream in (sys.stdout, sys.stderr):
        _never_choke(stream)
    return _open_app() if context.invoked_subcommand is None else None


def _open_app() -> int:
    """Open the app on what the store has."""
    if not interactive():
        complain("the app needs a terminal. podium --help lists the commands that need none")
        return BAD_INPUT
    from tui.app import run

    return run()


def _never_choke(stream: TextIO) -> None:
    """Show a character that the terminal's encoding lacks as `?` instead of failing."""
    with contextlib.suppress(AttributeError, ValueError):
        stream.reconfigure(errors="replace")  # type: ignore[attr-defined]


for command in COMMANDS:
    podium.add_command(command)
