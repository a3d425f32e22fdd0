"""What changed together with the result, over the runs of a model."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import pytest

from engine.analysis.comparison import Correlation, compare
from engine.analysis.correlation import Together, correlations, ranks, spearman
from engine.analysis.families import family_of
from engine.job.events import Status
from engine.records import Job
from tests.analysis.made import a_run, with_config


def sweep(losses: dict[float, float], **changes: Any) -> list[Job]:
    """A run for each learning rate."""
    return [
        with_config(a_run(at, loss, **changes), training={"learning_rate": rate})
        for at, (rate, loss) in enumerate(losses.items(), 1)
    ]


def test_ties_share_the_mean_of_their_ranks() -> None:
    assert ranks([10, 30, 20, 30]) == [1, 3.5, 2, 3.5]


def test_the_coefficient_is_that_of_the_textbook() -> None:
    # Spearman's rho by 1 - 6 sum(d^2) / n(n^2 - 1): d = (1, -1, 0, 0) over 4 ranks.
    assert spearman([1, 2, 3, 4], [2, 1, 3, 4]) == pytest.approx(1 - 6 * 2 / (4 * 15))
    assert spearman([1, 2, 3], [1, 8, 27]) == pytest.approx(1)
    assert spearman([1, 1, 1], [1, 2, 3]) is None
    assert spearman([1], [1]) is None


def test_a_setting_that_rises_with_the_loss_correlates_whatever_the_scale() -> None:
    jobs = sweep({1e-5: 0.5, 1e-4: 0.6, 1e-3: 0.9, 1e-2: 3.0})
    assert correlations(jobs, "job-1") == (Correlation("learning_rate", pytest.approx(1.0), 4, True),)


def test_many_runs_are_not_called_few() -> None:
    jobs = sweep({rate / 1e4: 1 + rate for rate in range(1, 13)})
    (found,) = correlations(jobs, "job-1")
    assert (found.runs, found.few) == (12, False)


def test_seeds_names_and_settings_that_never_change_are_left_out() -> None:
    assert correlations([a_run(at, 1.0 + at) for at in range(6)], "job-0") == ()


def test_runs_that_live_have_no_loss_or_cannot_be_compared_do_not_count() -> None:
    jobs = sweep({1e-5: 0.5, 1e-4: 0.6, 1e-3: 0.9, 1e-2: 3.0})
    odd = [
        with_config(a_run(10, 0.1, status=Status.RUNNING), training={"learning_rate": 1.0}),
        with_config(a_run(11, None), training={"learning_rate": 1.0}),
        with_config(a_run(12, 0.1), training={"learning_rate": 1.0, "max_length": 512}),
    ]
    assert correlations([*jobs, *odd], "job-1") == correlations(jobs, "job-1")


def test_the_last_answer_is_given_again_until_a_run_that_counts_changes() -> None:
    together, jobs = Together(), sweep({1e-5: 0.5, 1e-4: 0.6, 1e-3: 0.9, 1e-2: 3.0})
    first = together(jobs, "job-1")
    assert first == correlations(jobs, "job-1")
    live = with_config(a_run(9, 0.1, status=Status.RUNNING), training={"learning_rate": 1.0})
    assert together([live, *jobs[::-1]], "job-2") is first
    worse = [*jobs[:3], replace(jobs[3], best_eval_loss=0.1)]
    assert together(worse, "job-1") == correlations(worse, "job-1") != first
    assert together(worse, None) == ()


def test_three_runs_or_no_best_run_say_nothing() -> None:
    assert correlations(sweep({1e-5: 0.5, 1e-4: 0.6, 1e-3: 0.9}), "job-1") == ()
    assert correlations(sweep({1e-5: 0.5, 1e-4: 0.6, 1e-3: 0.9, 1e-2: 1.0}), None) == ()


def test_ten_thousand_runs_are_judged_by_the_newest() -> None:
    chance = random.Random(1)
    jobs = sweep({chance.random(): chance.random() for _ in range(2000)})
    (found,) = correlations(jobs, "job-1")
    assert found.runs == 400


def test_a_comparison_tells_what_changed_over_all_runs_of_the_model() -> None:
    jobs = sweep({1e-5: 0.5, 1e-4: 0.6, 1e-3: 0.9, 1e-2: 3.0, 1e-6: 0.4})
    found = compare(jobs[:2], {}, others=jobs)
    assert [item.key for item in found.correlations] == ["learning_rate"]
    assert found.correlations[0].runs == 5


@pytest.mark.parametrize(
    ("model", "family"),
    [
        ("Qwen/Qwen2.5-7B-Instruct", "Qwen2.5"),
        ("unsloth/Qwen2.5-1.5B-Instruct-bnb-4bit", "Qwen2.5"),
        ("meta-llama/Llama-3.2-1B-Instruct", "Llama-3.2"),
        ("mistralai/Mixtral-8x7B-v0.1", "Mixtral"),
        ("HuggingFaceTB/SmolLM2-135M", "SmolLM2"),
        ("google/gemma-2-9b-it", "gemma-2"),
        ("/models/my model/", "my model"),
        ("7B", "7B"),
        ("", ""),
    ],
)
def test_a_family_is_the_line_and_its_generation(model: str, family: str) -> None:
    assert family_of(model) == family
