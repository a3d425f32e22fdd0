"""`podium pull`: a checkpoint of a run on another machine, fetched and verified."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from engine.analysis import format as words
from tui.cli.options import job_argument, json_option
from tui.cli.output import emit, interactive, line, one_line
from tui.cli.workplace import carry_out, up_to_date

if TYPE_CHECKING:
    from engine.controller import Controller
    from engine.records import Checkpoint


@click.command()
@job_argument
@click.option(
    "--checkpoint",
    "which",
    metavar="best|last|final|STEP",
    default="best",
    show_default=True,
    help="Which one; final is the model that was made of the best one.",
)
@json_option
def pull(job: str, which: str, as_json: bool) -> None:
    """Fetch a checkpoint of a run to this machine and verify every hash; goes on where it was cut off."""
    with up_to_date() as store:
        found = store.find(job)

        async def fetch(controller: Controller) -> tuple[Checkpoint, Path]:
            return await controller.pull(found.id, which, Meter(not as_json and interactive()))

        checkpoint, path = carry_out(store, fetch)
    if as_json:
        facts = {"job_id": found.id, "step": checkpoint.step, "path": str(path)}
        emit("pulled", {**facts, "size_bytes": checkpoint.size_bytes})
    else:
        what = "the final model" if which == "final" else f"checkpoint {checkpoint.step}"
        # A final model of this machine's own was never hashed: it was not moved either.
        proved = which != "final" or found.provider not in (None, "local")
        line(one_line(f"{found.name}: {what} is in {path}{', every hash right' if proved else ''}."))


class Meter:
    """Shows how far it is, in one line that is written over.

    Args:
        shown: Is there anybody to see it?
    """

    def __init__(self, shown: bool) -> None:
        self._shown, self._last = shown, ""

    def __call__(self, done: int, total: int) -> None:
        """So many bytes of so many are here."""
        text = f"{words.size(done)} of {words.size(total)} · {100 * done // max(1, total)} %"
        if self._shown and text != self._last:
            click.echo(f"\r{text:<40}", nl=done >= total, err=True)
            self._last = text
