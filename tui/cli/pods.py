"""`podium pods`: all that the RunPod account runs, what it costs, which run it belongs to; and its end."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from engine.analysis import format as words
from engine.controller.account import Belonging, belongings, busy, end, facts, unsaved
from engine.errors import BadInput
from engine.home import Home
from tui.cli.errors import FAILED, complain
from tui.cli.options import json_option
from tui.cli.output import emit, interactive, line, one_line, table
from tui.cli.workplace import opened, up_to_date

if TYPE_CHECKING:
    from engine.pods.provider import Provider, Volume

T = TypeVar("T")

HEAD: Final = ("POD", "ID", "STATUS", "GPUS", "BUSY", "IDLE", "$/H", "AGE", "SO FAR", "RUN")
RIGHT: Final = ("BUSY", "IDLE", "$/H", "AGE", "SO FAR")

pod_argument = click.argument("pod", metavar="ID")
yes_option = click.option("--yes", "-y", is_flag=True, help="Do it without asking.")


@click.group(invoke_without_command=True)
@json_option
@click.pass_context
def pods(context: click.Context, as_json: bool) -> None:
    """List all that the RunPod account runs, with what it costs an hour; a stray belongs to no run here."""
    if context.invoked_subcommand is not None:
        return
    found, volumes = _all(), _with_provider(lambda provider: provider.volumes())
    if as_json:
        emit("pods", [facts(item) for item in found], volumes=volumes)
        return
    if found:
        _show(found)
    else:
        line("The account runs nothing.")
    _show_volumes(volumes)


@pods.command()
@click.option("--yes", "-y", is_flag=True, help="Terminate them. Without it they are listed and left alone.")
@json_option
def reap(yes: bool, as_json: bool) -> int:
    """Terminate Podium's pods that no run here needs: those of runs that have ended, and strays.

    Pods that Podium did not rent are never touched, nor those with a best checkpoint that is not here yet.
    A stray may be another laptop's: look before you say --yes.
    """
    lost = [item for item in _all() if item.reapable]
    here = [item for item in lost if not item.unfetched]
    ended = _with_provider(lambda provider: _end(provider, here)) if yes else []
    if as_json:
        emit("pods", [{**facts(item), "gone": item in ended} for item in lost])
    elif not lost:
        line("There is nothing to reap: every pod of Podium's belongs to a run that is under way.")
    elif yes:
        for item in ended:
            line(one_line(f"{item.pod.name} is gone."))
        for item in lost:
            if item.unfetched and item.job:
                complain(
                    f"{item.pod.name} is kept: the best checkpoint of {item.job.name} is not here yet. "
                    f"podium wait fetches it, podium pods terminate {item.pod.id} gives it up"
                )
    else:
        _show(lost)
        line("Nothing was done. podium pods reap --yes terminates them, with all that is on them.")
    return FAILED if yes and len(ended) < len(lost) else 0


@pods.command()
@pod_argument
@yes_option
@json_option
def stop(pod: str, yes: bool, as_json: bool) -> int:
    """Stop a pod: its GPUs are let go of, and may not be had back; what is at /workspace is kept."""
    item = _alone(_one(pod))
    goes = ["its GPUs, which may not be had back", "all that is not at /workspace", *unsaved(item)]
    if not _agreed("Stop", item, goes, yes):
        return FAILED
    return _done(item, "stopped", lambda provider: provider.stop(item.pod.id), as_json)


@pods.command()
@pod_argument
@yes_option
@json_option
def resume(pod: str, yes: bool, as_json: bool) -> int:
    """Start a stopped pod again; it bills from then on, and may come up without its GPUs."""
    item = _alone(_one(pod))
    if not _agreed("Start", item, [], yes):
        return FAILED

    async def start(provider: Provider) -> None:
        from engine.pods.pins import Pins

        begun = await provider.start(item.pod.id)
        # Its sshd makes a new host key with every start.
        await asyncio.to_thread(Pins(Home.default().host_keys).forget, item.pod.id)
        if begun.gpu_count == 0:
            complain(f"{item.pod.name} came up without a GPU: podium pods terminate {item.pod.id} ends it")

    return _done(item, "starting; podium wait goes on with its run", start, as_json)


@pods.command()
@pod_argument
@yes_option
@json_option
def terminate(pod: str, yes: bool, as_json: bool) -> int:
    """Terminate a pod for good, with all that is on it, and see that it is gone."""
    item = _one(pod)
    goes = [*_together(item), "all that is on it, /workspace too", *unsaved(item)]
    if not _agreed("Terminate", item, goes, yes):
        return FAILED
    ended = _with_provider(lambda provider: _end(provider, [item]))
    if as_json:
        emit("pods", [{**facts(item), "gone": bool(ended)}])
    elif ended:
        line(one_line(f"{item.pod.name} is gone."))
    return 0 if ended else FAILED


# ---------------------------------------------------------------- what there is


def _all() -> list[Belonging]:
    found = _with_provider(lambda provider: provider.list())
    with up_to_date() as store:
        return belongings(store, Home.default(), found, datetime.now(UTC))


def _one(wanted: str) -> Belonging:
    """The pod of that id, or that beginning of one, or that name; by a cluster's id its first pod."""
    every = _all()
    found = [item for item in every if wanted in (item.pod.id, item.pod.name)]
    found = found or [item for item in every if wanted == item.pod.cluster_id][:1]
    found = found or [item for item in every if item.pod.id.startswith(wanted)]
    if len(found) != 1:
        why = "there is no pod" if not found else "there are several pods"
        raise BadInput(f"{why} {wanted!r}", "`podium pods` lists them.")
    return found[0]


