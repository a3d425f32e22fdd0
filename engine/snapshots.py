"""What the screens ask for, read from the store as one immutable value. Blocks: take it in a thread."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from operator import is_
from typing import TYPE_CHECKING, Final
from weakref import WeakKeyDictionary

from engine.analysis.health import red_flags
from engine.analysis.panels import panels_of
from engine.analysis.snapshot import (
    ChartView,
    JobDetail,
    Moment,
    Pointed,
    Question,
    Snapshot,
    Totals,
)
from engine.analysis.spending import best_checkpoint, cost_after
from engine.comparing import checkpoints_of, comparison_of, threshold
from engine.errors import PodError
from engine.home import Home
from engine.job.events import EventType, Status
from engine.pods.sign import Sign, last_sign
from engine.records import Alert, Axis, Checkpoint, Curve, Job, Reports
from engine.store.base import Store
from engine.store.standing import selection_of

if TYPE_CHECKING:
    from engine.analysis.comparison import Comparison
    from engine.analysis.criteria import Standing
    from engine.analysis.suggestion import Suggestion
    from engine.job.folder import JobFolder

_WORKING = (Status.PENDING, Status.RUNNING)

_KEPT: Final = 16

_CLOCK_OFF: Final = timedelta(seconds=60)
"""A pod's clock that is off by less is right enough."""

_MANY: Final = (EventType.HEARTBEAT, EventType.TRAIN, EventType.METRIC, EventType.PREDICTION)
_TOLD: Final = tuple(type for type in EventType if type not in _MANY)
"""The events that somebody reads one by one."""
_EVENTS: Final = 300
"""How many of them are shown."""


def take(
    store: Store, home: Home, question: Question, links: Mapping[str, str], *, trouble: str = ""
) -> Snapshot:
    """Read everything that the screens show.

    Args:
        store: Where it is.
        home: Where the logs are.
        question: What they want to see.
        links: What each followed job's stream says of its connection, by job id.
        trouble: One line about something that needs the user.

    Raises:
        StoreError: The store can't be read.
    """
    now = datetime.now(UTC)
    everything = store.jobs(archived=True, deleted=True)
    hidden = question.show_hidden
    jobs = [job for job in everything if hidden or (job.archived_at is None and job.deleted_at is None)]
    known = {job.id: job for job in everything}
    shown = known.get(question.job_id or "") or _first(jobs)
    compared = [known[job_id] for job_id in dict.fromkeys(question.compared) if job_id in known]
    return Snapshot(
        taken_at=now,
        jobs=tuple(jobs),
        job=_detail(store, home, shown, question, links, now) if shown else None,
        compared=_comparison(store, compared, everything, question) if len(compared) > 1 else None,
        curves={job.id: _curves(store, job, question.compared_view) for job in compared},
        saved=tuple(store.comparisons()),
        totals=totals(everything, now),
        show_hidden=question.show_hidden,
        trouble=trouble,
        family=question.family,
        archive_above=threshold(store),
        suggested=_suggested(store, everything) if question.suggest else None,
        filters=_texts(store.setting("filters")),
        columns=tuple(_strings(store.setting("columns"))),
    )


COMPARED: Final = "compared_runs"
"""The setting that keeps the ids of the runs that were on the Comparison screen beside another."""

_Suggested = tuple[Sequence[Job], object, Sequence[object], "Suggestion | None"]
_suggested_of: WeakKeyDictionary[Store, _Suggested] = WeakKeyDictionary()
"""What was suggested last, and of what; the store hands out the same `Job`s until they change."""


def _suggested(store: Store, jobs: Sequence[Job]) -> Suggestion | None:
    """The newest comparison that is worth a look."""
    from engine.analysis.suggestion import suggestions

    compared, saved = store.setting(COMPARED), store.comparisons()
    # A run that still goes on changes four times a second and is not suggested.
    jobs = [job for job in jobs if job.status is Status.COMPLETED]
    last = _suggested_of.get(store)
    same = last is not None and len(last[0]) == len(jobs) and all(map(is_, last[0], jobs))
    if last is None or not same or last[1:3] != (compared, saved):
        found = next(iter(suggestions(jobs, _strings(compared), saved)), None)
        last = _suggested_of[store] = (jobs, compared, saved, found)
    return last[3]


def _strings(kept: object) -> list[str]:
    """The strings of a list; none of anything else."""
    return [item for item in kept if isinstance(item, str)] if isinstance(kept, list) else []


def _texts(kept: object) -> dict[str, str]:
    """The texts of an object by name; none of anything else."""
    pairs = kept.items() if isinstance(kept, dict) else ()
    return {name: text for name, text in pairs if isinstance(name, str) and isinstance(text, str)}


