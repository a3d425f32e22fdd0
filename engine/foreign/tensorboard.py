"""Runs that were logged for TensorBoard, read by its own library."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from engine.errors import Missing
from engine.foreign.track import Track, tracked


def read(folder: Path) -> Track | None:
    """The run whose event files lie in a folder; None where there are none.

    Raises:
        Missing: TensorBoard is not installed.
    """
    if not any(folder.glob("events.out.tfevents.*")):
        return None
    try:
        from tensorboard.backend.event_processing import event_accumulator
    except ImportError:
        raise Missing(f"{folder}: TensorBoard is not installed", "pip install 'podium[imports]'.") from None
    # 0 keeps all points; it would keep 10,000 of a figure.
    events = event_accumulator.EventAccumulator(
        str(folder), {event_accumulator.SCALARS: 0, event_accumulator.TENSORS: 0}
    )
    events.Reload()
    return Track(
        folder.name, folder, "tensorboard", tracked(sorted(_points(events), key=lambda row: row[0]["step"]))
    )


def _points(events: Any) -> Iterator[tuple[Mapping[str, Any], datetime]]:
    """Each scalar as a row of its own; newer writers keep scalars as tensors."""
    for tag in events.Tags()["scalars"]:
        for point in events.Scalars(tag):
            yield {"step": point.step, tag: point.value}, _moment(point.wall_time)
    for tag in events.Tags()["tensors"]:
        for point in events.Tensors(tag):
            if not point.tensor_proto.tensor_shape.dim and len(point.tensor_proto.float_val) == 1:
                yield {"step": point.step, tag: point.tensor_proto.float_val[0]}, _moment(point.wall_time)


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
