"""Red flags of a run."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from engine.analysis.health import heartbeat_age, red_flags
from engine.job.events import Status
from engine.records import Alert, Trend
from tests.analysis.made import NAN, START, a_run


def flags(**columns: Any) -> list[tuple[str, str]]:
    job = a_run(1, 1.0, **{"status": Status.RUNNING, "current_step": 100, **columns})
    return [(flag.name, flag.severity) for flag in red_flags(job, START)]


def test_a_healthy_run_has_none() -> None:
    assert (
        flags(loss=1.0, eval_loss=1.01, grad_norm=1.0, gpu_utilization_percent=95.0, last_heartbeat_at=START)
        == []
    )


@pytest.mark.parametrize(
    ("columns", "found"),
    [
        ({"last_heartbeat_at": START - timedelta(seconds=61)}, [("stalled", "warning")]),
        ({"last_heartbeat_at": START - timedelta(minutes=6)}, [("stalled", "error")]),
        ({"last_heartbeat_at": START - timedelta(minutes=6), "status": Status.PAUSED}, []),
        ({"last_heartbeat_at": START + timedelta(hours=1)}, []),
        ({"loss": NAN}, [("nan", "error")]),
        ({"grad_norm": float("inf")}, [("nan", "error")]),
        ({"grad_norm": 100.1}, [("exploding", "error")]),
        ({"grad_norm": 100.0}, []),
        ({"grad_norm": 0.0009}, [("vanishing", "warning")]),
        ({"grad_norm": 0.001}, []),
        ({"grad_norm": 1e-9, "status": Status.COMPLETED}, []),
        ({"eval_loss": 1.06, "loss": 0.5}, [("overfitting", "warning")]),
        ({"eval_loss": 1.06, "loss": 2.0}, []),
        ({"eval_loss": 1.049, "loss": 0.5}, []),
        ({"gpu_utilization_percent": 79.0}, [("gpu_idle", "warning")]),
        ({"gpu_utilization_percent": 80.0}, []),
        ({"gpu_utilization_percent": 10.0, "current_step": 5}, []),
        (
            {"gpu_utilization_percent": 10.0, "grad_norm": 500.0},
            [("exploding", "error"), ("gpu_idle", "warning")],
        ),
    ],
)
def test_flags_are_raised_beyond_their_thresholds(
    columns: dict[str, Any], found: list[tuple[str, str]]
) -> None:
    assert flags(**columns) == found


@pytest.mark.parametrize(
    ("norm", "largest", "smallest", "messages"),
    [
        (0.5, 0.4, 0.3, []),
        (150.0, 140.0, 0.3, ["gradient norm 150, most in layers.7: exploding, lower the learning rate"]),
        (0.5, 140.0, 0.3, ["gradient norm 140 in layers.7: exploding, lower the learning rate"]),
        (0.5, 0.4, 0.0, ["gradient norm 0 in layers.0: vanishing, that layer hardly learns"]),
        (0.0, 0.0, 0.0, ["gradient norm 0, least in layers.0: vanishing, nothing is learnt"]),
        (0.5, "NaN", "NaN", []),
    ],
)
def test_gradients_that_explode_or_vanish_are_told_with_their_layer(
    norm: float, largest: Any, smallest: Any, messages: list[str]
) -> None:
    told = {
        "largest": {"layer": "layers.7", "norm": largest},
        "smallest": {"layer": "layers.0", "norm": smallest},
    }
    job = a_run(1, 1.0, status=Status.RUNNING, grad_norm=norm, metadata={"gradients": told})
    found = [flag.message for flag in red_flags(job, START) if flag.name in ("exploding", "vanishing")]
    assert found == messages


def test_the_verdict_and_alerts_speak_too_but_nothing_is_said_twice() -> None:
    job = a_run(1, 1.0, status=Status.RUNNING)
    alerts = [
        Alert("job-1", START, "overfitting", "error", "again", 1),
        Alert("job-1", START, "disk_full", "error", "old", 1),
        Alert("job-1", START, "disk_full", "error", "2 GB left", 2),
        Alert("job-1", START, "dataset", "warning", "3 rows cut", 2),
    ]
    found = red_flags(job, START, trend=Trend("overfitting", "eval rose 3 times"), alerts=alerts)
    assert [(flag.name, flag.message) for flag in found] == [
        ("overfitting", "eval rose 3 times"),
        ("disk_full", "2 GB left"),
    ]


def test_the_age_of_a_heartbeat_is_never_negative() -> None:
    assert heartbeat_age(a_run(1), START) is None
    assert heartbeat_age(a_run(1, last_heartbeat_at=START + timedelta(seconds=9)), START) == 0
    assert heartbeat_age(a_run(1, last_heartbeat_at=START - timedelta(seconds=9)), START) == 9
