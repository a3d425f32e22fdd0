"""The convergence report: what it says of a run, and that nothing in it can pass for Markdown."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from engine.analysis.criteria import Check, Standing, Tier
from engine.analysis.health import Flag
from engine.analysis.panels import Panel
from engine.analysis.report import markdown, report, summary, verdict
from engine.job.events import Status
from engine.records import Checkpoint, Curve, CurvePoint, Job


def curve(metric: str, *values: float, bad: tuple[float, ...] = ()) -> Curve:
    points = tuple(CurvePoint(float(x), value, value, value, 1) for x, value in enumerate(values, 1))
    return Curve("j", metric, "epoch", points, len(values), bad)


JOB = Job(
    id="j", name="base|line <b>", status=Status.COMPLETED, created_at=datetime(2026, 1, 1, tzinfo=UTC),
    current_epoch=10, total_epochs=10,
)  # fmt: skip
FALLING = [10.0, 8.0, 7.0, 6.5, 6.3, 6.25, 6.22, 6.21, 6.209, 6.208]


@pytest.mark.parametrize(
    ("values", "told"),
    [
        (FALLING, "it has converged"),
        ([float(value) for value in range(20, 10, -1)], "still falling"),
        ([10.0, 5.0, 4.0, 6.0, 8.0], "has risen to 8.0000 since"),
        ([10.0], "Too little"),
    ],
)
def test_the_verdict_says_whether_it_converged(values: list[float], told: str) -> None:
    assert told in verdict(curve("eval_loss", *values))


def test_a_curve_in_few_numbers() -> None:
    found = summary(curve("eval_loss", 10.0, 4.0, 5.0, bad=(2.0,)))
    assert (found.first, found.low, found.low_at, found.high, found.last) == (10.0, 4.0, 2.0, 10.0, 5.0)
    assert found.change == pytest.approx(-0.5) and found.not_finite == 1


def test_the_report_has_tiers_best_epoch_flags_and_curves_by_panel() -> None:
    curves = {
        "eval_loss": curve("eval_loss", *FALLING),
        "stats/val/separation": curve("stats/val/separation", 0.0, 0.2),
        "cpu_percent": curve("cpu_percent", 50.0),
    }
    check = Check("eval_loss", "-20 %", 6.2, 10.0, -0.38, 8.0, 1.8, 10.0, True)
    told = report(
        JOB,
        curves.get,
        list(curves),
        standing=Standing((Tier("minimum", True, (check,)),), "minimum", (Flag("nan", "error", "at times"),)),
        panels=[Panel("Separation", ("stats/val/separation",)), Panel("Empty", ())],
        checkpoints=[Checkpoint(job_id="j", step=8, epoch=8.0, eval_loss=6.21, is_best=True)],
    )
    text = markdown(told)
    assert "Reached: **minimum**" in text and "| best checkpoint | step 8, epoch 8 |" in text
    assert "- **nan** (error): at times" in text
    assert "## Curves: Separation" in text and "Empty" not in text and "cpu_percent" not in text
    assert "base\\|line \\<b\\>" in text
    assert told.to_json()["best_epoch"] == 8.0 and told.to_json()["standing"]["reached"] == "minimum"


def test_a_run_without_anything_has_a_report_too() -> None:
    text = markdown(report(JOB, lambda name: None, []))
    assert "Too little was recorded" in text and "None." in text
