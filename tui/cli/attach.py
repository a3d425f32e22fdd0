"""`podium attach`: watch what already runs, touching nothing there."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote, urlsplit

import click

from engine.analysis import format as words
from engine.errors import BadInput
from engine.job.events import Status
from engine.records import Job
from engine.store.base import Store
from tui.cli.errors import FAILED
from tui.cli.options import json_option
from tui.cli.output import emit, interactive, line, one_line
from tui.cli.workplace import carry_out, opened

if TYPE_CHECKING:
    from engine.controller import Controller
    from engine.controller.preparation import Attachment

PERIOD: Final = 0.25
"""Seconds between two looks at the store."""
_SOON: Final = 5.0
"""Seconds after which something should have come."""
_SHOWN: Final = ("train_loss", "eval_loss", "learning_rate", "grad_norm")


@click.command()
@click.argument("target", metavar="[TARGET]", default="")
@click.option("--log", metavar="PATH", help="Its log.")
@click.option("--metrics", metavar="GLOB", multiple=True, help="Its CSV and JSON Lines files, ** too.")
@click.option(
    "--pattern", "patterns", metavar="REGEX", multiple=True, help="Recognise log lines of your own."
)
@click.option("--name", metavar="NAME", help="What to call the run here.")
@click.option("--key", metavar="FILE", help="A private key file to sign in with.")
@click.option("--headless", is_flag=True, help="Without the app: a line a step.")
@click.option(
    "--idle", type=click.FloatRange(min=0, min_open=True), metavar="SECONDS",
    help="Headless: leave when nothing has grown for so long.",
)  # fmt: skip
@json_option
def attach(
    target: str,
    log: str | None,
    metrics: tuple[str, ...],
    patterns: tuple[str, ...],
    name: str | None,
    key: str | None,
    headless: bool,
    idle: float | None,
    as_json: bool,
) -> int:
    """Watch what already runs, here or over SSH; nothing is written there, and nothing left.

    TARGET is ssh://user@host:port, with a folder behind it if paths are to start from there, or a folder on
    this machine. The run stays in the store when you leave, and the app watches it again when it is opened;
    one that was paused, or left with Ctrl-C of --headless, is resumed first.
    """
    wanted = _wanted(target, log, metrics, patterns, name, key)
    if headless or as_json or not interactive():
        return _headless(wanted, idle, as_json)
    from tui.app import run

    async def begin(controller: Controller) -> Job:
        return await controller.attach(wanted)

    return run(begin=begin)


def _wanted(
    target: str,
    log: str | None,
    metrics: tuple[str, ...],
    patterns: tuple[str, ...],
    name: str | None,
    key: str | None,
) -> Attachment:
    """What is to be watched.

    Raises:
        BadInput: It makes no sense.
    """
    from engine.controller.preparation import Attachment
    from engine.job.scripting import check_pattern

    if not log and not metrics:
        raise BadInput("nothing to watch", "Name --log PATH, --metrics GLOB, or both.")
    for pattern in patterns:
        try:
            check_pattern(pattern)
        except ValueError as error:
            raise BadInput(f"--pattern: {error}") from None
    for text in (log or "-", *metrics):
        if not text.isprintable():
            raise BadInput(f"{text!r} is no path")
    address, root = _place(target, key)
    shown = name or (str(address.host) if address else Path(root).name) or "attached"
    if not shown.isprintable() or len(shown) > 100:
        raise BadInput("--name must be one line of at most 100 characters")
    return Attachment(shown, address, root, log, metrics, patterns)


def _place(target: str, key: str | None) -> tuple[Any, str]:
    """The machine (None for this one) and the folder that paths start from."""
    from engine.pods.ssh_address import SSHAddress

    scheme = target.partition("://")[0] if "://" in target else ""
    if scheme in ("", "file"):
        folder = Path(unquote(urlsplit(target).path) if scheme else target or ".").expanduser().absolute()
        if not folder.is_dir():
            advice = "For another machine write ssh://user@host:port."
            raise BadInput(f"{folder}: no such folder", advice)
        return None, str(folder)
    base, _, path = target.removeprefix("ssh://").partition("/")
    address = SSHAddress.parse(f"{scheme}://{base}")
    if key is not None and not Path(key).expanduser().is_file():
        raise BadInput(f"{key}: no such key file")
    found = SSHAddress(
        address.host, address.user, address.port, key and str(Path(key).expanduser().absolute())
    )
    path = unquote(path).rstrip("/")
    # ~ is where one signs in; any other path is from the top.
    root = path.removeprefix("~").lstrip("/") or "." if path.startswith("~") or not path else f"/{path}"
    return found, root


def _headless(wanted: Attachment, idle: float | None, as_json: bool) -> int:
    with opened() as store:
        watching = _Watching(store, idle, lambda text: line(one_line(text), err=as_json))

        async def work(controller: Controller) -> Job:
            return await watching.run(controller, controller.attach(wanted))

        job = carry_out(store, work)
        if as_json:
            emit("job", job, metrics=store.metric_rows(job.id))
    return FAILED if job.status is Status.FAILED else 0


class _Watching:
    """Tells what is new of a run that is watched, until it is over, idle, or somebody wants to leave.

    Args:
        store: Where it is read.
        idle: Seconds without growth after which it is left; None waits for its end.
        say: What to do with a line.
    """

    def __init__(self, store: Store, idle: float | None, say: Callable[[str], None]) -> None:
        self._store, self._idle, self._say = store, idle, say
        self._told: dict[tuple[str, int], str] = {}

    async def run(self, controller: Controller, begin: Awaitable[Job]) -> Job:
        leave, loop = asyncio.Event(), asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, leave.set)
        job = await begin
        self._say(f"{job.name} · watching, as {job.id[:8]}; Ctrl-C leaves it alone")
        quiet, seen, trouble, waiting = time.monotonic(), -1, "", False
        while (job := await asyncio.to_thread(self._store.job, job.id)).status.live:
            await asyncio.to_thread(self._tell, job)
            if controller.trouble not in ("", trouble, controller.met):
                trouble = controller.trouble
                self._say(trouble)
            size = await asyncio.to_thread(_size, Path(str(job.job_dir)))
            if size != seen:
                quiet, seen = time.monotonic(), size
            elif size == 0 and not waiting and time.monotonic() - quiet > _SOON:
                waiting = True
                self._say("nothing has come yet: what --log and --metrics name is waited for")
            if leave.is_set() or (self._idle is not None and time.monotonic() - quiet > self._idle):
                await controller.pause(job.id)
                (job,) = await controller.settle([job.id])
                break
            try:
                await asyncio.wait_for(leave.wait(), PERIOD)
            except TimeoutError:
                continue
        await asyncio.to_thread(self._tell, job)
        self._say(f"{job.name} · {'no longer watched' if job.status is Status.PAUSED else job.status}")
        return job

    def _tell(self, job: Job) -> None:
        """A line for each row of the store that is new, or has changed."""
        rows = self._store.metric_rows(job.id, limit=200)
        for row in sorted(rows, key=lambda row: (row.get("step") or 0, row.get("kind") == "eval")):
            place = (str(row.get("kind")), int(row.get("step") or 0))
            figures = [
                f"{name} {words.short(value)}"
                for name, value in row.items()
                if name in _SHOWN and isinstance(value, float)
            ]
            text = "  ".join(figures)
            if text and self._told.get(place) != text:
                self._told[place] = text
                self._say(f"step {place[1]} · {place[0]} · {text}")


def _size(folder: Path) -> int:
    """Bytes that are mirrored here."""
    paths = (folder / "train.log", *(folder / "files").rglob("*"))
    return sum(path.stat().st_size for path in paths if path.is_file())
