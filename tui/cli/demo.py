"""`podium demo`: real training on this machine, or a recorded run where it can't train."""

from __future__ import annotations

import platform
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

import click

from engine.analysis import format as words
from engine.home import Home
from engine.job.events import Status
from engine.records import Checkpoint, Job
from engine.store.base import Store
from tui.cli.errors import FAILED
from tui.cli.launch import need_room, untrained
from tui.cli.options import json_option
from tui.cli.output import emit, interactive, line, one_line, table
from tui.cli.progress import score_json
from tui.cli.workplace import carry_out, opened, up_to_date

if TYPE_CHECKING:
    from engine.controller import Controller

TAG: Final = "demo"
ROOM: Final = 100_000_000
"""Bytes that the demo's checkpoints take, and some."""
WATCHED: Final = 45.0
UNWATCHED: Final = 3.0
"""Seconds that a recorded run is played in, where somebody watches it and where nobody does."""

Begin = Callable[["Controller"], Awaitable[list[Job]]]
"""Starts the demo's runs."""


@click.command()
@click.option("--headless", is_flag=True, help="Without the app: report, and print the result.")
@json_option
def demo(headless: bool, as_json: bool) -> int:
    """Train a tiny model here and watch it.

    Two runs that differ in their learning rate, on the docstrings of this very Python. Without the train
    extra a recorded run is played back. Without a terminal, and with --json, it runs headless.
    """
    replay = bool(untrained())
    if replay:
        line(
            "This machine can't train (in Podium's folder: pip install '.[train]'): "
            "a recorded run is played back instead.",
            err=True,
        )
    need_room(Home.default().path, ROOM)
    if headless or as_json or not interactive():
        return _headless(replay, as_json)
    return _in_the_app(replay)


def _in_the_app(replay: bool) -> int:
    """Open the app on the demo; on the one that is under way, if there is one."""
    from tui.app import run

    with up_to_date() as store:
        under_way = any(job.status.live and TAG in job.tags for job in store.jobs())
    return run(begin=None if under_way else _beginning(replay, WATCHED))


def _headless(replay: bool, as_json: bool) -> int:
    """Run the demo to its end, telling how it goes, and print the result."""
    from tui.cli.watching import watch

    def say(text: str) -> None:
        line(one_line(text), err=as_json)

    with opened() as store:

        async def work(controller: Controller) -> list[Job]:
            jobs = await _beginning(replay, UNWATCHED)(controller)
            return await watch(controller, store, jobs, say)

        if not replay:
            say(f"Questions and answers come from the docstrings of Python {platform.python_version()}.")
        try:
            jobs = carry_out(store, work)
        except KeyboardInterrupt:
            line("The runs go on. podium jobs shows them, podium stop ends them.", err=True)
            raise
        best = {job.id: _best(store, job) for job in jobs}
        if as_json:
            emit("jobs", [_result(job, best[job.id]) for job in jobs], replay=replay)
        else:
            _show(jobs, best, replay)
    return 0 if all(job.status == Status.COMPLETED for job in jobs) else FAILED


def _beginning(replay: bool, seconds: float) -> Begin:
    """What starts the demo's runs, or plays the recorded ones in so many seconds each."""

    async def train(controller: Controller) -> list[Job]:
        import asyncio

        from engine.demo import demo_specs, make_dataset

        data = Home.default().path / "demo.jsonl"
        await asyncio.to_thread(make_dataset, data)
        return [await controller.launch(spec) for spec in demo_specs(data)]

    async def play(controller: Controller) -> list[Job]:
        from engine.demo import recordings
        from engine.pods.replay import Recording

        jobs = []
        for path in recordings():
            events = Recording.load(path).events
            lasted = (events[-1].ts - events[0].ts).total_seconds()
            jobs.append(await controller.replay(path, speed=max(1.0, lasted / seconds)))
        return jobs

    return play if replay else train


def _best(store: Store, job: Job) -> Checkpoint | None:
    return next((checkpoint for checkpoint in store.checkpoints(job.id) if checkpoint.is_best), None)


def _result(job: Job, best: Checkpoint | None) -> dict[str, Any]:
    """What came of a run, under the store's column names."""
    columns = (
        "id", "name", "number", "status", "base_model", "current_step", "total_steps", "elapsed_seconds",
        "best_step", "best_epoch", "best_eval_loss", "final_eval_loss", "error_message",
    )  # fmt: skip
    return {name: getattr(job, name) for name in columns} | {
        "score": score_json(best.score if best else None)
    }


def _show(jobs: Sequence[Job], best: dict[str, Checkpoint | None], replay: bool) -> None:
    head = ("RUN", "STATUS", "STEPS", "BEST STEP", "ITS EVAL", "SCORE", "LAST EVAL", "TIME")
    line()
    table(head, (_row(job, best[job.id]) for job in jobs), right=head[2:])
    line()
    line("This was a replay of a recorded run." if replay else "podium opens the app on these runs.")


def _row(job: Job, best: Checkpoint | None) -> tuple[str, ...]:
    return (
        f"{job.name} #{job.number}",
        str(job.status),
        words.count(job.current_step),
        words.count(job.best_step),
        words.loss(best.eval_loss if best else None),
        words.loss(job.best_checkpoint_score),
        words.loss(job.final_eval_loss),
        words.duration(job.elapsed_seconds),
    )