def _alone(item: Belonging) -> Belonging:
    """See that a pod can be stopped and started: those of a cluster can't.

    Raises:
        BadInput: It is one of a cluster.
    """
    if item.pod.cluster_id is not None:
        raise BadInput(
            f"{item.pod.name} is one of a cluster, which can't be stopped",
            f"podium pods terminate {item.pod.cluster_id} ends all of it.",
        )
    return item


def _show(found: Sequence[Belonging]) -> None:
    table(HEAD, [_row(item) for item in found], right=RIGHT)
    hourly = sum(item.pod.price_per_hour or 0.0 for item in found)
    strays = sum(item.job is None for item in found)
    line(f"Together {words.dollars(hourly)} an hour; {strays} of {len(found)} belong to no run here.")


def _show_volumes(volumes: Sequence[Volume]) -> None:
    """Network volumes bill until they are deleted, whether a pod uses them or not."""
    if volumes:
        shown = ", ".join(f"{volume.name} ({volume.size_gb} GB, {volume.data_center})" for volume in volumes)
        line(one_line(f"Network volumes, which bill until they are deleted: {shown}."))


def _row(item: Belonging) -> tuple[str, ...]:
    pod, percent = item.pod, busy(item.pod)
    return (
        one_line(pod.name),
        one_line(pod.id),
        pod.status,
        one_line(f"{pod.gpu_count} × {pod.gpu_name}") if pod.gpu_name else words.UNKNOWN,
        words.percent(percent),
        words.duration(item.idle_seconds),
        words.dollars(pod.price_per_hour),
        words.duration(item.age_seconds),
        words.dollars(item.cost),
        f"{item.job.name} ({item.job.status})" if item.job else "stray",
    )


# ---------------------------------------------------------------- what is done


def _agreed(deed: str, item: Belonging, goes: Sequence[str], yes: bool) -> bool:
    """Show which pod it is and what goes, and ask.

    Raises:
        BadInput: There is nobody to ask.
    """
    if yes:
        return True
    if not interactive():
        raise BadInput(f"{deed.lower()} {item.pod.name}: that has to be confirmed", "Give --yes.")
    _show([item])
    for thing in goes:
        line(one_line(f"  goes: {thing}"))
    return click.confirm(f"{deed} it?", default=False, err=True)


def _together(item: Belonging) -> list[str]:
    """What goes with a pod."""
    return [] if item.pod.cluster_id is None else [f"all pods of its cluster {item.pod.cluster_id}"]


def _done(item: Belonging, what: str, deed: Callable[[Provider], Awaitable[Any]], as_json: bool) -> int:
    _with_provider(deed)
    if as_json:
        emit("pods", [facts(item)])
    else:
        line(one_line(f"{item.pod.name} is {what}."))
    return 0


async def _end(provider: Provider, items: Sequence[Belonging]) -> list[Belonging]:
    """Terminate pods; those that are gone. Of the others, why not."""
    with opened() as store:
        return await end(provider, store, Home.default(), items, lambda error: complain(str(error)))


def _with_provider(deed: Callable[[Provider], Awaitable[T]]) -> T:
    async def work() -> T:
        from engine.pods.runpod_account import connect

        provider = connect()
        try:
            return await deed(provider)
        finally:
            await provider.close()

    return asyncio.run(work())
