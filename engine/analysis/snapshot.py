"""What the screens show: one immutable value, built off the event loop and handed down by data binding."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, Literal

from engine.records import (
    Alert,
    Axis,
    Checkpoint,
    Curve,
    HostSample,
    Job,
    Place,
    Reports,
    SavedComparison,
    Trend,
)

if TYPE_CHECKING:
    # What the screens start with need not wait for these.
    from engine.analysis.comparison import Comparison, Statistic
    from engine.analysis.criteria import Standing
    from engine.analysis.health import Flag
    from engine.analysis.panels import Panel
    from engine.analysis.suggestion import Suggestion
    from engine.job.events import Event

WARN_ABOVE: Final = 0.25
"""How much worse than the best a run must be to be warned of, as a fraction."""

ARCHIVE_ABOVE: Final = 0.5
"""How much worse it must be to be offered for archiving, unless the user says otherwise."""


@dataclass(frozen=True, slots=True)
class ChartView:
    """What the Job screen's chart asks to see; part of the next snapshot's question.

    Args:
        metrics: The metrics to draw.
        axis: What x is.
        low: Left edge; None for the beginning.
        high: Right edge; None for the end.
        columns: How many points a curve needs (twice the chart's columns for braille).
    """

    metrics: tuple[str, ...] = ("loss", "eval_loss")
    axis: Axis = "step"
    low: float | None = None
    high: float | None = None
    columns: int = 240


@dataclass(frozen=True, slots=True)
class Moment:
    """A place on an axis that the user points at, in the chart or in the log."""

    axis: Axis
    x: float


@dataclass(frozen=True, slots=True)
class Pointed:
    """What was at that moment.

    Args:
        moment: The question.
        place: The logged step nearest to it, on all axes; None when there is none.
        host: The heartbeats up to then, oldest first.
    """

    moment: Moment
    place: Place | None = None
    host: tuple[HostSample, ...] = ()


Extra = Literal["predictions", "events"]
"""What is read only while somebody looks at it."""


@dataclass(frozen=True, slots=True)
class JobDetail:
    """Everything that the Job screen shows of one job.

    Args:
        job: Its row.
        checkpoints: By step.
        curves: By metric, for the window that `view` asks for.
        view: The question that `curves` answers.
        host: The last heartbeats, oldest first.
        alerts: Oldest first.
        trend: The newest verdict.
        log_path: The mirrored log on this machine; the log pane reads it by itself.
        metrics: The names of all metrics there are curves of.
        cost_since_best: Dollars spent after the best checkpoint; None when unknown.
        selection_reason: One sentence on why the best checkpoint is the best.
        link: What the stream says of the connection: `live`, `reconnecting`, `ended`.
        guard_proven_at: When a rented pod's guard had last proven that it can end the pod, by this machine's
            clock; None when it is not known to have.
        reports: How far a live run's own reports are; None where it sends none.
        pointed: What was at the moment that the question points at.
        flags: What is wrong with it, the worst first.
        at: Where the steps of its checkpoints and alerts are on the view's axis, if that is not steps.
        here: The steps of the checkpoints whose files are on this machine.
        predictions: Rows of `training_predictions` by step and sample, if asked for.
        events: The newest events, oldest first, heartbeats and training steps left out, if asked for.
        standing: How the run stands to its criteria: tiers and flags; None where it has no criteria.
        panels: The metrics that its configuration wants to be looked at together.
        shell: Where a shell on its rented machine opens: `host`, `user`, `port`, `key`; empty for any other.
        node_logs: The mirrored logs of all its machines, node 0's first; empty where there is one machine.
    """

    job: Job
    checkpoints: tuple[Checkpoint, ...] = ()
    curves: Mapping[str, Curve] = field(default_factory=dict)
    view: ChartView = field(default_factory=ChartView)
    host: tuple[HostSample, ...] = ()
    alerts: tuple[Alert, ...] = ()
    trend: Trend | None = None
    log_path: str | None = None
    metrics: tuple[str, ...] = ()
    cost_since_best: float | None = None
    selection_reason: str = ""
    link: str = "ended"
    guard_proven_at: datetime | None = None
    reports: Reports | None = None
    pointed: Pointed | None = None
    flags: tuple[Flag, ...] = ()
    at: Mapping[int, float] = field(default_factory=dict)
    here: frozenset[int] = frozenset()
    predictions: tuple[Mapping[str, Any], ...] = ()
    events: tuple[Event, ...] = ()
    standing: Standing | None = None
    panels: tuple[Panel, ...] = ()
    shell: Mapping[str, object] = field(default_factory=dict)
    node_logs: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Alarm:
    """Something that happened to a run just now, for the user's ears.

    Args:
        job: The run's name.
        alert: What happened.
        message: One sentence.
        bell: Is the terminal to ring?
        notify: Is the desktop to notify?
    """

    job: str
    alert: str
    message: str
    bell: bool = True
    notify: bool = True


@dataclass(frozen=True, slots=True)
class Totals:
    """What the header shows of all pods together; dollars and dollars an hour."""

    live: int = 0
    cost_per_hour: float = 0.0
    cost_today: float = 0.0
    strays: int = 0
    strays_per_hour: float = 0.0


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything on the screen.

    Args:
        taken_at: When it was read, UTC; ages are shown against it.
        jobs: All jobs that are neither archived nor deleted unless `show_hidden`.
        job: The job that the Job screen shows.
        compared: The comparison of the marked jobs; None with fewer than two.
        curves: Curves of the compared jobs: `curves[job_id][metric]`.
        saved: Saved comparisons.
        totals: The header's figures.
        show_hidden: Are archived and deleted jobs among `jobs`?
        trouble: One line about something that needs the user (a corrupt store, a full disk); empty when
            all is well.
        family: Are runs grouped by their model's family rather than by the exact model?
        archive_above: How much worse than the best a run must be to be offered for archiving.
        suggested: A comparison that is worth a look, when asked: finished runs that were never compared.
        filters: The saved filters by name.
        columns: The columns that were chosen for the run list; none for the usual ones.
        alarms: What happened since the snapshot before.
    """

    taken_at: datetime
    jobs: tuple[Job, ...] = ()
    job: JobDetail | None = None
    compared: Comparison | None = None
    curves: Mapping[str, Mapping[str, Curve]] = field(default_factory=dict)
    saved: tuple[SavedComparison, ...] = ()
    totals: Totals = field(default_factory=Totals)
    show_hidden: bool = False
    trouble: str = ""
    family: bool = False
    archive_above: float = ARCHIVE_ABOVE
    alarms: tuple[Alarm, ...] = ()
    suggested: Suggestion | None = None
    filters: Mapping[str, str] = field(default_factory=dict)
    columns: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Question:
    """What the screens want to see next; the app keeps one and takes snapshots that answer it.

    Args:
        job_id: The job of the Job screen; None for the newest live one.
        view: Its chart.
        compared: The marked jobs, in their order.
        compared_view: The Comparison screen's chart.
        reference: The compared job that deltas are against.
        show_hidden: Also show archived and deleted jobs?
        moment: What the user points at in the Job screen's run; None for nothing.
        extras: What of that run is looked at that is not read otherwise.
        statistic: Which value of a curve stands in the comparison.
        family: Group runs by their model's family rather than by the exact model?
        suggest: Look for a comparison that is worth a look? Only who shows it asks: it reads all runs.
    """

    job_id: str | None = None
    view: ChartView = field(default_factory=ChartView)
    compared: tuple[str, ...] = ()
    compared_view: ChartView = field(default_factory=ChartView)
    reference: str | None = None
    show_hidden: bool = False
    moment: Moment | None = None
    extras: frozenset[Extra] = frozenset()
    statistic: Statistic = "last"
    family: bool = False
    suggest: bool = False
