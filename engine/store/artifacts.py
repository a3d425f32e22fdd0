"""Events that tell of something the trainer made, and the rows they become: checkpoints, predictions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any, Final

from engine.job.events import Event, number, stamp
from engine.store.projection import MAX_JSON, Projection, has_step
from engine.store.values import count, finite, json_text, mapping, words

_TEXTS: Final = ("prompt", "ground_truth", "prediction", "prompt_id", "validation_errors")
_MARKS: Final = ("exact_match", "validation_pass")
_COUNTS: Final = ("prompt_tokens", "completion_tokens", "max_new_tokens")
_NUMBERS: Final = ("epoch", "char_error_rate", "length_ratio", "word_overlap", "latency_ms", *_COUNTS)


def checkpoint(run: Projection, event: Event) -> None:
    """A checkpoint was saved, or removed by rotation."""
    data, path = event.data, inside(event.data.get("path"))
    if data.get("removed") is True:
        run.checkpoints.append({"removed_at": stamp(event.ts), "path": path, "step": event.step})
        return
    if not has_step(event):
        return
    # The numbers of its own eval, where the event does not repeat them.
    known = run.memory.evaluated if run.memory.evaluated.get("step") == event.step else {}
    score = dict(mapping(data.get("score"))) or known.get("score") or {}
    sources = (data, known, mapping(score.get("metrics")))
    epoch = _first("epoch", sources)
    run.checkpoints.append(
        {
            "step": event.step,
            "attempt": event.attempt,
            "epoch": run.job["current_epoch"] if epoch is None else epoch,
            "eval_loss": _first("eval_loss", sources),
            "train_loss": _first("train_loss", sources),
            "score": score or None,
            "path": path,
            "size_bytes": count(data.get("bytes")),
            "sha256": words(data.get("sha256"), 64),
            "verified": data.get("verified") is True,
            "created_at": stamp(event.ts),
        }
    )


def prediction(run: Projection, event: Event) -> None:
    """What the model answered to one of the sampled prompts."""
    data = event.data
    index = finite(data.get("sample_index"))
    if index is None or not 0 <= index < 2**31:
        return
    row: dict[str, Any] = {name: finite(data.get(name)) for name in _NUMBERS}
    row |= {name: None if row[name] is None else int(row[name]) for name in _COUNTS}
    row |= {name: _written(data.get(name)) for name in _TEXTS}
    row |= {name: data[name] if isinstance(data.get(name), bool) else None for name in _MARKS}
    step = event.step if has_step(event) else 0
    row |= {"step": step, "sample_index": int(index), "attempt": event.attempt}
    run.predictions.append({**row, "created_at": stamp(event.ts)})


def inside(path: Any) -> str | None:
    """A pod's path below the job's folder; None for one that leads out of it."""
    if not isinstance(path, str) or not 0 < len(path) <= 1000 or not path.isprintable():
        return None
    parts = PurePosixPath(path)
    return None if parts.is_absolute() or ".." in parts.parts else str(parts)


def _first(name: str, sources: Sequence[Mapping[str, Any]]) -> float | None:
    """The number of that name in the first source that has one."""
    return next((found for source in sources if (found := number(source.get(name))) is not None), None)


def _written(value: Any) -> str | None:
    """A text, or a list of messages as JSON; None for nothing."""
    if value is None or isinstance(value, str):
        return words(value, MAX_JSON)
    return json_text(value)[:MAX_JSON]
