"""`podium jobs` and `podium show`: what runs there are, and all that is known of one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import click

from engine.analysis import format as words
from engine.analysis.spending import Spent, best_checkpoint, cost_after
from engine.errors import BadInput
from engine.home import Home
from engine.job.events import EventType
from engine.records import Alert, Job, Trend
from tui.cli.filtering import filter_of
from tui.cli.options import job_argument, json_option
from tui.cli.output import emit, fields, line, one_line, table
from tui.cli.workplace import up_to_date
from tui.widgets.run_lines import NEWEST, SORTS, Order, sorted_runs

COLOURS = {"running": "cyan", "completed": "green", "failed": "red", "paused": "yellow"}


@click.command()
@click.option("--filter", "wanted", metavar="F", default="", help="Show those alone that answer to F.")
@click.option(
    "--sort", "order", metavar="KEY", default=NEWEST, help=f"One of: {', '.join(SORTS)}; -KEY turns it round."
)
@click.option("--all", "hidden", is_flag=True, help="Show archived and deleted runs too.")
@json_option
def jobs(wanted: str, order: str, hidden: bool, as_json: bool) -> None:
    """List the runs: live ones first, then newest first, or sorted by --sort.

    A filter is words and conditions, such as: model:qwen status:completed loss<1.2
    """
    # What can't be understood is said before anything is read or written.
    chosen, arranged = filter_of(wanted), _order(order)
    with up_to_date() as store:
        found = [job for job in store.jobs(archived=hidden, deleted=hidden) if chosen.matches(job)]
    found = sorted_runs(found, arranged)
    if as_json:
        emit("jobs", found)
    elif found:
        now = datetime.now(UTC)
        head = (
            "NAME",
            "RUN",
            "ID",
            "STATUS",
            "STEP",
            "BEST EVAL",
            "AT STEP",
            "SCORE",
            "TIME",
            "COST",
            "CREATED",
        )
        table(head, (_row(job, now) for job in found), right=head[4:10])
    else:
        line("No run answers to that." if wanted else "No runs yet. podium demo trains one here.")


def _order(text: str) -> Order:
    """What `--sort` asks for.

    Raises:
        BadInput: There is no such order.
    """
    key = text.removeprefix("-")
    if key not in SORTS:
        raise BadInput(f"runs can't be sorted by {key!r}", f"Known: {', '.join(SORTS)}.")
    return Order(sort=key, backwards=text.startswith("-"), grouped=False)


def best_result(job: Job) -> str:
    """The lowest eval loss, or the highest reward, signed."""
    reward = job.best_eval_reward
    return words.loss(job.best_eval_loss) if reward is None else f"{reward:+.3g}"


def _row(job: Job, now: datetime) -> tuple[str, ...]:
    return (
        job.name,
        str(job.number),
        job.id[:8],
        state(job),
        of(job.current_step, job.total_steps),
        best_result(job),
        words.count(job.best_step),
        words.loss(job.best_checkpoint_score),
        words.duration(job.elapsed_seconds),
        words.dollars(job.cost_total),
        words.day(job.created_at, now),
    )


def state(job: Job) -> str:
    """Its status in one word, and what is unusual about it."""
    marks = [
        mark
        for mark, is_so in (("replay", job.replay), ("archived", job.archived), ("deleted", job.deleted))
        if is_so
    ]
    return " ".join([str(job.status), *(f"({mark})" for mark in marks)])


def of(done: float | None, total: float | None) -> str:
    """How much of how much: `120 / 360`; what has no total stands alone."""
    return words.short(done) if not total else f"{words.short(done)} / {words.short(total)}"


@click.command()
@job_argument
@json_option
def show(job: str, as_json: bool) -> None:
    """Show all that is known of a run, and where its time and money went."""
    from engine.controller.phases import spent
    from engine.snapshots import reports_of, sign_of
    from tui.cli.alerts import facts as delivery
    from tui.widgets.run_header import report_words

    with up_to_date() as store:
        found = store.find(job)
        trend, alerts = store.trend(found.id), store.alerts(found.id)
        deliveries = [delivery(event) for event in store.events(found.id, (EventType.DELIVERY,), limit=50)]
        spending = [] if found.replay else spent(store, found)
        after = cost_after(found, best_checkpoint(found, store.checkpoints(found.id)))
    sign = sign_of(Home.default(), found)
    proven = sign.proven_at if sign else None
    reports = reports_of(Home.default(), found, sign)
    if as_json:
        emit(
            "job",
            found,
            trend=trend,
            alerts=alerts,
            deliveries=deliveries,
            reports=reports,
            spending=spending,
            cost_after_best=after,
            guard_proven_at=proven,
        )
    else:
        _show(found, trend, alerts)
        if found.provider == "runpod" and found.status.live:
            fields(
                {"guard": f"last proven able to end the pod {words.age(proven, datetime.now(UTC))}"}.items()
            )
        _spending(spending, after)
        if said := report_words(reports):
            line(said, fg="yellow")
        _deliveries(deliveries)


def _deliveries(deliveries: Sequence[Mapping[str, Any]]) -> None:
    """Who was told of what, in a line; what was not sent is counted."""
    sent = [f"{item['alert']} to {item['channel']}" for item in deliveries if item["ok"]]
    failed = len(deliveries) - len(sent)
    more = f"; {failed} not sent, podium alerts list says why" if failed else ""
    if deliveries:
        line(one_line(f"told: {', '.join(sent[-8:]) or 'nobody'}{more}"), fg="yellow" if failed else None)


def _spending(spending: Sequence[Spent], after: float | None) -> None:
    """Where the time and the money went, the most expensive phase first."""
    if spending and any(item.dollars for item in spending):
        parts = [
            f"{item.phase} {words.duration(item.seconds)} {words.dollars(item.dollars)}" for item in spending
        ]
        beside = f" · of that after the best checkpoint {words.dollars(after)}" if after else ""
        line(one_line(f"spent: {', '.join(parts)}{beside}"))


def _show(job: Job, trend: Trend | None, alerts: list[Alert]) -> None:
    now = datetime.now(UTC)
    line(one_line(f"{job.name} · run {job.number} · {state(job)}"), bold=True, fg=COLOURS.get(job.status))
    if job.error_message:
        line(one_line(job.error_message), fg="red")
    best = f"step {words.count(job.best_step)}, score {words.loss(job.best_checkpoint_score)}"
    rows = {
        "id": job.id,
        "model": job.base_model or words.UNKNOWN,
        "method": job.method or words.UNKNOWN,
        "data": job.dataset_path or words.UNKNOWN,
        "samples": f"{words.count(job.train_samples)} train, {words.count(job.val_samples)} eval",
        "where": " ".join(filter(None, (job.provider, job.gpu_type))) or words.UNKNOWN,
        "phase": job.phase or words.UNKNOWN,
        "step": of(job.current_step, job.total_steps),
        "epoch": of(job.current_epoch, job.total_epochs),
        "time": words.duration(job.elapsed_seconds),
        "remaining": words.duration(job.remaining_seconds),
        "loss": f"{words.loss(job.loss)} train, {words.loss(job.eval_loss)} eval",
        "best": best if job.best_step is not None else words.UNKNOWN,
        "lowest eval" if job.best_eval_reward is None else "best reward": best_result(job),
        "trend": f"{trend.verdict}: {trend.evidence}" if trend else words.UNKNOWN,
        "speed": f"{words.short(job.tokens_per_second)} tokens/s",
        "cost": words.dollars(job.cost_total),
        "attempt": str(job.attempt),
        "created": words.day(job.created_at, now),
        "last sign": words.age(job.last_heartbeat_at, now),
        "folder": job.job_dir or words.UNKNOWN,
        "tags": " ".join(f"#{tag}" for tag in job.tags) or words.UNKNOWN,
    }
    fields(rows.items())
    for alert in alerts[-5:]:
        colour = {"error": "red", "warning": "yellow"}.get(alert.severity)
        line(one_line(f"{words.day(alert.ts, now)}  {alert.message}"), fg=colour)
