"""The store's protocol: every backend passes the same contract tests.

Writes are idempotent upserts on natural keys, so every delivery of events may be repeated.
All methods block; callers with an event loop use a thread.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, Protocol

from engine.job.events import Event
from engine.records import (
    Alert,
    Axis,
    Checkpoint,
    Curve,
    HostSample,
    Job,
    MetricSummary,
    Place,
    SavedComparison,
    Trend,
)

Action = Literal["archive", "restore", "delete"]
Change = Literal["archive", "restore", "delete", "rename", "note", "tag"]
"""What undo takes back."""


@dataclass(frozen=True, slots=True)
class Ingested:
    """What one delivery changed.

    Args:
        offset: Where the next delivery starts, in bytes of the file.
        events: How many events were new.
        bad_lines: How many whole lines were no events.
    """

    offset: int
    events: int
    bad_lines: int


@dataclass(frozen=True, slots=True)
class Done:
    """An action that was carried out and can be undone.

    Args:
        action: What was done; of several things said at once, one of them.
        job_ids: The jobs it changed; those it did not change are left out.
    """

    action: Change
    job_ids: tuple[str, ...]


Listener = Callable[[frozenset[str]], None]
"""Called with the ids of the jobs that changed, on the thread that changed them; must return at once."""


class Store(Protocol):
    """Jobs, their events and what follows from them.

    Raises:
        StoreError: From any method, when the database can't be read or written; one line with advice.
    """

    def add(self, job: Job) -> Job:
        """Insert a job and return it with its `number` among its model's runs."""
        ...

    def job(self, job_id: str) -> Job:
        """The job with that id.

        Raises:
            NoSuchJob: There is none.
        """
        ...

    def find(self, text: str) -> Job:
        """The job that a user means: its id, its name, or a unique beginning of either.

        A name that several jobs bear means the newest that is neither archived nor deleted.

        Raises:
            NoSuchJob: None answers to it, or several do.
        """
        ...

    @property
    def standing(self) -> str:
        """What the user must know of a hosted store, one line; empty while all is well, or there is none."""
        ...

    def elsewhere(self, job_id: str) -> bool:
        """Is it followed from another machine, which shares it through a hosted store?"""
        ...

    def jobs(self, *, archived: bool = False, deleted: bool = False) -> list[Job]:
        """All jobs, live ones first, then newest first; archived and deleted ones on demand."""
        ...

    def update(self, job_id: str, **columns: Any) -> None:
        """Set columns of a job that only the laptop knows (pod_id, cost_per_hour, status…)."""
        ...

    def offset(self, job_id: str, file: str) -> int:
        """How many bytes of that file of the job's folder have been taken in; 0 for a new one."""
        ...

    def ingest(self, job_id: str, lines: bytes, at: int) -> Ingested:
        """Take in whole lines of `events.jsonl`, in one transaction with the new offset.

        Args:
            job_id: Whose.
            lines: Bytes that start at a line's beginning and end with a newline.
            at: Their offset in the file. Bytes before the stored offset are skipped, so a repeated
                or overlapping delivery changes nothing.

        Raises:
            ValueError: `at` lies beyond the stored offset: a gap would be left.
        """
        ...

    def ingest_node(self, job_id: str, node: int, lines: bytes, end: int) -> None:
        """Keep the figures of another of a job's machines, in one transaction with the new offset.

        Args:
            job_id: Whose.
            node: Which machine, from 1.
            lines: Whole lines of its `events.jsonl`; heartbeats, alerts and failures are kept.
            end: Where they end in that file, `nodes/N/events.jsonl` of the job's folder.
        """
        ...

    def events(
        self, job_id: str, types: Collection[str] | None = None, *, after: int = 0, limit: int | None = None
    ) -> list[Event]:
        """A job's events in order of seq, those of some types alone if given; the last `limit` of them."""
        ...

    def checkpoints(self, job_id: str) -> list[Checkpoint]:
        """A job's checkpoints by step, each with its standing (best, lowest eval loss, tied)."""
        ...

    def example_losses(self, job_id: str) -> Mapping[int, tuple[float, ...]]:
        """Step -> the loss of each eval example, nats, in one order; empty where none is told."""
        ...

    def curve(
        self,
        job_id: str,
        metric: str,
        *,
        axis: Axis = "step",
        low: float | None = None,
        high: float | None = None,
        columns: int = 400,
    ) -> Curve:
        """One metric as about `columns` points between x `low` and `high`, read from the pyramid.

        Of a step that several attempts logged, the latest attempt counts. Of a window, the points next to it
        on both sides come along as `before` and `after`.
        """
        ...

    def place(self, job_id: str, axis: Axis, x: float) -> Place | None:
        """The logged training step nearest to a place on an axis, on all axes; None without steps."""
        ...

    def metrics(self, job_id: str) -> list[str]:
        """The names of the metrics that a job has curves of."""
        ...

    def summaries(self, job_id: str, *, best_step: int | None = None) -> dict[str, MetricSummary]:
        """Every metric that a job has curves of in four numbers, and the means of its predictions' scores.

        Predictions' scores are called `prediction_exact_match`, `prediction_char_error_rate` and so on.

        Args:
            job_id: Whose.
            best_step: The step that `at_best` is about; without it that is None.
        """
        ...

    def metric_rows(self, job_id: str, *, limit: int | None = None) -> list[dict[str, Any]]:
        """The rows of `local_training_metrics` by step, the last `limit` of them."""
        ...

    def predictions(self, job_id: str, *, step: int | None = None) -> list[dict[str, Any]]:
        """The rows of `training_predictions` by step and sample; those of one step alone if given."""
        ...

    def host_samples(
        self, job_id: str, limit: int = 120, *, until: datetime | None = None
    ) -> list[HostSample]:
        """The last heartbeats, up to a moment if given, that carried the machine's figures, oldest first."""
        ...

    def alerts(self, job_id: str | None = None, limit: int = 50) -> list[Alert]:
        """The newest alerts, oldest first; of all jobs when none is named, of all machines of a named one."""
        ...

    def trend(self, job_id: str) -> Trend | None:
        """The newest trend verdict."""
        ...

    def act(self, action: Action, job_ids: Sequence[str]) -> Done:
        """Archive, restore or delete (to the trash) jobs, all in one transaction, and remember it for undo.

        Raises:
            BadInput: A job that is to be deleted still lives, or does not exist; nothing was changed.
        """
        ...

    def undo(self) -> Done | None:
        """Take back the last action that has not been taken back; None when there is none."""
        ...

    def annotate(
        self,
        job_ids: Sequence[str],
        *,
        name: str | None = None,
        note: str | None = None,
        add: Collection[str] = (),
        drop: Collection[str] = (),
    ) -> Done:
        """Set what the user says of jobs, of all or of none, and remember it for undo; what is None stays.

        Args:
            job_ids: The jobs.
            name: Their new name.
            note: Their note; an empty one takes it away.
            add: Tags to add.
            drop: Tags to take away.

        Raises:
            NoSuchJob: One of them does not exist.
        """
        ...

    def forget(self, job_ids: Sequence[str]) -> None:
        """Remove jobs from the trash for good, with all that is known of them; unknown ids are gone already.

        Raises:
            BadInput: One of them is not in the trash; nothing was changed.
        """
        ...

    def drop_checkpoints(self, job_id: str, steps: Collection[int]) -> None:
        """Note that the files of some checkpoints are gone; their numbers stay."""
        ...

    def save_comparison(self, comparison: SavedComparison) -> None:
        """Insert or replace a comparison by its id."""
        ...

    def comparisons(self) -> list[SavedComparison]:
        """All saved comparisons, newest first."""
        ...

    def delete_comparison(self, comparison_id: str) -> None:
        """Forget a saved comparison; its runs stay as they are. One that is gone is forgotten already."""
        ...

    def setting(self, key: str, default: Any = None) -> Any:
        """A JSON value that the app remembers between starts."""
        ...

    def set_setting(self, key: str, value: Any) -> None:
        """Remember a JSON value."""
        ...

    def subscribe(self, listener: Listener) -> Callable[[], None]:
        """Call `listener` after each change made through this store object; returns its cancellation."""
        ...

    def close(self) -> None:
        """Close the database."""
        ...


def by_id(jobs: Iterable[Job]) -> Mapping[str, Job]:
    """Jobs by their ids."""
    return {job.id: job for job in jobs}
