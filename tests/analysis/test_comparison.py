"""Runs side by side: what is best of each row, what differs, and which run to keep."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.analysis.comparison import Comparison, Row, Statistic, compare
from engine.errors import BadInput
from engine.job.events import Status
from engine.records import Job, MetricSummary
from tests.analysis.made import NAN, a_run, checkpoints, with_config


def row(comparison: Comparison, name: str) -> Row:
    return next(item for item in comparison.rows if item.name == name)


def best(comparison: Comparison, name: str) -> list[bool]:
    return [cell.best for cell in row(comparison, name).cells]


def values(comparison: Comparison, name: str) -> list[float | None]:
    return [cell.value for cell in row(comparison, name).cells]


def text(comparison: Comparison) -> str:
    advice = comparison.recommendation
    return "\n".join((advice.headline, *advice.reasons, *advice.caveats))


# ---- the table


def test_the_primary_rows_are_those_that_people_asked_for_and_come_first() -> None:
    names = [item.name for item in compare([a_run()], {}).rows]
    primary = [item.name for item in compare([a_run()], {}).rows if item.primary]
    assert primary == [
        "best_eval_loss", "best_epoch", "elapsed_seconds", "cost_total", "cost_after_best",
        "gpu_utilization_percent", "final_perplexity",
    ]  # fmt: skip
    assert names[: len(primary)] == primary
    assert len(set(names)) == len(names)


def test_the_best_of_a_row_is_the_lowest_or_the_highest_as_the_metric_wants() -> None:
    jobs = [
        a_run(1, 0.9, gpu_utilization_percent=70.0, elapsed_seconds=100.0),
        a_run(2, 0.7, gpu_utilization_percent=90.0, elapsed_seconds=200.0),
    ]
    found = compare(jobs, {})
    assert best(found, "best_eval_loss") == [False, True]
    assert best(found, "gpu_utilization_percent") == [False, True]
    assert best(found, "elapsed_seconds") == [True, False]
    assert best(found, "best_epoch") == [False, False]


def test_runs_that_tie_exactly_are_both_best() -> None:
    found = compare([a_run(1, 0.7), a_run(2, 0.7), a_run(3, 0.9)], {})
    assert best(found, "best_eval_loss") == [True, True, False]
    assert {item.advice for item in found.recommendation.worse[:2]} == {"keep"}


def test_deltas_are_relative_to_the_reference_which_has_none() -> None:
    jobs = [a_run(1, 0.8, cost_total=4.0), a_run(2, 1.0, cost_total=3.0)]
    found = compare(jobs, {}, reference="job-2")
    assert found.reference == "job-2"
    assert row(found, "best_eval_loss").cells[0].delta == pytest.approx(-0.2)
    assert row(found, "best_eval_loss").cells[1].delta is None
    assert row(found, "cost_total").cells[0].delta == pytest.approx(1 / 3)


def test_the_best_run_is_the_reference_unless_one_of_the_runs_is_named() -> None:
    jobs = [a_run(1, 0.8), a_run(2, 0.7)]
    assert compare(jobs, {}).reference == "job-2"
    assert compare(jobs, {}, reference="not among them").reference == "job-2"
    assert compare([a_run(1, None), a_run(2, None)], {}).reference == "job-1"


def test_unknown_values_are_none_and_never_best() -> None:
    old = Job(id="old", name="old", status=Status.COMPLETED, created_at=a_run().created_at)
    found = compare([old, a_run(1, 0.8), a_run(2, 0.9)], {})
    assert all(item.cells[0].value is None for item in found.rows)
    assert not any(item.cells[0].best for item in found.rows)
    assert row(found, "best_eval_loss").cells[0].delta is None


def test_nothing_is_best_where_only_one_run_has_a_value() -> None:
    found = compare([a_run(1, 0.8), a_run(2, None)], {})
    assert best(found, "best_eval_loss") == [False, False]


@pytest.mark.parametrize("broken", [NAN, math.inf, -math.inf])
def test_a_value_that_is_not_finite_is_shown_and_never_best(broken: float) -> None:
    found = compare([a_run(1, broken), a_run(2, 0.9), a_run(3, 0.8)], {})
    assert best(found, "best_eval_loss") == [False, False, True]
    assert row(found, "best_eval_loss").cells[0].delta is None
    assert found.recommendation.job_id == "job-3"
    assert found.recommendation.worse[0].advice == "unknown"


@pytest.mark.parametrize("status", [Status.FAILED, Status.RUNNING, Status.CANCELLED, Status.PAUSED])
def test_a_run_that_did_not_go_to_its_end_is_not_called_the_cheapest(status: Status) -> None:
    jobs = [a_run(1, status=status, cost_total=0.1, elapsed_seconds=9.0), a_run(2), a_run(3, cost_total=5.0)]
    found = compare(jobs, {})
    assert best(found, "cost_total") == [False, True, False]
    assert best(found, "elapsed_seconds") == [False, True, True]


def test_a_single_run_has_no_best_rows() -> None:
    job = a_run()
    found = compare([job], {job.id: checkpoints(job, [1.2, 1.0])})
    assert not any(cell.best for item in found.rows for cell in item.cells)
    assert "no other run" in found.recommendation.headline
    assert found.recommendation.job_id == job.id


def test_no_runs_at_all_are_refused() -> None:
    with pytest.raises(BadInput, match="no runs"):
        compare([], {})


def test_derived_rows_follow_from_checkpoints() -> None:
    job = a_run(1, 1.0, cost_total=4.0, best_epoch=3.0)
    found = compare([job, a_run(2, 1.5)], {job.id: checkpoints(job, [2.0, 1.5, 1.0, 1.3], train=0.8)})
    assert values(found, "improvement_per_hour")[0] == pytest.approx(0.5)
    assert values(found, "improvement_per_epoch")[0] == pytest.approx(0.5)
    assert values(found, "cost_per_hundredth")[0] == pytest.approx(0.04)
    assert values(found, "gap_percent")[0] == pytest.approx(20)
    assert values(found, "final_perplexity")[0] == pytest.approx(math.e)
    assert values(found, "cost_after_best")[0] == pytest.approx(1.0)
    assert values(found, "worse_percent") == [0, pytest.approx(50)]
    assert sum(
        values(found, f"score_{part}")[0] or 0 for part in ("eval_loss", "gap", "perplexity", "bonus")
    ) == (
        pytest.approx(checkpoints(job, [2.0, 1.5, 1.0, 1.3], train=0.8)[2].score.total)  # type: ignore[union-attr]
    )


def test_what_was_spent_after_the_best_is_never_more_than_all() -> None:
    job = a_run(1, 1.0, elapsed_seconds=60.0, cost_total=0.03)
    found = compare([job], {job.id: checkpoints(job, [1.0, 1.1])})
    assert values(found, "cost_after_best") == [pytest.approx(0.03)]


def test_the_order_of_checkpoints_does_not_matter() -> None:
    job = a_run()
    saved = checkpoints(job, [1.5, 1.0, 1.2])
    assert compare([job], {job.id: saved}) == compare([job], {job.id: saved[::-1]})


finite = st.one_of(st.none(), st.floats(allow_nan=True, allow_infinity=True))


@given(st.lists(st.tuples(finite, finite, finite, st.sampled_from(Status)), min_size=1, max_size=6))
def test_any_numbers_compare_without_an_error(
    runs: list[tuple[float | None, float | None, float | None, Status]],
) -> None:
    jobs = [
        a_run(at, loss, cost_total=cost, elapsed_seconds=time, status=status)
        for at, (loss, cost, time, status) in enumerate(runs)
    ]
    found = compare(
        jobs, {job.id: checkpoints(job, [1.0, loss or 0.0]) for job in jobs if (loss := job.best_eval_loss)}
    )
    assert all(len(item.cells) == len(jobs) for item in found.rows)
    assert len(found.recommendation.worse) == len(jobs)
    marked = [cell.value for cell in row(found, "best_eval_loss").cells if cell.best]
    assert len(set(marked)) <= 1


# ---- values from curves

SUMMARIES = {
    "job-1": {
        "loss": MetricSummary(0.5, 0.4, 3.0, 0.6),
        "eval_rewards/accuracies": MetricSummary(0.8, 0.5, 0.9, 0.85),
        "prediction_char_error_rate": MetricSummary(0.3, 0.2, 0.9, 0.25),
        "eval_entropy": MetricSummary(1.0, 0.5, 2.0, 1.5),
    },
    "job-2": {"loss": MetricSummary(0.7, 0.6, 2.0, 0.65), "score": MetricSummary(0.4, 0.3, 0.9, 0.3)},
}


@pytest.mark.parametrize(
    ("statistic", "train", "accuracy", "said"),
    [
        ("last", [0.5, 0.7], 0.8, "train loss, last"),
        ("min", [0.4, 0.6], 0.5, "train loss, lowest"),
        ("max", [3.0, 2.0], 0.9, "train loss, highest"),
        ("best", [0.6, 0.65], 0.85, "train loss, at the best checkpoint"),
    ],
)
def test_values_from_curves_are_the_last_least_greatest_or_those_at_the_best(
    statistic: Statistic, train: list[float], accuracy: float, said: str
) -> None:
    found = compare([a_run(1), a_run(2)], {}, summaries=SUMMARIES, statistic=statistic)
    assert values(found, "train_loss") == train
    assert row(found, "train_loss").label == said
    assert values(found, "eval_rewards/accuracies") == [accuracy, None]
    assert values(found, "best_eval_loss") == [1.0, 1.0]
    assert found.statistic == statistic


def test_every_metric_that_any_run_has_is_a_row_with_its_direction() -> None:
    found = compare([a_run(1), a_run(2)], {}, summaries=SUMMARIES)
    directions = {item.name: item.direction for item in found.rows}
    assert directions["eval_rewards/accuracies"] == "high"
    assert directions["prediction_char_error_rate"] == "low"
    assert directions["eval_entropy"] == "none"
    assert directions["score"] == "low"
    names = [item.name for item in found.rows]
    assert len(set(names)) == len(names)


def test_a_newest_loss_that_is_no_number_is_not_passed_over() -> None:
    job = a_run(1, loss=NAN)
    found = compare([job, a_run(2)], {}, summaries=SUMMARIES)
    assert math.isnan(values(found, "train_loss")[0] or 0.0)


# ---- what differs


def test_only_what_differs_is_listed_with_data_and_versions() -> None:
    one = a_run(
        1, metadata={"code_sha256": "c1", "data_sha256": "aa", "versions": {"torch": "2.8", "trl": "1.16"}}
    )
    two = with_config(
        a_run(
            2,
            metadata={"code_sha256": "c2", "data_sha256": "bb", "versions": {"torch": "2.9", "trl": "1.16"}},
            gpu_type="A100",
        ),
        training={"learning_rate": 5e-4},
        lora=None,
    )
    found = {item.key: item.values for item in compare([one, two], {}).differences}
    assert found == {
        "learning_rate": (2e-4, 5e-4),
        "lora.r": (16, None),
        "code sha": ("c1", "c2"),
        "dataset sha": ("aa", "bb"),
        "versions.torch": ("2.8", "2.9"),
    }


def test_a_run_that_has_told_nothing_yet_differs_in_its_settings_alone() -> None:
    queued = with_config(a_run(2, None, status=Status.QUEUED, metadata={}), training={"seed": 1})
    begun = replace(a_run(1, gpu_type="A100"), metadata={"data_sha256": "aa", "versions": {"torch": "2.8"}})
    assert [item.key for item in compare([begun, queued], {}).differences] == ["seed"]


def test_equal_numbers_of_other_types_do_not_differ_but_yes_and_one_do() -> None:
    one, two = with_config(a_run(1), training={"epochs": 3}), with_config(a_run(2), training={"epochs": 3.0})
    assert compare([one, two], {}).differences == ()
    one, two = (
        with_config(a_run(1), training={"packing": True}),
        with_config(a_run(2), training={"packing": 1}),
    )
    assert [item.key for item in compare([one, two], {}).differences] == ["packing"]


def test_lists_are_one_value_and_names_and_tags_do_not_count() -> None:
    one = with_config(a_run(1), lora={"target_modules": ["q", "k"]}, name="a", tags=["x"])
    two = with_config(a_run(2), lora={"target_modules": ["q"]}, name="b", tags=[])
    assert [item.key for item in compare([one, two], {}).differences] == ["lora.target_modules"]


def test_the_path_of_data_with_the_same_hash_does_not_count() -> None:
    jobs = [a_run(1), with_config(a_run(2), dataset={"path": "/elsewhere.jsonl"})]
    assert compare(jobs, {}).differences == ()
    unhashed = [replace(job, metadata={}) for job in jobs]
    assert [item.key for item in compare(unhashed, {}).differences] == ["dataset.path"]


# ---- the recommendation


def test_the_best_run_and_its_checkpoint_are_recommended_with_numbers() -> None:
    jobs = [a_run(1, 0.9041, cost_total=3.5), a_run(2, 0.6686)]
    saved = {"job-2": checkpoints(jobs[1], [1.0, 0.6686, 0.8])}
    found = compare(jobs, saved)
    advice = found.recommendation
    assert (advice.job_id, advice.step, advice.comparable) == ("job-2", 200, True)
    assert advice.headline == "Keep run-02, checkpoint 200."
    assert advice.reasons == (
        "Its lowest eval loss 0.6686 is 26 % below 0.9041 of run-01.",
        "Checkpoint 200 has the best score 0.2665, eval loss 0.6686 and a gap to the train loss of 7.5 %.",
        "It cost $0.50 more than run-01.",
        "It gained 0.166 of eval loss an hour, $0.12 for each 0.01.",
        "Stop after epoch 2 next time: the last $2.00 (50 %) bought nothing.",
    )
    assert advice.caveats == ()
    assert len(advice.changes) == 1
    assert advice.changes[0].startswith("run-01 would have to come 26 % lower")
    assert advice.changes[0].endswith("to be kept instead.")


def test_price_time_and_efficiency_are_told_beside_the_others() -> None:
    jobs = [a_run(1, 0.5, elapsed_seconds=7200.0), a_run(2, 0.9, cost_total=3.0, elapsed_seconds=3600.0)]
    saved = {job.id: checkpoints(job, [2.5, job.best_eval_loss or 0.0]) for job in jobs}
    said = text(compare(jobs, saved))
    assert "It cost $1.00 more and took 1 h 00 min longer than run-02." in said
    assert "It gained 1 of eval loss an hour, $0.02 for each 0.01; run-02 gained 1.6." in said


def test_nothing_is_said_to_change_it_where_all_others_tie() -> None:
    assert compare([a_run(1, 0.7), a_run(2, 0.7)], {}).recommendation.changes == ()


def test_it_says_when_the_score_overrules_the_lowest_eval_loss() -> None:
    job = a_run(1, 0.98)
    saved = checkpoints(job, [1.0, 0.98])
    saved = [saved[0], replace(saved[1], is_best=False), *saved[2:]]
    saved[0] = replace(saved[0], is_best=True)
    found = compare([job, a_run(2, 2.0)], {job.id: saved})
    assert found.recommendation.step == 100
    assert "The lowest eval loss is at checkpoint 200, 0.9800" in text(found)


def test_standings_warn_and_offer_archiving_beyond_the_thresholds() -> None:
    jobs = [a_run(1, 1.0), a_run(2, 1.25), a_run(3, 1.26), a_run(4, 1.5), a_run(5, 1.51), a_run(6, None)]
    advice = [item.advice for item in compare(jobs, {}).recommendation.worse]
    assert advice == ["keep", "look", "warn", "warn", "archive", "unknown"]
    strict = compare(jobs, {}, warn_above=0.1, archive_above=0.2).recommendation.worse
    assert [item.advice for item in strict] == ["keep", "archive", "archive", "archive", "archive", "unknown"]
    assert strict[1].worse == pytest.approx(0.25)


def test_a_live_run_is_looked_at_not_archived() -> None:
    found = compare([a_run(1, 1.0), a_run(2, 9.0, status=Status.RUNNING)], {})
    assert found.recommendation.worse[1].advice == "look"
    assert "run-02 is still going and may yet be better." in found.recommendation.caveats


def test_exact_ties_go_to_the_better_score_then_the_cheaper_run() -> None:
    jobs = [a_run(1, 0.7, cost_total=2.0), a_run(2, 0.7, cost_total=1.0)]
    assert compare(jobs, {}).recommendation.job_id == "job-2"
    jobs = [replace(jobs[0], best_checkpoint_score=0.3), replace(jobs[1], best_checkpoint_score=0.4)]
    found = compare(jobs, {})
    assert found.recommendation.job_id == "job-1"
    assert "exactly that of run-02" in text(found)
    assert "run-02 can't be told from it" in text(found)


def test_runs_within_the_noise_are_called_tied_and_the_cheaper_one_is_named() -> None:
    noisy = [1.02, 0.96, 1.03, 0.97, 1.01, 0.95, 1.04]
    jobs = [a_run(1, 0.95), a_run(2, 0.96, cost_total=1.0), a_run(3, 3.0)]
    saved = {job.id: checkpoints(job, noisy) for job in jobs[:2]}
    caveats = compare(jobs, saved).recommendation.caveats
    assert any(
        "run-02 can't be told from it" in item and "run-02 cost $3.00 less" in item for item in caveats
    )
    assert not any("run-03" in item for item in caveats)
    assert "noise ±" in text(compare(jobs, saved))


def test_a_better_run_that_was_cut_short_is_recommended_with_a_caveat() -> None:
    job = a_run(1, 0.8, status=Status.FAILED, progress=60.0)
    found = compare([job, a_run(2, 0.9)], {job.id: checkpoints(job, [1.0, 0.9, 0.8])})
    assert found.recommendation.job_id == "job-1"
    assert "run-01 failed at 60 %, and was still getting better: it was cut short, yet it is ahead." in text(
        found
    )


def test_a_run_that_was_best_at_its_very_end_may_go_on() -> None:
    job = a_run(1, 0.8)
    found = compare([job, a_run(2, 0.9)], {job.id: checkpoints(job, [1.0, 0.9, 0.8])})
    assert "may not have been trained long enough" in text(found)


def test_missing_files_of_the_recommended_checkpoint_are_told() -> None:
    job = a_run(1, 0.8)
    saved = [replace(item, path=None) for item in checkpoints(job, [1.0, 0.8, 0.9])]
    assert "The files of checkpoint 200 are gone." in text(compare([job, a_run(2)], {job.id: saved}))


def test_without_any_evaluation_nothing_is_recommended() -> None:
    found = compare([a_run(1, None, status=Status.FAILED), a_run(2, None, status=Status.RUNNING)], {})
    assert (found.recommendation.job_id, found.recommendation.comparable) == (None, True)
    assert "No run has an evaluation yet." in text(found)


def test_a_failed_run_without_evaluation_is_mentioned() -> None:
    found = compare([a_run(1), a_run(2, None, status=Status.FAILED)], {})
    assert "There is no evaluation of run-02." in found.recommendation.caveats


@pytest.mark.parametrize(
    ("other", "said"),
    [
        (a_run(2, metadata={"data_sha256": "cd" * 32}), "The evaluation data differ"),
        (a_run(2, metadata={"data_sha256": "ab" * 32, "eval_sha256": "ff"}), "The evaluation data differ"),
        (with_config(a_run(2), training={"seed": 7}), "split by seed 42 in run-01"),
        (with_config(a_run(2), dataset={"train_split": 0.9}), "The evaluation data differ"),
        (with_config(a_run(2), model={"name": "Llama"}), "The tokenizers differ"),
        (with_config(a_run(2), model={"chat_template": "{{ x }}"}), "The tokenizers differ"),
        (with_config(a_run(2), method="dpo"), "The losses differ: sft in run-01, dpo in run-02."),
        (with_config(a_run(2), training={"max_length": 512}), "2048 tokens in run-01, 512 tokens in run-02."),
    ],
)  # fmt: skip
def test_runs_whose_losses_mean_different_things_are_refused(other: Job, said: str) -> None:
    found = compare([a_run(1, 0.5), other], {})
    advice = found.recommendation
    assert (advice.job_id, advice.step, advice.comparable) == (None, None, False)
    assert "can't be compared" in advice.headline
    assert said in text(found)
    assert {item.advice for item in advice.worse} == {"unknown"}
    assert best(found, "best_eval_loss") == [False, False]
    assert [cell.delta for cell in row(found, "best_eval_loss").cells] == [None, None]
    assert "still can be" in text(found)
    assert "Evaluated on the same rows" in advice.changes[0]


def test_what_can_be_compared_still_is_when_the_losses_can_not() -> None:
    jobs = [a_run(1, cost_total=1.0), with_config(a_run(2, cost_total=2.0), training={"max_length": 512})]
    assert best(compare(jobs, {}), "cost_total") == [True, False]


def test_the_same_evaluation_data_allow_other_training_data() -> None:
    one = replace(a_run(1), metadata={"data_sha256": "aa", "eval_sha256": "ee"})
    two = replace(a_run(2), metadata={"data_sha256": "bb", "eval_sha256": "ee"})
    assert compare([one, two], {}).recommendation.comparable
    apart = [
        with_config(replace(job, metadata={"data_sha256": sha}), dataset={"eval_path": "/eval.jsonl"})
        for job, sha in ((a_run(1), "aa"), (a_run(2), "bb"))
    ]
    assert compare(apart, {}).recommendation.comparable


def test_models_built_alike_from_the_same_rows_have_the_same_tokenizer_whatever_they_are_called() -> None:
    jobs = [
        with_config(a_run(at), model={"name": f"demo-{at}", "build": {"vocab_size": 1024}}) for at in (1, 2)
    ]
    assert compare(jobs, {}).recommendation.comparable


def test_a_run_without_an_evaluation_is_no_reason_to_refuse() -> None:
    waiting = with_config(a_run(2, None, status=Status.QUEUED, metadata={}), training={"max_length": 512})
    found = compare([a_run(1), waiting], {})
    assert (found.recommendation.job_id, found.recommendation.comparable) == ("job-1", True)
    assert found.recommendation.caveats == ("run-02 is still going and may yet be better.",)


def test_what_is_not_known_to_be_the_same_is_a_caveat() -> None:
    found = compare([a_run(1), replace(a_run(2), metadata={})], {})
    assert found.recommendation.comparable
    assert "The evaluation data of run-02 are not known to be the same." in found.recommendation.caveats


def test_runs_of_one_name_are_told_apart_by_their_numbers() -> None:
    found = compare([a_run(1, 0.9, name="demo"), a_run(2, 0.7, name="demo")], {})
    assert found.recommendation.headline == "Keep demo #2, checkpoint 200."


def test_losses_at_or_below_zero_have_no_percentages() -> None:
    found = compare([a_run(1, -0.5), a_run(2, 0.3)], {})
    assert found.recommendation.job_id == "job-1"
    assert [item.worse for item in found.recommendation.worse] == [None, None]
