"""Tiers and flags of a run, on figures as the baseline had them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from engine.analysis.criteria import Standing, check, criteria_of, standing
from engine.analysis.panels import panels_of
from engine.job.events import Status
from engine.records import Curve, CurvePoint, Job, MetricSummary

TIERS = {
    "minimum": {"eval_loss": "-20 %"},
    "strong": {"eval_loss": "-30 %", "separation": "> 0.10", "f1": "> 0.30"},
    "exceptional": {"eval_loss": "-40 %", "separation": "> 0.15", "f1": "> 0.45"},
}


def curve(*values: float, bad: tuple[float, ...] = ()) -> Curve:
    points = tuple(CurvePoint(float(x), value, value, value, 1) for x, value in enumerate(values, 1))
    return Curve("j", "m", "epoch", points, len(values), bad)


def stand(
    curves: dict[str, Curve], summaries: dict[str, MetricSummary] | None = None, **job: Any
) -> Standing:
    wanted = criteria_of({"criteria": TIERS})
    assert wanted is not None
    run = Job(id="j", name="b", status=Status.COMPLETED, created_at=datetime(2026, 1, 1, tzinfo=UTC), **job)
    return standing(wanted, run, curves.get, summaries or {})


def test_a_loss_that_falls_is_not_success_while_f1_stays_at_nought() -> None:
    """Their run reached −37.9 % with F1 still 0."""
    found = stand(
        {"eval_loss": curve(17.0, 10.557, 11.0), "separation": curve(0.01, 0.12), "f1": curve(0, 0)}
    )
    assert found.reached == "minimum"
    assert [tier.met for tier in found.tiers] == [True, False, False]
    loss, separation, f1 = found.tiers[1].checks
    assert loss.met and loss.change == pytest.approx(-0.379) and loss.at == 2
    assert loss.threshold == pytest.approx(11.9) and loss.margin == pytest.approx(1.343)
    assert separation.met and separation.margin == pytest.approx(0.02)
    assert f1.met is False and f1.margin == pytest.approx(-0.30)


def test_what_has_no_value_yet_is_unknown_and_never_met() -> None:
    found = stand({"eval_loss": curve(10.0, 6.0)})
    assert [tier.met for tier in found.tiers] == [True, None, None]
    assert found.reached == "minimum"
    assert stand({}).reached is None and stand({}).tiers[0].checks[0].value is None


def test_a_tier_counts_only_with_those_below_it() -> None:
    wanted = criteria_of({"criteria": {"minimum": {"a": "> 1"}, "strong": {"b": "> 1"}}})
    assert wanted is not None
    run = Job(id="j", name="b", status=Status.RUNNING, created_at=datetime(2026, 1, 1, tzinfo=UTC))
    found = standing(wanted, run, {"a": curve(0.5), "b": curve(2.0)}.get, {})
    assert [tier.met for tier in found.tiers] == [False, True] and found.reached is None


@pytest.mark.parametrize(
    ("wanted", "values", "met"),
    [
        ("-20 %", (10.0, 8.0), True),
        ("-20 %", (10.0, 8.01), False),
        ("-50 %", (-1.0, -1.5), True),
        ("+10 %", (1.0, 1.1), True),
        ("> 0.10", (0.1,), False),
        (">= 0.10", (0.1,), True),
        ("<= 3", (4.0, 3.0), True),
    ],
)
def test_conditions_at_their_edges(wanted: str, values: tuple[float, ...], met: bool) -> None:
    assert check("m", wanted, curve(*values)).met is met


def test_flags_say_what_they_saw() -> None:
    layers = {f"gradient_stats/layer{at}.weight": MetricSummary(last=0.1) for at in range(5)}
    found = stand(
        {"eval_loss": curve(5.0, bad=(3.0,))},
        {
            "grad_norm": MetricSummary(low=0.0001, high=500.0),
            "eval_loss": MetricSummary(last=3.0, low=2.0),
            "gradient_stats/head.bias": MetricSummary(last=50.0),
            **layers,
        },
        gpu_utilization_percent=55.0,
    )
    told = {flag.name: flag.message for flag in found.flags}
    assert set(told) == {"nan", "exploding", "vanishing", "layer", "overfitting", "gpu_idle"}
    assert "head.bias" in told["layer"] and "500 times" in told["layer"]
    assert "50 %" in told["overfitting"] and "eval_loss" in told["nan"]
    assert "raise the batch" in told["gpu_idle"]


def test_a_healthy_run_has_no_flags() -> None:
    summaries = {"grad_norm": MetricSummary(low=0.1, high=3.0), "eval_loss": MetricSummary(last=2.0, low=2.0)}
    assert stand({"eval_loss": curve(5.0)}, summaries, gpu_utilization_percent=95.0).flags == ()


def test_criteria_that_make_no_sense_are_none() -> None:
    assert criteria_of({}) is None
    assert criteria_of({"criteria": {"minimum": {"a": "much"}}}) is None


def test_panels_hold_the_metrics_that_are_there_and_say_what_they_leave_out() -> None:
    names = ["loss", *(f"gradient_stats/l{at}" for at in range(10)), "loss_components/train/total_loss"]
    config = {
        "panels": [
            {"name": "Loss", "metrics": ["loss_components/*/total_loss", "loss"]},
            {"name": "Gradients", "metrics": ["gradient_stats/*"], "log": True, "most": 3},
            {"name": "Broken"},
            "nonsense",
        ]
    }
    loss, gradients = panels_of(config, names)
    assert loss.metrics == ("loss_components/train/total_loss", "loss")
    assert gradients.metrics == ("gradient_stats/l0", "gradient_stats/l1", "gradient_stats/l2")
    assert gradients.log and gradients.left_out == 7
