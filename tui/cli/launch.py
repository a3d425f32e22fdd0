"""`podium launch`: start a job from a job file or a template."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from engine.analysis import format as words
from engine.errors import BadInput, Missing
from engine.home import Home
from engine.job.events import Status
from engine.records import Job
from tui.cli.errors import FAILED
from tui.cli.options import json_option
from tui.cli.output import emit, line, one_line
from tui.cli.renting import Telling, asked, bounds, limit_options, limits_set, may_rent, offered, show
from tui.cli.workplace import carry_out, opened

if TYPE_CHECKING:
    from engine.controller import Controller, preparation
    from engine.job.spec import JobSpec
    from engine.pods.quote import Quote

TRAINERS: Final = ("torch", "transformers", "trl", "peft", "accelerate", "datasets")
"""What training on this machine imports."""

ROOM: Final = 50_000_000
"""Bytes that a job needs besides its data, checkpoints not counted."""


@click.command()
@click.argument("spec", metavar="SPEC|TEMPLATE")
@click.option(
    "--set", "changes", metavar="KEY=VALUE", multiple=True, help="Set a key, such as training.epochs=2."
)
@click.option(
    "--on",
    "place",
    metavar="MACHINE",
    help="Where: local, runpod, or ssh://user@host:port, or several with commas. Else as the file says.",
)
@click.option("--dry-run", is_flag=True, help="Check spec and data, and show what would be launched.")
@click.option(
    "--gpu", metavar="NAME", help="Rent that GPU, such as H100 SXM; or estimate the time of a dry run for it."
)
@click.option(
    "--nodes", type=click.IntRange(1, 64), metavar="N", help="Rent N such machines, which train together."
)
@click.option("--gpu-count", type=click.IntRange(1, 16), metavar="N", help="Rent a machine with N of them.")
@limit_options
@click.option("--yes", "-y", is_flag=True, help="Rent without asking; for scripts.")
@click.option("--wait", is_flag=True, help="Report until it ends; exit 1 unless it completes.")
@json_option
def launch(
    spec: str,
    changes: tuple[str, ...],
    place: str | None,
    dry_run: bool,
    gpu: str | None,
    gpu_count: int | None,
    nodes: int | None,
    yes: bool,
    wait: bool,
    as_json: bool,
    **limits: float | None,
) -> int:
    """Start a job from a job file or a template.

    It goes on without this command and without the app.
    """
    from engine.controller import preparation
    from tui.cli.settings import placed, spec_of

    several = () if nodes is None else (f"distributed.nodes={nodes}",)
    chosen = spec_of(spec, (*changes, *placed(place), *several, *limits_set(limits)))
    chosen = _with_gpus(chosen, gpu, gpu_count)
    # Checked before anything is opened, so that of bad input nothing is written.
    data = preparation.check(chosen)
    if dry_run:
        return _dry_run(chosen, data, gpu, as_json)
    if chosen.pod.provider == "local" and chosen.script is None:
        need_trainers()
    size = data.size if chosen.script is not None else Path(chosen.dataset.path).stat().st_size
    need_room(Home.default().path, size)
    if chosen.pod.provider == "runpod":
        may_rent(chosen, yes)
        job = _rented(chosen, data, limits, yes, wait, as_json)
        if job is None:
            line("Nothing was rented.", err=as_json)
            return FAILED
    else:
        job = _launched(chosen, wait, as_json)
    if as_json:
        emit("job", job)
    elif not wait and job.provider == "runpod":
        line(
            one_line(
                f"{job.name} is launched, and its pod bills. podium wait fetches what it makes and ends "
                f"the pod; so does the app. {_guarded(chosen)}"
            )
        )
    elif not wait:
        line(
            one_line(f"{job.name} is launched. podium logs -f {job.id[:8]} follows it, podium opens the app.")
        )
    return FAILED if wait and job.status != Status.COMPLETED else 0


def _guarded(spec: JobSpec) -> str:
    """Who ends what was rented when nobody is there."""
    if spec.distributed.nodes > 1:
        return "A cluster may not be able to end itself: let one of them be at work until it is gone."
    return "Its own guard ends it in any case."


def _with_gpus(spec: JobSpec, gpu: str | None, count: int | None) -> JobSpec:
    """The spec with the GPUs that were asked for, where they are rented."""
    if spec.pod.rent is None:
        if count is not None:
            raise BadInput("--gpu-count is for machines that are rented", "Add --on runpod.")
        return spec
    changes = {"gpu": (gpu,) if gpu else spec.pod.rent.gpu, "gpu_count": count or spec.pod.rent.gpu_count}
    rent = spec.pod.rent.model_copy(update=changes)
    return spec.model_copy(update={"pod": spec.pod.model_copy(update={"rent": rent})})


def _dry_run(spec: JobSpec, data: preparation.Data, gpu: str | None, as_json: bool) -> int:
    import yaml

    from engine.controller.quoting import estimated
    from engine.job import estimate

    if data.train is None:
        return _dry_script(spec, data, as_json)
    quote = _quote(spec) if spec.pod.provider == "runpod" else None
    rows, found = len(data.train.rows), estimated(spec, data, quote.offers[0].gpu_name if quote else gpu)
    if as_json:
        price = {"price_per_hour": quote.price_per_hour, "worst_cost": quote.worst_cost} if quote else {}
        told = {"rows": rows, "warnings": data.warnings, "estimate": found.to_json()}
        emit("spec", spec.to_json(), **told, **price)
    else:
        line(yaml.safe_dump(spec.to_json(), sort_keys=False, allow_unicode=True).rstrip())
        for told_line in estimate.told(found):
            line(f"# {told_line}")
        for warning in data.warnings:
            line(one_line(f"# Data: {warning}"), fg="yellow")
        for name, value in (*offered(spec, quote, found), *bounds(quote)) if quote else ():
            line(one_line(f"# {name}: {value}"))
        line(f"# {rows} rows, all fit for {spec.method}. Nothing was launched.")
    return 0


def _quote(spec: JobSpec) -> Quote:
    """What would be rented now; nothing is, and nothing is written."""
    import asyncio

    from engine.controller import Pods
    from engine.controller.quoting import quoted

    async def ask() -> Quote:
        pods = Pods(Home.default())
        try:
            return await quoted(pods, spec)
        finally:
            await pods.close()

    return asyncio.run(ask())


def _dry_script(spec: JobSpec, data: preparation.Data, as_json: bool) -> int:
    import yaml

    files = [{"place": item.place, "bytes": item.bytes, "sha256": item.sha256} for item in data.luggage]
    if as_json:
        emit("spec", spec.to_json(), files=files)
    else:
        line(yaml.safe_dump(spec.to_json(), sort_keys=False, allow_unicode=True).rstrip())
        size = words.size(sum(item.bytes for item in data.luggage))
        line(f"# {len(files)} files, {size}, would be brought along. Nothing was launched.")
    return 0


def _rented(
    spec: JobSpec,
    data: preparation.Data,
    limits: Mapping[str, float | None],
    yes: bool,
    wait: bool,
    as_json: bool,
) -> Job | None:
    """The job on a rented machine; None when its price was not confirmed."""
    from engine.controller.quoting import estimated
    from tui.cli.watching import watch

    def say(text: str) -> None:
        line(one_line(text), err=as_json)

    with opened() as store:

        async def start(controller: Controller) -> Job | None:
            wanted, quote = spec, await controller.quote(spec)
            found = estimated(spec, data, quote.offers[0].gpu_name)
            show(offered(spec, quote, found), err=as_json)
            if not yes:
                wanted = asked(spec, limits, found, quote)
                quote = replace(quote, limits=wanted.limits)
            show(bounds(quote), err=as_json)
            if not yes and not click.confirm("Rent it?", default=False, err=True):
                return None
            with Telling(store, say) as telling:
                job = await controller.launch(wanted, quote=quote, trying=telling.trying)
            if wait:
                (job,) = await watch(controller, store, [job], say)
            return job

        return carry_out(store, start)


def _launched(spec: JobSpec, wait: bool, as_json: bool) -> Job:
    from tui.cli.watching import watch

    with opened() as store:

        async def start(controller: Controller) -> Job:
            job = await controller.launch(spec)
            if wait:
                (job,) = await watch(controller, store, [job], lambda text: line(one_line(text), err=as_json))
            return job

        return carry_out(store, start)


def untrained() -> list[str]:
    """What is not installed of that which training on this machine needs."""
    return [name for name in TRAINERS if find_spec(name) is None]


def need_trainers() -> None:
    """See that this machine can train.

    Raises:
        Missing: It can't, and how to change that.
    """
    if missing := untrained():
        raise Missing(
            f"training here needs {', '.join(missing)}, not installed",
            "In Podium's folder: pip install '.[train]'",
        )


def need_room(folder: Path, size: int) -> None:
    """See that there is room for a job.

    Args:
        folder: Where; it need not exist yet.
        size: Bytes of its data.

    Raises:
        BadInput: There is none.
    """
    there = next(path for path in (folder, *folder.parents) if path.exists())
    free, needed = shutil.disk_usage(there).free, ROOM + size
    if free < needed:
        raise BadInput(
            f"{folder}: {words.size(free)} free, {words.size(needed)} needed",
            "Make room, or set PODIUM_HOME to a folder on another disk.",
        )
