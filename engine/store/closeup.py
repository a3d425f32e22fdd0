"""Events that look closely at a step, kept as facts of the job: gradients by layer, lengths, GPU memory."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from engine.job.events import Event, number, plain
from engine.store.projection import Projection, stored_object
from engine.store.values import finite, mapping, words

_GPUS: Final = 16
_PHASES: Final = 20
_LENGTHS: Final = ("sequences", "min", "mean", "p50", "p95", "max", "truncated", "padding", "trained")


def gradients(run: Projection, event: Event) -> None:
    """The layers whose gradients are the largest and the smallest."""
    if not run.counts(event):
        return
    ends = {name: _layer(event.data.get(name)) for name in ("largest", "smallest")}
    if all(ends.values()):
        run.note({"gradients": {"step": event.step, **ends}})


def tokens(run: Projection, event: Event) -> None:
    """How long the rows are, and how much of a batch is padding."""
    if not run.counts(event):
        return
    found = {name: value for name in _LENGTHS if (value := finite(event.data.get(name))) is not None}
    if found:
        run.note({"token_lengths": {"step": event.step, **found}})


def memory(run: Projection, event: Event) -> None:
    """The most GPU memory that a phase took, GB of each GPU."""
    phase, gpus = words(event.data.get("phase"), 60), event.data.get("gpus")
    if not phase or not isinstance(gpus, list):
        return
    peaks = [finite(mapping(gpu).get("peak_gb")) for gpu in gpus[:_GPUS]]
    known = mapping(stored_object(run.job["metadata"]).get("gpu_peaks_gb"))
    if phase in known or len(known) < _PHASES:
        run.note({"gpu_peaks_gb": {**known, phase: peaks}})


def _layer(told: Any) -> Mapping[str, Any] | None:
    """A layer's name and norm; None when either is missing."""
    layer, norm = words(mapping(told).get("layer"), 200), number(mapping(told).get("norm"))
    return None if not layer or norm is None else {"layer": layer, "norm": plain(norm)}
