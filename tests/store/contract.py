"""What every backend of the store must do. A backend's test module subclasses `StoreContract`."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from engine.errors import BadInput, NoSuchJob
from engine.job.events import EventType, Status
from engine.records import Axis, CurvePoint, MetricSummary, SavedComparison
from engine.store.base import Store
from tests.store.wire import NAN, START, Wire, a_job, a_run

FILE = "events.jsonl"
Connect = Callable[[], Store]
"""Opens the same database once more."""


def told(store: Store, wire: Wire, **changes: Any) -> None:
    """Add a job and take in all that its wire holds."""
    job = store.add(a_job(**changes))
    store.ingest(job.id, wire.bytes, 0)


def values(store: Store, metric: str, **asked: Any) -> list[tuple[float, float]]:
    """The points of a curve."""
    return [(point.x, point.mean) for point in store.curve("job-1", metric, **asked).points]


class StoreContract:
    """The tests; `store` and `connect` come from the backend's module."""

    # ---- jobs

    def test_a_job_comes_back_as_it_was_added(self, store: Store) -> None:
        job = a_job(
            config={"training": {"learning_rate": 2e-4, "seed": 0}},
            metadata={"replay": True},
            tags=("final", "ü"),
            total_steps=100,
            loss=0.5,
            pod_id="pod-7",
        )
        added = store.add(job)
        assert added == replace(job, number=1)
        found = store.job("job-1")
        assert replace(found, updated_at=None) == added
        assert found.config["training"]["seed"] == 0
        assert found.replay

    def test_an_old_job_without_best_numbers_is_read_with_unknowns(self, store: Store) -> None:
        store.add(a_job(status=Status.COMPLETED, cost_per_hour=None))
        job = store.jobs()[0]
        assert (job.best_eval_loss, job.best_epoch, job.progress, job.cost_total) == (None, None, None, None)
        assert store.checkpoints("job-1") == []
        assert store.curve("job-1", "loss").points == ()

    def test_run_numbers_count_up_within_a_base_model(self, store: Store) -> None:
        models = ["a", "b", "a", None, None, "a"]
        numbers = [store.add(a_job(f"job-{at}", base_model=model)).number for at, model in enumerate(models)]
        assert numbers == [1, 1, 2, 1, 2, 3]

    def test_jobs_stand_live_ones_first_then_newest_first(self, store: Store) -> None:
        for at, status in enumerate((Status.COMPLETED, Status.RUNNING, Status.FAILED, Status.QUEUED)):
            store.add(a_job(f"job-{at}", status=status, created_at=START + timedelta(minutes=at)))
        assert [job.id for job in store.jobs()] == ["job-3", "job-1", "job-2", "job-0"]

    def test_what_changes_elsewhere_shows_in_the_list(self, store: Store, connect: Connect) -> None:
        store.add(a_job())
        assert [job.phase for job in store.jobs()] == [None]
        other = connect()
        other.update("job-1", phase="upload")
        other.add(a_job("job-2"))
        assert {job.id: job.phase for job in store.jobs()} == {"job-1": "upload", "job-2": None}

    def test_updates_set_columns_and_refuse_unknown_ones(self, store: Store) -> None:
        store.add(a_job())
        store.update("job-1", status=Status.PENDING, pod_id="p", tags=("x",), last_heartbeat_at=START)
        job = store.job("job-1")
        assert (job.status, job.pod_id, job.tags, job.last_heartbeat_at) == (
            Status.PENDING,
            "p",
            ("x",),
            START,
        )
        for column in ("id", "number", "no_such_column", "revision"):
            with pytest.raises(ValueError, match=column):
                store.update("job-1", **{column: 1})

    def test_a_price_told_late_prices_the_time_before_it(self, store: Store) -> None:
        told(store, a_run(), cost_per_hour=None)
        assert store.job("job-1").cost_total is None
        store.update("job-1", cost_per_hour=7.2)
        job = store.job("job-1")
        assert job.cost_total == pytest.approx(7.2 * (job.elapsed_seconds or 0) / 3600)

    def test_unknown_jobs_are_said_in_one_line(self, store: Store) -> None:
        for call in (
            lambda: store.job("nobody"),
            lambda: store.update("nobody", phase="x"),
            lambda: store.ingest("nobody", a_run().bytes, 0),
            lambda: store.act("archive", ["nobody"]),
        ):
            with pytest.raises(NoSuchJob, match="nobody"):
                call()

    # ---- finding

    def test_a_job_is_found_by_id_name_or_a_unique_beginning(self, store: Store) -> None:
        store.add(a_job("abc-1", name="qwen-small"))
        store.add(a_job("abd-2", name="llama"))
        for text, wanted in (("abc-1", "abc-1"), ("llama", "abd-2"), ("qwen", "abc-1"), ("abd", "abd-2")):
            assert store.find(text).id == wanted

    def test_a_name_borne_by_several_means_the_newest_shown_one(self, store: Store) -> None:
        for at in range(3):
            store.add(
                a_job(f"job-{at}", name="demo", created_at=START + timedelta(hours=at), status=Status.FAILED)
            )
        assert store.find("demo").id == "job-2"
        assert store.find("dem").id == "job-2"
        store.act("archive", ["job-2"])
        assert store.find("demo").id == "job-1"
        store.act("delete", ["job-0", "job-1"])
        assert store.find("demo").id == "job-2"

    def test_an_exact_name_wins_over_longer_ones(self, store: Store) -> None:
        store.add(a_job("1", name="run"))
        store.add(a_job("2", name="run-2"))
        assert store.find("run").id == "1"

    def test_ambiguous_and_unknown_names_are_refused_with_the_near_ones(self, store: Store) -> None:
        store.add(a_job("1", name="qwen-a"))
        store.add(a_job("2", name="qwen-b"))
        with pytest.raises(NoSuchJob, match=r"2 jobs begin with 'qwen': qwen-b .*qwen-a"):
            store.find("qwen")
        with pytest.raises(NoSuchJob, match=r"Did you mean.*qwen-a"):
            store.find("qwne-a")
        with pytest.raises(NoSuchJob):
            store.find("")

    # ---- taking in events

    def test_the_row_of_a_finished_run_says_all_of_it(self, store: Store) -> None:
        told(store, a_run())
        job = store.job("job-1")
        assert (job.status, job.exit_code, job.progress) == (Status.COMPLETED, 0, 100)
        assert (job.current_step, job.total_steps, job.current_epoch) == (30, 30, 3)
        assert (job.loss, job.eval_loss, job.final_eval_loss) == (3, pytest.approx(3.2), pytest.approx(3.2))
        assert (job.best_step, job.best_epoch, job.best_checkpoint_path) == (
            30,
            3,
            "checkpoints/checkpoint-30",
        )
        assert job.best_eval_loss == pytest.approx(3.2)
        assert job.perplexity == pytest.approx(math.exp(3.2))
        assert (job.checkpoint_count, job.size_bytes) == (3, 3060)
        assert (job.total_tokens_processed, job.remaining_seconds, job.attempt) == (3000, 0, 1)
        assert job.started_at == START
        assert job.elapsed_seconds == 38
        assert job.completed_at == START + timedelta(seconds=38)
        assert job.cost_total == pytest.approx(0.038)

    def test_a_start_tells_configuration_and_facts(self, store: Store) -> None:
        wire = Wire().start(
            config={"training": {"epochs": 2, "batch_size": 4, "learning_rate": 0.0}, "lora": None},
            total_steps=50,
            samples={"train": 600, "eval": 120},
            data_sha256="ab12",
            versions={"torch": "2.8"},
        )
        told(store, wire, config={"training": {"epochs": 3, "seed": 7}, "lora": {"r": 16}})
        job = store.job("job-1")
        assert job.config == {
            "training": {"epochs": 2, "batch_size": 4, "learning_rate": 0.0, "seed": 7},
            "lora": None,
        }
        assert (job.total_steps, job.total_epochs, job.batch_size) == (50, 2, 4)
        assert (job.train_samples, job.val_samples) == (600, 120)
        assert job.metadata["data_sha256"] == "ab12"

    def test_a_repeated_delivery_changes_nothing(self, store: Store) -> None:
        wire = a_run()
        told(store, wire)
        before = store.job("job-1"), store.metric_rows("job-1"), store.events("job-1")
        again = store.ingest("job-1", wire.bytes, 0)
        assert (again.events, again.bad_lines, again.offset) == (0, 0, len(wire.bytes))
        assert (store.job("job-1"), store.metric_rows("job-1"), store.events("job-1")) == before

    def test_an_overlapping_delivery_adds_only_what_is_new(self, store: Store) -> None:
        wire = a_run()
        store.add(a_job())
        half = len(b"".join(wire.lines[:20]))
        assert store.ingest("job-1", wire.bytes[:half], 0).events == 20
        quarter = len(b"".join(wire.lines[:10]))
        assert store.ingest("job-1", wire.bytes[quarter:], quarter).events == len(wire.lines) - 20
        assert [event.seq for event in store.events("job-1")] == list(range(1, len(wire.lines) + 1))
        assert store.offset("job-1", FILE) == len(wire.bytes)

    def test_a_gap_is_refused_and_nothing_is_stored(self, store: Store) -> None:
        store.add(a_job())
        with pytest.raises(ValueError, match="from byte 10"):
            store.ingest("job-1", a_run().bytes, 10)
        assert store.offset("job-1", FILE) == 0
        assert store.events("job-1") == []

    def test_a_torn_tail_waits_for_its_rest(self, store: Store) -> None:
        store.add(a_job())
        wire = a_run()
        done = store.ingest("job-1", wire.bytes[:-5], 0)
        assert done.offset == len(wire.bytes) - len(wire.lines[-1])
        assert store.job("job-1").status is Status.RUNNING
        store.ingest("job-1", wire.bytes[done.offset :], done.offset)
        assert store.job("job-1").status is Status.COMPLETED

    def test_the_same_event_twice_in_the_file_counts_once(self, store: Store) -> None:
        wire = a_run()
        wire.lines[5:5] = wire.lines[2:5]
        told(store, wire)
        assert store.curve("job-1", "loss").total == 30
        assert len(store.events("job-1")) == len(wire.lines) - 3

    def test_bad_lines_are_counted_and_cost_no_event(self, store: Store) -> None:
        wire = a_run()
        wire.lines[3:3] = [b"{torn\n", b"\xff\xfe\n", b'{"v":99}\n', b"\n", b"[]\n"]
        store.add(a_job())
        done = store.ingest("job-1", wire.bytes, 0)
        assert (done.bad_lines, store.job("job-1").bad_lines) == (4, 4)
        assert store.job("job-1").status is Status.COMPLETED
        assert store.ingest("job-1", wire.bytes, 0).bad_lines == 0
        assert store.job("job-1").bad_lines == 4

    def test_listeners_hear_of_changes_once_they_are_stored(self, store: Store) -> None:
        heard: list[frozenset[str]] = []
        seen: list[Status] = []

        def listen(ids: frozenset[str]) -> None:
            heard.append(ids)
            seen.append(store.job("job-1").status)

        cancel = store.subscribe(listen)
        told(store, a_run())
        store.ingest("job-1", a_run().bytes, 0)
        cancel()
        store.update("job-1", phase="x")
        assert heard == [frozenset({"job-1"})] * 2
        assert seen == [Status.QUEUED, Status.COMPLETED]

    # ---- how a run goes

    def test_an_unknown_or_exceeded_total_is_none(self, store: Store) -> None:
        wire = Wire().start(total_steps=0, total_epochs=1.0).train(5, 1.0, epoch=3.0)
        told(store, wire)
        job = store.job("job-1")
        assert (job.current_step, job.total_steps, job.progress, job.remaining_seconds) == (
            5,
            None,
            None,
            None,
        )
        assert (job.current_epoch, job.total_epochs) == (3, None)
        wire.start(total_steps=10).train(20, 1.0)
        store.ingest("job-1", wire.bytes, 0)
        assert store.job("job-1").total_steps is None

    def test_the_time_left_follows_the_newest_pace(self, store: Store) -> None:
        wire = Wire().start(total_steps=1000)
        for step in range(1, 200):
            wire.seconds = step * 10 if step < 100 else 1000 + (step - 100) * 2
            wire.train(step, 1.0)
        told(store, wire)
        assert store.job("job-1").remaining_seconds == pytest.approx((1000 - 199) * 2)

    def test_waiting_and_pausing_cost_no_time(self, store: Store) -> None:
        wire = Wire().state(Status.QUEUED)
        wire.seconds = 1000
        wire.state(Status.RUNNING)
        wire.seconds = 1100
        wire.train(1, 1.0).state(Status.PAUSED)
        wire.seconds = 5000
        wire.state(Status.RUNNING)
        wire.seconds = 5010
        wire.train(2, 0.9)
        told(store, wire)
        assert store.job("job-1").elapsed_seconds == 111

    def test_a_clock_that_jumps_spoils_neither_time_nor_cost(self, store: Store) -> None:
        wire = Wire()
        wire.seconds = -50 * 365 * 86_400
        wire.state(Status.RUNNING).train(1, 1.0)
        wire.seconds = 0
        wire.train(2, 1.0).train(3, 1.0)
        wire.seconds = -500
        wire.train(4, 1.0)
        wire.seconds = 3
        wire.train(5, 1.0)
        told(store, wire)
        assert store.job("job-1").elapsed_seconds == 4
        assert [x for x, _ in values(store, "loss", axis="hours")] == sorted(
            x for x, _ in values(store, "loss", axis="hours")
        )

    def test_a_failure_is_told_with_its_advice_and_values_stay(self, store: Store) -> None:
        wire = a_run()
        wire.lines.pop()
        wire.state(Status.FAILED, error="out of memory", advice="Halve batch_size", exit_code=1)
        wire.write(EventType.HEARTBEAT)
        told(store, wire)
        job = store.job("job-1")
        assert (job.status, job.error_message) == (Status.FAILED, "out of memory. Halve batch_size")
        assert (job.failed_at, job.completed_at) != (None, None)
        assert (job.loss, job.progress, job.exit_code, job.remaining_seconds) == (3, 100, 1, None)

    def test_a_job_that_goes_on_after_a_failure_is_no_longer_failed(self, store: Store) -> None:
        wire = Wire().state(Status.RUNNING).state(Status.FAILED, error="no disk").state(Status.RUNNING)
        told(store, wire)
        job = store.job("job-1")
        assert (job.status, job.error_message, job.failed_at) == (Status.RUNNING, None, None)

    def test_gpu_utilization_is_the_mean_over_gpus_and_time_once_training_began(self, store: Store) -> None:
        wire = Wire().state(Status.RUNNING)
        gpus = [{"index": 0, "name": "A100", "utilization_percent": 0.0}, {"index": 1, "name": "A100"}]
        wire.write(EventType.HEARTBEAT, gpus=gpus).train(1, 1.0)
        for pair in ((80, 100), (60, None)):
            gpus = [{"index": at, "utilization_percent": used} for at, used in enumerate(pair)]
            wire.write(EventType.HEARTBEAT, gpus=gpus)
        told(store, wire)
        job = store.job("job-1")
        assert job.gpu_utilization_percent == 80
        assert (job.gpu_type, job.gpu_count) == ("A100", 2)

    # ---- attempts

    def test_the_later_attempt_wins_in_curves_and_rows(self, store: Store) -> None:
        wire = Wire().start()
        for step in range(10, 101, 10):
            wire.train(step, 1.0)
        wire.evaluate(60, 2.0).evaluate(100, 1.5)
        wire.attempt = 2
        wire.start(60).train(70, 0.5).train(80, 0.4)
        told(store, wire)
        assert values(store, "loss") == [
            (10, 1.0), (20, 1.0), (30, 1.0), (40, 1.0), (50, 1.0), (60, 1.0), (70, 0.5), (80, 0.4),
        ]  # fmt: skip
        assert values(store, "eval_loss") == [(60, 2.0)]
        assert {row["attempt"] for row in store.metric_rows("job-1") if row["step"] > 60} == {2}
        job = store.job("job-1")
        assert (job.current_step, job.attempt, job.best_eval_loss) == (80, 2, 2.0)

    def test_a_trainer_that_outlived_its_attempt_is_not_heard(self, store: Store) -> None:
        wire = Wire().train(1, 1.0)
        wire.attempt = 2
        wire.train(2, 0.9)
        wire.attempt = 1
        wire.train(3, 7.0).write(EventType.EVAL, 3, eval_loss=7.0)
        told(store, wire)
        assert values(store, "loss") == [(1, 1.0), (2, 0.9)]
        assert store.job("job-1").eval_loss is None

    def test_a_step_told_twice_by_one_attempt_is_completed(self, store: Store) -> None:
        wire = Wire().train(1, 1.0, grad_norm=2.0).train(1, 0.9, learning_rate=1e-4)
        told(store, wire)
        assert values(store, "loss") == [(1, 0.9)]
        assert values(store, "grad_norm") == [(1, 2.0)]
        assert values(store, "learning_rate") == [(1, 1e-4)]
        assert len(store.metric_rows("job-1")) == 1

    # ---- predictions

    def test_predictions_are_rows_and_a_later_attempts_replace_an_earlier_ones(self, store: Store) -> None:
        marks = {"exact_match": True, "validation_pass": False, "char_error_rate": 0.25, "latency_ms": 7.5}
        wire = Wire()
        for step, index in ((20, 0), (10, 1), (10, 0)):
            wire.write(EventType.PREDICTION, step, sample_index=index, prediction="old", **marks)
        wire.attempt = 2
        wire.write(EventType.PREDICTION, 10, sample_index=1, prediction="new", prompt_tokens=3)
        wire.write(EventType.PREDICTION, 10, prediction="of no sample")
        told(store, wire)
        rows = store.predictions("job-1")
        assert [(row["step"], row["sample_index"], row["prediction"]) for row in rows] == [
            (10, 0, "old"), (10, 1, "new"), (20, 0, "old"),
        ]  # fmt: skip
        assert {name: rows[0][name] for name in marks} == marks
        assert (rows[1]["prompt_tokens"], rows[1]["exact_match"]) == (3, None)
        assert store.predictions("job-1", step=20) == rows[2:]
        assert store.predictions("job-2") == []

    # ---- curves

    def test_a_long_curve_has_about_as_many_points_as_columns_and_loses_nothing(self, store: Store) -> None:
        wire = Wire()
        for step in range(1, 5001):
            wire.train(step, float((step * 7919) % 1009))
        told(store, wire)
        raw = [float((step * 7919) % 1009) for step in range(1, 5001)]
        for columns in (1, 7, 100, 400):
            curve = store.curve("job-1", "loss", columns=columns)
            assert columns / 2 <= len(curve.points) <= columns
            assert curve.total == sum(point.count for point in curve.points) == 5000
            assert min(point.low for point in curve.points) == min(raw)
            assert max(point.high for point in curve.points) == max(raw)
            weighted = sum(point.mean * point.count for point in curve.points)
            assert weighted == pytest.approx(sum(raw))
            assert [point.x for point in curve.points] == sorted(point.x for point in curve.points)

    def test_every_point_is_shown_where_there_is_room(self, store: Store) -> None:
        told(store, a_run())
        curve = store.curve("job-1", "loss", columns=30)
        assert curve.points == tuple(
            CurvePoint(step, 4 - step / 30, 4 - step / 30, 4 - step / 30, 1) for step in range(1, 31)
        )

    def test_a_window_shows_its_points_in_full_detail(self, store: Store) -> None:
        wire = Wire()
        for step in range(1, 3001):
            wire.train(step, float(step))
        told(store, wire)
        curve = store.curve("job-1", "loss", low=1000, high=1019, columns=50)
        assert [point.x for point in curve.points] == list(range(1000, 1020))
        assert curve.total == 3000
        assert store.curve("job-1", "loss", low=5000).points == ()
        assert store.curve("job-1", "loss", high=0).points == ()

    def test_a_window_comes_with_the_points_next_to_it(self, store: Store) -> None:
        wire = Wire()
        for step in range(1, 401):
            wire.train(step, float(step), **({"sparse": step / 100} if step % 100 == 0 else {}))
        told(store, wire)
        curve = store.curve("job-1", "sparse", low=120, high=180)
        assert curve.points == ()
        assert curve.before == CurvePoint(100, 1, 1, 1, 1)
        assert curve.after == CurvePoint(200, 2, 2, 2, 1)
        whole = store.curve("job-1", "sparse")
        assert (whole.before, whole.after) == (None, None)

    def test_a_place_on_one_axis_is_known_on_all(self, store: Store) -> None:
        told(store, a_run())
        here = store.place("job-1", "step", 20.4)
        assert here is not None
        assert here.step == 20
        assert here.epoch == pytest.approx(2)
        for axis in ("epoch", "tokens", "hours", "dollars"):
            there = here.on(axis)
            assert there is not None
            assert store.place("job-1", axis, there) == here
        assert here.ts is not None
        assert here.ts > START
        assert store.place("job-1", "step", 1e9).step == 30
        store.add(a_job("job-2", cost_per_hour=None))
        assert store.place("job-2", "step", 1) is None

    @pytest.mark.parametrize(
        ("axis", "last"),
        [("step", 30), ("epoch", 3), ("tokens", 3000), ("hours", 37 / 3600), ("dollars", 0.037)],
    )
    def test_curves_run_along_any_axis(self, store: Store, axis: Axis, last: float) -> None:
        told(store, a_run())
        curve = store.curve("job-1", "eval_loss", axis=axis)
        assert len(curve.points) == 3
        assert curve.points[-1].x == pytest.approx(last, rel=0.06)
        assert curve.axis == axis

    def test_without_a_price_there_are_no_points_over_dollars(self, store: Store) -> None:
        told(store, a_run(), cost_per_hour=None)
        assert store.curve("job-1", "loss", axis="dollars").points == ()

    def test_nan_leaves_a_gap_that_is_told(self, store: Store) -> None:
        wire = Wire()
        for step in range(1, 201):
            wire.train(step, {50: NAN, 51: math.inf, 52: "NaN"}.get(step, 1.0), grad_norm=1.0)
        told(store, wire)
        curve = store.curve("job-1", "loss")
        assert curve.bad == (50, 51, 52)
        assert len(curve.points) == 197
        assert curve.total == 200
        coarse = store.curve("job-1", "loss", columns=10)
        assert sum(point.count for point in coarse.points) == 197
        assert all(
            math.isfinite(value) for point in coarse.points for value in (point.low, point.mean, point.high)
        )
        assert coarse.bad
        rows = [row["train_loss"] for row in store.metric_rows("job-1") if 50 <= row["step"] <= 52]
        assert math.isnan(rows[0])
        assert rows[1] == math.inf

    def test_a_loss_that_is_nan_now_is_not_hidden(self, store: Store) -> None:
        told(store, Wire().train(1, 1.0).train(2, "NaN"))
        loss = store.job("job-1").loss
        assert loss is not None
        assert math.isnan(loss)
        assert math.isnan(store.jobs()[0].loss or 0)

    def test_metrics_name_everything_that_has_a_curve(self, store: Store) -> None:
        wire = Wire().train(1, 1.0, mean_token_accuracy=0.7, note="text", flag=True, perplexity=2.0)
        wire.evaluate(1, 1.5, perplexity=4.5, epoch=0.1)
        wire.write(EventType.HEARTBEAT, host={"cpu_percent": 50.0}, gpus=[{"index": 0, "power_w": 300.0}])
        told(store, wire)
        assert store.metrics("job-1") == [
            "loss", "mean_token_accuracy", "perplexity",
            "eval_loss", "eval_perplexity", "score",
            "cpu_percent", "gpu0_power_w",
        ]  # fmt: skip
        assert values(store, "mean_token_accuracy") == [(1, 0.7)]
        assert values(store, "perplexity") == [(1, 2.0)]
        assert values(store, "eval_perplexity") == [(1, 4.5)]
        assert values(store, "gpu0_power_w") == [(1, 300.0)]
        assert store.curve("job-1", "no_such_metric").points == ()

    # ---- what else follows

    def test_checkpoints_stand_as_the_scorer_says(self, store: Store) -> None:
        wire = Wire()
        # The lowest eval loss is overfitted: its gap costs it the first place.
        wire.evaluate(100, 1.0, 0.95).evaluate(200, 0.98, 0.2).evaluate(300, 1.4, 0.1)
        wire.write(EventType.CHECKPOINT, 300, path="checkpoints/checkpoint-300", removed=True)
        told(store, wire)
        found = {item.step: item for item in store.checkpoints("job-1")}
        assert [step for step, item in found.items() if item.is_best] == [100]
        assert [step for step, item in found.items() if item.is_lowest_eval_loss] == [200]
        assert found[300].path is None
        assert (found[300].eval_loss, found[300].train_loss, found[300].size_bytes) == (1.4, 0.1, 1300)
        assert found[100].verified
        assert found[100].score is not None
        assert found[100].score.total == pytest.approx(0.5 + 0.3 * 0.05 + math.e / 200 - 0.1)
        job = store.job("job-1")
        assert (job.best_step, job.best_eval_loss) == (100, 0.98)
        assert (job.checkpoint_count, job.size_bytes) == (2, 2300)

    def test_the_best_is_one_whose_files_are_there(self, store: Store) -> None:
        wire = Wire().evaluate(1, 0.5).evaluate(2, 0.9)
        wire.write(EventType.CHECKPOINT, 1, path="checkpoints/checkpoint-1", removed=True)
        told(store, wire)
        assert [item.is_best for item in store.checkpoints("job-1")] == [False, True]
        assert store.job("job-1").best_step == 2

    def test_events_are_read_by_type_and_from_the_end(self, store: Store) -> None:
        told(store, a_run())
        evals = store.events("job-1", {EventType.EVAL})
        assert [event.step for event in evals] == [10, 20, 30]
        assert evals[0].data["score"]["formula"] == "multi-metric/1"
        assert [event.step for event in store.events("job-1", {"train"}, limit=2)] == [29, 30]
        newest = store.events("job-1", limit=1)[0].seq
        assert [event.seq for event in store.events("job-1", after=newest - 2)] == [newest - 1, newest]
        assert store.events("job-1", set()) == []

    def test_host_samples_alerts_and_verdicts_come_from_the_events(self, store: Store) -> None:
        wire = Wire()
        for used in range(5):
            gpus = [{"index": 0, "name": "A100", "memory_used_gb": float(used), "power_w": None}]
            wire.write(
                EventType.HEARTBEAT, host={"cpu_percent": 10.0 * used, "disk_free_gb": "n/a"}, gpus=gpus
            )
        wire.write(EventType.HEARTBEAT)
        wire.write(EventType.ALERT, 7, alert="loss_spike", severity="loud", message="z 9.1")
        wire.write(EventType.TREND, 8, verdict="plateau", evidence="slope 0 ± 1 %")
        told(store, wire)
        samples = store.host_samples("job-1", limit=4)
        assert [sample.cpu_percent for sample in samples] == [20, 30, 40]
        earlier = store.host_samples("job-1", until=samples[1].ts)
        assert [sample.cpu_percent for sample in earlier] == [0, 10, 20, 30]
        assert samples[-1].disk_free_gb is None
        assert (samples[-1].gpus[0].memory_used_gb, samples[-1].gpus[0].power_w) == (4, None)
        alert = store.alerts("job-1")[0]
        assert (alert.alert, alert.severity, alert.message, alert.step) == (
            "loss_spike",
            "warning",
            "z 9.1",
            7,
        )
        assert store.alerts() == [alert]
        trend = store.trend("job-1")
        assert trend is not None
        assert (trend.verdict, trend.step, store.job("job-1").loss_trend) == ("plateau", 8, "plateau")
        store.add(a_job("job-2"))
        assert store.trend("job-2") is None

    # ---- archive, restore, delete, undo

    def test_archived_and_deleted_jobs_are_hidden_and_kept(self, store: Store) -> None:
        for at in range(3):
            store.add(a_job(f"job-{at}", status=Status.COMPLETED))
        assert store.act("archive", ["job-0"]).job_ids == ("job-0",)
        assert store.act("delete", ["job-1"]).job_ids == ("job-1",)

        def ids(**shown: bool) -> set[str]:
            return {job.id for job in store.jobs(**shown)}

        assert ids() == {"job-2"}
        assert ids(archived=True) == {"job-0", "job-2"}
        assert ids(deleted=True) == {"job-1", "job-2"}
        assert store.act("restore", ["job-0", "job-1", "job-2"]).job_ids == ("job-0", "job-1")
        assert ids() == {"job-0", "job-1", "job-2"}

    def test_a_live_job_is_not_deleted_and_neither_are_its_fellows(self, store: Store) -> None:
        store.add(a_job("job-1", status=Status.COMPLETED))
        store.add(a_job("job-2", name="alive", status=Status.RUNNING))
        with pytest.raises(BadInput, match=r"alive is running.*Stop it first"):
            store.act("delete", ["job-1", "job-2"])
        assert not store.job("job-1").deleted
        assert store.undo() is None

    def test_undo_takes_back_the_last_actions_one_by_one(self, store: Store) -> None:
        for at in range(3):
            store.add(a_job(f"job-{at}", status=Status.COMPLETED))
        store.act("archive", ["job-0", "job-1"])
        store.act("archive", ["job-1", "job-2"])
        done = store.undo()
        assert done is not None
        assert (done.action, done.job_ids) == ("archive", ("job-2",))
        assert [store.job(f"job-{at}").archived for at in range(3)] == [True, True, False]
        assert store.undo() is not None
        assert [store.job(f"job-{at}").archived for at in range(3)] == [False, False, False]
        assert store.undo() is None

    def test_undo_restores_when_something_was_archived_before(self, store: Store) -> None:
        store.add(a_job(status=Status.COMPLETED))
        store.act("archive", ["job-1"])
        archived_at = store.job("job-1").archived_at
        store.act("delete", ["job-1"])
        store.act("restore", ["job-1"])
        store.undo()
        job = store.job("job-1")
        assert (job.archived_at, job.deleted) == (archived_at, True)

    def test_undo_leaves_alone_what_somebody_changed_since(self, store: Store, connect: Connect) -> None:
        for at in range(2):
            store.add(a_job(f"job-{at}", status=Status.COMPLETED))
        store.act("archive", ["job-0", "job-1"])
        connect().update("job-0", archived_at=None)
        done = store.undo()
        assert done is not None
        assert done.job_ids == ("job-1",)

    def test_an_action_that_changes_nothing_is_not_there_to_undo(self, store: Store) -> None:
        store.add(a_job(status=Status.COMPLETED))
        store.act("archive", ["job-1"])
        assert store.act("archive", ["job-1", "job-1"]).job_ids == ()
        store.undo()
        assert not store.job("job-1").archived

    # ---- what the app remembers

    def test_comparisons_and_settings_are_remembered(self, store: Store, connect: Connect) -> None:
        old = SavedComparison("c1", "sweep", ("a", "b"), START)
        new = SavedComparison("c2", "later", ("c",), START + timedelta(days=1), "c", "notes")
        for comparison in (old, new, replace(old, name="lr sweep")):
            store.save_comparison(comparison)
        store.set_setting("theme", {"name": "dark", "marks": [1, 2]})
        store.set_setting("theme", {"name": "light"})
        other = connect()
        assert other.comparisons() == [new, replace(old, name="lr sweep")]
        assert other.setting("theme") == {"name": "light"}
        assert other.setting("unset", 7) == 7

    def test_a_saved_comparison_can_be_forgotten(self, store: Store, connect: Connect) -> None:
        for name in ("c1", "c2"):
            store.save_comparison(SavedComparison(name, name, ("job-1",), START))
        store.add(a_job())
        store.delete_comparison("c1")
        store.delete_comparison("never there")
        assert [found.id for found in connect().comparisons()] == ["c2"]
        assert store.job("job-1").id == "job-1"

    # ---- metrics in four numbers

    def test_a_metric_has_its_last_least_and_greatest_value_and_that_at_a_step(self, store: Store) -> None:
        told(store, a_run(3000))
        found = store.summaries("job-1", best_step=1234)["loss"]
        assert found == MetricSummary(3.0, 3.0, 4 - 1 / 3000, 4 - 1234 / 3000)
        evals = store.summaries("job-1", best_step=1239)["eval_loss"]
        assert evals.at_best == 4.2 - 1230 / 3000
        assert store.summaries("job-1")["loss"].at_best is None

    def test_what_is_no_number_counts_for_none_of_the_four(self, store: Store) -> None:
        wire = Wire().start().train(1, 3.0).train(2, "NaN").train(3, 2.0).train(4, "Infinity")
        told(store, wire)
        assert store.summaries("job-1", best_step=2)["loss"] == MetricSummary(2.0, 2.0, 3.0, 3.0)

    def test_predictions_count_by_the_mean_of_a_step(self, store: Store) -> None:
        wire = Wire().start()
        for step, marks in ((10, (0, 0)), (20, (1, 0)), (30, (0, 0))):
            for index, mark in enumerate(marks):
                wire.write(
                    EventType.PREDICTION, step, sample_index=index, prompt="p", prediction="q",
                    exact_match=bool(mark),
                )  # fmt: skip
        told(store, wire)
        found = store.summaries("job-1", best_step=20)["prediction_exact_match"]
        assert found == MetricSummary(0.0, 0.0, 0.5, 0.5)

    def test_a_job_that_has_told_nothing_has_no_summaries(self, store: Store) -> None:
        store.add(a_job())
        assert store.summaries("job-1", best_step=3) == {}

    def test_threads_share_one_store(self, store: Store) -> None:
        for at in range(8):
            store.add(a_job(f"job-{at}"))
        wire, wrong = a_run(), []

        def work(job_id: str) -> None:
            at = 0
            for line in wire.lines:
                at = store.ingest(job_id, line, at).offset
                store.jobs()
            if store.curve(job_id, "loss").total != 30:
                wrong.append(job_id)

        threads = [threading.Thread(target=work, args=(f"job-{at}",)) for at in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert wrong == []
        assert {job.status for job in store.jobs()} == {Status.COMPLETED}
