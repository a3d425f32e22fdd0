"""What differs between the configurations of some runs: settings, data and software. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from engine.analysis.compared import Difference
from engine.records import Job

_LEFT_OUT: Final = frozenset({"name", "tags"})
"""Settings that tell runs apart without changing them."""

_FACTS: Final = {
    "code_sha256": "code sha",
    "data_sha256": "dataset sha",
    "eval_sha256": "eval data sha",
    "tokenizer_sha256": "tokenizer sha",
}
"""What the pod told of the run and what it is called here."""


def differences(jobs: Sequence[Job]) -> tuple[Difference, ...]:
    """Every key of the configuration that is not the same in all runs, in the order of the spec.

    Keys are dotted (`lora.r`); those of the section `training` stand without it. A list counts as one
    value. A setting that is not there is a value like any other; a fact that a run has not told (it may
    not have begun) differs from nothing. Where the data have the same hash, the path that they were read
    from does not count.
    """
    given, facts = [dict(settings(job)) for job in jobs], [dict(_facts(job)) for job in jobs]
    hashes = {one.get("dataset sha") for one in facts}
    same_data = len(hashes) == 1 and None not in hashes
    found = [
        item
        for item in _side_by_side(given)
        if _differ(item.values) and not (same_data and item.key == "dataset.path")
    ]
    told = _side_by_side(facts)
    return (
        *found,
        *(item for item in told if _differ([value for value in item.values if value is not None])),
    )


def _side_by_side(flat: Sequence[Mapping[str, Any]]) -> Iterator[Difference]:
    """Every key with its value in each run, None where there is none."""
    for key in dict.fromkeys(key for one in flat for key in one):
        yield Difference(key, tuple(one.get(key) for one in flat))


def setting(job: Job, section: str, key: str) -> Any:
    """A setting of the spec; None when it is not set."""
    part = job.config.get(section)
    return part.get(key) if isinstance(part, Mapping) else None


def settings(job: Job) -> Iterator[tuple[str, Any]]:
    """The run's spec as dotted keys."""
    for key, value in _flat(job.config, ""):
        if key not in _LEFT_OUT:
            yield key.removeprefix("training."), value


def _facts(job: Job) -> Iterator[tuple[str, Any]]:
    """What it trained on and with."""
    for key, name in _FACTS.items():
        if (value := job.metadata.get(key)) is not None:
            yield name, value
    for key in ("versions", "parameters"):
        yield from _flat(job.metadata.get(key), f"{key}.")
    yield "gpu", job.gpu_type
    yield "gpus", job.gpu_count


def _flat(value: Any, prefix: str) -> Iterator[tuple[str, Any]]:
    """A nested mapping as dotted keys, however deep."""
    stack = [(prefix, value)]
    while stack:
        path, part = stack.pop()
        if isinstance(part, Mapping):
            stack.extend(reversed([(f"{path}{key}.", item) for key, item in part.items()]))
        elif path.endswith("."):
            yield path[:-1], part


def _differ(values: Sequence[Any]) -> bool:
    return len({_comparable(value) for value in values}) > 1


def _comparable(value: Any) -> str:
    """Equal values give equal text: 1 and 1.0 are the same number, tuples are lists."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return f"number {float(value)!r}" if abs(value) < 2**53 else f"number {value}"
    return json.dumps(value, sort_keys=True, default=str)
