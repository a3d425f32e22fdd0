"""`podium import`: runs from an archive, or that other tools trained."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from engine.home import Home
from engine.store.base import Store
from tui.cli.options import json_option
from tui.cli.output import emit, interactive, line, one_line
from tui.cli.pull import Meter
from tui.cli.workplace import opened

if TYPE_CHECKING:
    from engine.controller.unpacking import Taken


@click.command("import")
@click.argument("paths", metavar="PATH…", nargs=-1, required=True, type=click.Path(path_type=Path))
@json_option
def import_runs(paths: tuple[Path, ...], as_json: bool) -> None:
    """Take in runs: of an archive that podium export made, or that other tools logged.

    Known are output folders of transformers' Trainer, TensorBoard's event files, wandb's offline runs, and
    CSV or JSON Lines files of figures. Their checkpoints stay where they are.
    """
    with opened() as store:
        runs = [run for path in paths for run in _taken(store, path, Meter(not as_json and interactive()))]
    if as_json:
        emit("imported", runs)
        return
    for run in runs:
        line(one_line(f"{run.name}: {'imported' if run.added else 'is here already'}."))
    if not runs:
        line("The archive holds no runs.")


def _taken(store: Store, path: Path, meter: Meter) -> list[Taken]:
    from engine.controller.packing import is_archive

    if is_archive(path):
        from engine.controller.unpacking import unpack

        return unpack(store, Home.default(), path, meter)
    from engine.controller.adopting import adopt
    from engine.foreign.tracks import tracks

    return adopt(store, Home.default(), tracks(path))