def totals(jobs: Iterable[Job], now: datetime) -> Totals:
    """The header's figures: what is at work, what it costs an hour, and what the day has cost so far.

    Args:
        jobs: All jobs, hidden ones too: what they cost was spent all the same.
        now: The moment; the day begins at midnight of this machine's zone.
    """
    jobs = list(jobs)
    working = [job for job in jobs if job.status in _WORKING]
    midnight = now.astimezone().replace(hour=0, minute=0, second=0, microsecond=0)
    return Totals(
        live=len(working),
        cost_per_hour=sum(job.cost_per_hour or 0.0 for job in working),
        cost_today=sum(_cost_since(job, midnight, now) for job in jobs),
    )


def _cost_since(job: Job, moment: datetime, now: datetime) -> float:
    """Dollars that a job has cost since a moment: its cost, in proportion to the time that lies after it."""
    end = job.completed_at or job.failed_at or (now if job.status.live else job.updated_at)
    if not job.cost_total or job.started_at is None or end is None or end <= moment:
        return 0.0
    whole = (end - job.started_at) / timedelta(seconds=1)
    after = (end - max(moment, job.started_at)) / timedelta(seconds=1)
    return job.cost_total * min(1.0, after / whole) if whole > 0 else job.cost_total


def _first(jobs: list[Job]) -> Job | None:
    """The job to show when none was chosen: the newest at work, else the newest live, else the newest."""
    working = [job for job in jobs if job.status in _WORKING]
    live = [job for job in jobs if job.status.live]
    return max(working or live or jobs, key=lambda job: job.created_at, default=None)


def _detail(
    store: Store, home: Home, job: Job, question: Question, links: Mapping[str, str], now: datetime
) -> JobDetail:
    """Everything about one job."""
    checkpoints = checkpoints_of(store, job)
    trend, alerts = store.trend(job.id), tuple(store.alerts(job.id))
    folder = home.found(job.id, deleted=job.deleted)
    wanted, sign = question.extras, sign_of(home, job)
    losses = store.example_losses(job.id)
    heard = _heard(job, sign)
    return JobDetail(
        job=heard,
        checkpoints=tuple(checkpoints),
        curves=_curves(store, job, question.view),
        view=question.view,
        host=tuple(store.host_samples(job.id)),
        alerts=alerts,
        trend=trend,
        log_path=str(folder.log),
        metrics=tuple(store.metrics(job.id)),
        cost_since_best=cost_after(job, best_checkpoint(job, checkpoints)),
        selection_reason=selection_of(checkpoints, losses).reason if checkpoints else "",
        link=links.get(job.id, "ended"),
        guard_proven_at=sign.proven_at if sign else None,
        reports=reports_of(home, job, sign),
        pointed=_pointed(store, job, question.moment),
        flags=red_flags(heard, now, trend=trend, alerts=alerts),
        at=_places(store, job, checkpoints, alerts, question.view.axis),
        here=frozenset(row.step for row in checkpoints if row.path and (folder.path / row.path).is_dir()),
        predictions=tuple(store.predictions(job.id)) if "predictions" in wanted else (),
        events=tuple(store.events(job.id, _TOLD, limit=_EVENTS)) if "events" in wanted else (),
        standing=standing_of(store, job),
        panels=panels_of(job.config, store.metrics(job.id)),
        shell=shell_of(home, job),
        node_logs=node_logs_of(folder, job),
    )


def node_logs_of(folder: JobFolder, job: Job) -> tuple[str, ...]:
    """The mirrored logs of all of a job's machines by node, there yet or not; empty where it has one."""
    ranks = job.config.get("distributed")
    number = ranks.get("nodes") if isinstance(ranks, Mapping) else None
    if not isinstance(number, int) or number < 2:
        return ()
    return (str(folder.log), *(str(folder.of_node(node).log) for node in range(1, min(number, 64))))


def shell_of(home: Home, job: Job) -> dict[str, object]:
    """Where a shell on a run's rented machine opens, as it was last reached; empty where there is none."""
    if job.provider != "runpod" or job.replay:
        return {}
    from engine.pods.placements import Placements

    try:
        kept = Placements(home).of(job.id)
    except PodError:
        return {}
    if kept is None or kept.address is None or kept.gone_at is not None:
        return {}
    address = kept.address
    key = str(Placements(home).key(job.id))
    return {"host": address.host, "user": address.user, "port": address.port, "key": key}


def sign_of(home: Home, job: Job) -> Sign | None:
    """The last sign of life of a run on another machine, by this one's clock; None for any other."""
    elsewhere = job.status.live and job.provider not in (None, "local") and not job.replay
    return last_sign(home.found(job.id, deleted=job.deleted).events) if elsewhere else None


