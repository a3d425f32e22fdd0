"""Where the money of many runs went: by model, by week, by phase, and how much of it for nothing. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

from engine.analysis.history import model_of
from engine.analysis.spending import FETCH
from engine.job.events import Phase
from engine.records import Job

Group = Literal["model", "week", "phase"]
"""What the ledger's lines are about."""

AFTER_BEST: Final = "after the best"
"""Training that went on after the checkpoint that was kept."""

CRASHED: Final = "crashed"
"""Work that a crash made worthless."""

PROVISIONING: Final = "provisioning"
"""What passed before the first step: renting, uploading, installing, loading."""

_KINDS: Final[Mapping[str, str]] = {
    Phase.PROVISION: PROVISIONING,
    Phase.UPLOAD: PROVISIONING,
    Phase.INSTALL: PROVISIONING,
    Phase.LOAD: PROVISIONING,
    Phase.IDLE: "idle",
    CRASHED: CRASHED,
    FETCH: "fetching",
}
_TRAINING: Final = (Phase.TRAIN, Phase.EVAL, Phase.SAVE, Phase.PREDICT)
WASTE: Final = (PROVISIONING, "idle", AFTER_BEST, CRASHED)
"""What was paid for and left nothing that was kept."""


@dataclass(frozen=True, slots=True)
class Paid:
    """Time, and what it cost.

    Args:
        seconds: How long.
        dollars: What is known of its cost; 0 where no price is.
        unpriced: How many of the seconds have no known price.
    """

    seconds: float = 0.0
    dollars: float = 0.0
    unpriced: float = 0.0

    def __add__(self, other: Paid) -> Paid:
        return Paid(
            self.seconds + other.seconds, self.dollars + other.dollars, self.unpriced + other.unpriced
        )

    @property
    def known(self) -> float | None:
        """The dollars; None where nothing of it has a price."""
        return None if self.seconds and self.unpriced >= self.seconds else self.dollars


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the ledger.

    Args:
        name: A model, a week (`2026-W47`, the ISO week in which the run was made) or a phase.
        runs: How many runs it is about.
        paid: All of it.
        parts: What it went on, by phase and those of `WASTE`; they add up to `paid`.
    """

    name: str
    runs: int
    paid: Paid
    parts: Mapping[str, Paid] = field(default_factory=dict)

    @property
    def wasted(self) -> Paid:
        """What left nothing that was kept."""
        return sum((self.parts[name] for name in WASTE if name in self.parts), Paid())


def parts_of(job: Job) -> dict[str, Paid]:
    """What a run's time went on, by kind; all on training where no phase was told; empty where it took none.

    A machine of one's own has no price. The laptop's share of provisioning counts, since the pod was billed.
    """
    seconds: dict[str, float] = {}
    for phase, lasted in [*job.spent.items(), *job.laptop_spent.items()]:
        if isinstance(lasted, (int, float)) and lasted > 0:
            kind = _KINDS.get(str(phase), str(phase))
            seconds[kind] = seconds.get(kind, 0.0) + lasted
    if not seconds and job.elapsed_seconds:
        seconds[Phase.TRAIN] = job.elapsed_seconds  # told by no phase: an older system's, or imported
    _move_after_best(job, seconds)
    price = None if job.cost_per_hour is None else job.cost_per_hour / 3600
    return {
        kind: Paid(lasted, 0.0, lasted) if price is None else Paid(lasted, price * lasted)
        for kind, lasted in seconds.items()
        if lasted > 0
    }


def _move_after_best(job: Job, seconds: dict[str, float]) -> None:
    """Take what was trained after the best checkpoint from training, once the run is over."""
    end = job.failed_at or job.completed_at
    if not job.status.ended or job.best_at is None or end is None:
        return
    after = max(0.0, (end - job.best_at).total_seconds())
    for phase in _TRAINING:
        taken = min(after, seconds.get(phase, 0.0))
        if taken:
            seconds[phase] -= taken
            seconds[AFTER_BEST] = seconds.get(AFTER_BEST, 0.0) + taken
            after -= taken


def waste_ledger(jobs: Iterable[Job], by: Group = "model") -> tuple[Line, ...]:
    """The ledger, the most expensive line first, weeks the newest first.

    Args:
        jobs: The runs; replays and those that were never billed nor timed are left out.
        by: What the lines are about.
    """
    told = [(job, parts) for job in jobs if not job.replay and (parts := parts_of(job))]
    if by == "phase":
        return _by_phase([parts for _, parts in told])
    key: Callable[[Job], str] = model_of if by == "model" else _week
    groups: dict[str, list[dict[str, Paid]]] = {}
    for job, parts in told:
        groups.setdefault(key(job), []).append(parts)
    lines = [Line(name, len(members), _sum(members), _joined(members)) for name, members in groups.items()]
    if by == "week":
        return tuple(sorted(lines, key=lambda line: line.name, reverse=True))
    return tuple(sorted(lines, key=lambda line: (-line.paid.dollars, -line.paid.seconds, line.name)))


def _by_phase(members: Sequence[Mapping[str, Paid]]) -> tuple[Line, ...]:
    joined = _joined(members)
    lines = [
        Line(name, sum(name in parts for parts in members), paid, {name: paid})
        for name, paid in joined.items()
    ]
    return tuple(sorted(lines, key=lambda line: (-line.paid.dollars, -line.paid.seconds, line.name)))


def _sum(members: Iterable[Mapping[str, Paid]]) -> Paid:
    return sum((paid for parts in members for paid in parts.values()), Paid())


def _joined(members: Iterable[Mapping[str, Paid]]) -> dict[str, Paid]:
    joined: dict[str, Paid] = {}
    for parts in members:
        for name, paid in parts.items():
            joined[name] = joined.get(name, Paid()) + paid
    return joined


def _week(job: Job) -> str:
    year, week, _ = job.created_at.isocalendar()
    return f"{year}-W{week:02}"
