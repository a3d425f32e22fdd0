"""The waste ledger: what was paid for, by model, week and phase, and what of it left nothing."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from engine.analysis.suggestion import suggestions
from engine.analysis.waste import AFTER_BEST, Paid, parts_of, waste_ledger
from engine.job.events import Status
from engine.records import Job, SavedComparison
from tests.store.wire import START, a_job

HOUR = 3600.0


def run(name: str, spent: dict[str, float], rate: float | None = 2.0, **given: Any) -> Job:
    given.setdefault("status", Status.COMPLETED)
    return a_job(name, name=name, spent=spent, cost_per_hour=rate, **given)


def dollars(parts: dict[str, Paid]) -> dict[str, float | None]:
    return {name: paid.known for name, paid in parts.items()}


def test_a_runs_time_is_told_by_kind_with_its_price() -> None:
    job = run("a", {"load": 360, "train": 3600, "idle": 720, "crashed": 180}, laptop_spent={"provision": 360})
    assert dollars(parts_of(job)) == pytest.approx(
        {"provisioning": 0.4, "train": 2.0, "idle": 0.4, "crashed": 0.1}
    )


def test_training_after_the_best_checkpoint_is_waste_once_the_run_is_over() -> None:
    times: Any = {"best_at": START, "completed_at": START + timedelta(hours=1)}
    parts = parts_of(run("a", {"train": 3 * HOUR, "eval": 600.0}, **times))
    assert (parts["train"].seconds, parts[AFTER_BEST].seconds) == (2 * HOUR, HOUR)
    short = parts_of(run("b", {"train": 0.5 * HOUR, "eval": 600.0}, **times))
    assert short == {AFTER_BEST: Paid(0.5 * HOUR + 600, 2.0 * (0.5 + 1 / 6))}
    assert AFTER_BEST not in parts_of(run("c", {"train": HOUR}, status=Status.RUNNING, best_at=START))


def test_a_machine_without_a_price_costs_time_alone() -> None:
    [line] = waste_ledger([run("a", {"train": HOUR}, None)])
    assert (line.paid.seconds, line.paid.known) == (HOUR, None)
    both = waste_ledger([run("a", {"train": HOUR}, None), run("b", {"train": HOUR})])[0]
    assert (both.paid.seconds, both.paid.known, both.paid.unpriced) == (2 * HOUR, 2.0, HOUR)


def test_a_run_of_which_no_phase_is_known_was_trained_all_the_time() -> None:
    [line] = waste_ledger([run("a", {}, elapsed_seconds=HOUR), run("b", {}, elapsed_seconds=None)])
    assert (line.runs, line.paid.known, line.wasted.seconds) == (1, 2.0, 0)


def test_lines_are_models_weeks_or_phases_and_add_up() -> None:
    jobs = [
        run("a", {"train": HOUR, "idle": HOUR}),
        run("b", {"train": 3 * HOUR}, base_model="llama", created_at=START + timedelta(days=7)),
        run("c", {"train": HOUR, "crashed": HOUR}, base_model="llama"),
        run("replay", {"train": 9 * HOUR}, metadata={"replay": True}),
    ]
    by_model = waste_ledger(jobs, "model")
    assert [(line.name, line.runs, line.paid.known) for line in by_model] == [
        ("llama", 2, 10.0), ("Qwen/Qwen2.5-7B", 1, 4.0),
    ]  # fmt: skip
    assert [line.wasted.known for line in by_model] == [2.0, 2.0]
    assert [(line.name, line.runs) for line in waste_ledger(jobs, "week")] == [
        ("2026-W48", 1),
        ("2026-W47", 2),
    ]
    assert [(line.name, line.runs, line.paid.known) for line in waste_ledger(jobs, "phase")] == [
        ("train", 3, 10.0), ("crashed", 1, 2.0), ("idle", 1, 2.0),
    ]  # fmt: skip
    for by in ("model", "week", "phase"):
        assert sum(line.paid.dollars for line in waste_ledger(jobs, by)) == pytest.approx(14.0)


def test_what_a_pod_made_up_is_no_number() -> None:
    job = run("a", {"train": HOUR, "x": "evil", "y": -5.0})  # type: ignore[dict-item]
    assert parts_of(job).keys() == {"train"}
    assert waste_ledger([run("b", {})]) == ()


def done(name: str, loss: float | None, day: int, **given: Any) -> Job:
    return run(name, {}, best_eval_loss=loss, created_at=START + timedelta(days=day), **given)


def test_new_finished_runs_are_suggested_beside_the_best() -> None:
    jobs = [done("old", 2.0, 0), done("best", 1.0, 1), done("new", 1.5, 2), done("newer", 1.2, 3)]
    [found] = suggestions(jobs, compared=["old", "best"])
    assert (found.job_ids, found.new) == (("best", "newer", "new"), 2)
    assert found.sentence == "2 new runs of Qwen/Qwen2.5-7B were never compared"


def test_a_new_best_run_is_suggested_beside_the_one_before() -> None:
    jobs = [done("old", 2.0, 0), done("older", 3.0, 0), done("new", 1.0, 2)]
    [found] = suggestions(jobs, compared=["old", "older"])
    assert found.job_ids == ("new", "old")


def test_what_was_compared_saved_hidden_or_has_nothing_beside_it_is_not_suggested() -> None:
    pair = [done("a", 1.0, 0), done("b", 2.0, 1)]
    saved = SavedComparison("x", "x", ("a", "b"), START)
    assert suggestions(pair, saved=[saved]) == ()
    assert suggestions(pair, compared=["a", "b"]) == ()
    assert suggestions([done("a", 1.0, 0)]) == ()
    assert suggestions([done("a", 1.0, 0), done("b", None, 1)]) == ()
    hidden = done("b", 2.0, 1, archived_at=START)
    assert suggestions([done("a", 1.0, 0), hidden]) == ()
    live = done("b", 2.0, 1, status=Status.RUNNING)
    assert suggestions([done("a", 1.0, 0), live], compared=["a"]) == ()