def reports_of(home: Home, job: Job, sign: Sign | None = None) -> Reports | None:
    """How far a live run's reports are; None where it sends none, or is over."""
    if sign is None and job.status.live and not job.replay:
        sign = last_sign(home.found(job.id, deleted=job.deleted).events)
    return sign.reports if sign else None


def _heard(job: Job, sign: Sign | None) -> Job:
    """The job with its last sign of life on this machine's clock, where the pod's is off."""
    if sign is None or job.last_heartbeat_at is None:
        return job
    off = abs(sign.heard_at - job.last_heartbeat_at)
    return replace(job, last_heartbeat_at=sign.heard_at) if off > _CLOCK_OFF else job


_standing_of: WeakKeyDictionary[Store, dict[str, tuple[Job, Standing | None]]] = WeakKeyDictionary()
"""How jobs stood when they were last looked at; the store hands out the same `Job` until it changes."""


def standing_of(store: Store, job: Job) -> Standing | None:
    """How a job stands to its criteria; None where it has none."""
    if "criteria" not in job.config:
        return None
    known = _standing_of.setdefault(store, {})
    if job.id not in known or known[job.id][0] is not job:
        from engine.analysis.criteria import criteria_of, standing

        wanted = criteria_of(job.config)
        names = set(store.metrics(job.id)) if wanted else set()

        def read(metric: str) -> Curve | None:
            return whole_curve(store, job.id, metric) if metric in names else None

        found = standing(wanted, job, read, store.summaries(job.id)) if wanted else None
        known.pop(job.id, None)
        known[job.id] = (job, found)
        for job_id in list(known)[:-_KEPT]:
            known.pop(job_id, None)
    return known[job.id][1]


def whole_curve(store: Store, job_id: str, metric: str, columns: int = 1000) -> Curve:
    """A metric along its epochs, or its steps where it has none, with its very first point as its own."""
    axis: Axis = "epoch"
    curve = store.curve(job_id, metric, axis=axis, columns=columns)
    if not curve.points:
        axis = "step"
        curve = store.curve(job_id, metric, axis=axis, columns=columns)
    first = curve.points[0] if curve.points else None
    while first is not None and first.count > 1:
        near = store.curve(job_id, metric, axis=axis, high=first.x, columns=columns).points
        if not near or near[0].count >= first.count:
            break
        first = near[0]
    if first is None or first == curve.points[0]:
        return curve
    return replace(curve, points=(first, *curve.points))


_Places = dict[tuple[object, ...], dict[int, float]]
_places_of: WeakKeyDictionary[Store, _Places] = WeakKeyDictionary()
"""Where steps are on an axis, by job, attempt, price and axis: what was logged once stays where it is."""


def _places(
    store: Store, job: Job, checkpoints: Sequence[Checkpoint], alerts: Sequence[Alert], axis: Axis
) -> dict[int, float]:
    """Where the steps of checkpoints and alerts are on an axis."""
    if axis == "step":
        return {}
    steps = {row.step for row in checkpoints} | {alert.step for alert in alerts if alert.step is not None}
    key = (job.id, job.attempt, job.cost_per_hour, axis)
    every = _places_of.setdefault(store, {})
    if key not in every:
        for old in list(every)[: -_KEPT + 1]:
            del every[old]
    known = every.setdefault(key, {})
    for step in steps - known.keys():
        place = store.place(job.id, "step", step)
        x = place.on(axis) if place and place.step is not None and place.step >= step else None
        if x is not None:
            known[step] = x
    return {step: x for step, x in known.items() if step in steps}


def _pointed(store: Store, job: Job, moment: Moment | None) -> Pointed | None:
    """What was at the moment that the user points at."""
    if moment is None:
        return None
    place = store.place(job.id, moment.axis, moment.x)
    host = store.host_samples(job.id, until=place.ts) if place and place.ts else ()
    return Pointed(moment, place, tuple(host))


def _curves(store: Store, job: Job, view: ChartView) -> dict[str, Curve]:
    """A job's curves in the window of a chart, by metric."""
    return {
        metric: store.curve(
            job.id, metric, axis=view.axis, low=view.low, high=view.high, columns=view.columns
        )
        for metric in view.metrics
    }


def _comparison(store: Store, jobs: list[Job], every: list[Job], question: Question) -> Comparison:
    """The chosen jobs side by side."""
    return comparison_of(
        store,
        jobs,
        every,
        reference=question.reference,
        statistic=question.statistic,
        family=question.family,
    )
