"""Other limits for a job that is under way: granted, refused, and held by supervisor and guard alike."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from engine.job.events import EventType
from engine.job.folder import JobFolder, read_json, write_json
from engine.supervisor.capping import taken
from engine.supervisor.ending import How, Proof
from engine.supervisor.guard import Guard, Told
from engine.supervisor.limits import Limits
from tests import standin
from tests.processes import until
from tests.supervisor.conftest import Bench

TEN = Limits(max_cost_usd=10, cost_per_hour=1)


def test_a_raised_cap_lets_the_job_go_on(bench: Bench) -> None:
    # A second would be the end; what was asked for comes before the trainer does.
    bench.spec(limits={"max_cost_usd": 1.0, "max_hours": 1}, pod={"cost_per_hour": 3600.0})
    bench.folder.request("limits", {"max_cost_usd": 5000})
    bench.run(standin.argv(steps=150, delay=0.01))
    assert bench.exit()["status"] == "completed"
    (told,) = [e.data for e in bench.events(EventType.ALERT) if e.data["alert"] == "limits_changed"]
    assert (told["max_hours"], told["max_cost_usd"]) == (1, 5000)
    assert read_json(bench.folder.limits) == {"max_hours": 1, "max_cost_usd": 5000}
    assert not bench.folder.has_request("limits")


def test_a_limit_below_what_is_used_is_refused_and_the_job_goes_on(bench: Bench) -> None:
    bench.spec(limits={"max_cost_usd": 1000.0}, pod={"cost_per_hour": 600.0})
    bench.start(standin.argv(steps=100_000, delay=0.01))
    bench.await_step(5)
    bench.folder.request("limits", {"max_cost_usd": 1e-9})
    until(lambda: "limits_refused" in bench.alerts(), "the refusal")
    bench.folder.request("stop")
    until(bench.folder.exit.exists, "the end")
    assert bench.exit()["reason"] == "stopped by the user"
    assert not bench.folder.limits.exists()


def test_a_successor_goes_on_with_the_changed_limits(bench: Bench) -> None:
    bench.spec(limits={"max_cost_usd": 1000.0}, pod={"cost_per_hour": 600.0})
    write_json(bench.folder.limits, {"max_cost_usd": 1e-6})
    bench.run(standin.argv(steps=100_000, delay=0.01))
    assert bench.exit()["status"] == "cancelled"


@pytest.mark.parametrize("wanted", [True, [], "5", {}, {"max_hours": "x"}, {"max_cost_usd": 0}, {"a": 3},
                                    {"max_hours": float("nan")}, {"max_cost_usd": 10}])  # fmt: skip
def test_a_request_that_changes_nothing_is_refused(tmp_path: Path, wanted: Any) -> None:
    folder = JobFolder(tmp_path)
    folder.create()
    if isinstance(wanted, dict) and wanted.get("max_hours") != wanted.get("max_hours"):
        (folder.control / "limits").write_text('{"max_hours": NaN}')
    else:
        folder.request("limits", wanted)
    limits, refusal = taken(folder, TEN, 60) or (None, "")
    assert limits == TEN
    assert "changes nothing" in refusal
    assert taken(folder, TEN, 60) is None


class NoWays:
    """A pod that can end itself, and is not asked to."""

    def prove(self) -> Proof:
        return Proof(rate=2.0, clustered=False)

    def end(self, how: How) -> str:
        raise AssertionError("not asked for")


def test_the_guard_holds_the_changed_limits(tmp_path: Path) -> None:
    told = Told(root=tmp_path, limits=Limits(max_hours=1e-9, cost_per_hour=1, rented=True))
    guard = Guard(told, NoWays())  # type: ignore[arg-type]
    folder = JobFolder(tmp_path / "jobs" / "a")
    folder.create()
    assert "max_hours" in guard.due()
    write_json(folder.limits, {"max_hours": 5})
    assert guard.due() == ""
    folder.limits.write_text("{ broken")
    assert "max_hours" in guard.due()
    write_json(folder.limits, {"max_hours": 5, "max_cost_usd": 1e-9})
    assert "max_cost_usd" in guard.due()


@pytest.mark.parametrize("hours", [None, 2.0])
def test_a_cap_in_dollars_on_a_free_machine_is_never_reached(hours: float | None) -> None:
    limits = Limits(max_hours=hours, max_cost_usd=9).at(0.0)
    assert limits.pod_seconds == (None if hours is None else 7200)
    assert limits.reached(3600) is None and limits.near(3600) is None
