"""The commands that read: jobs, show, metrics, checkpoints, compare. Each is a process of its own."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest

from engine.home import Home
from engine.job.events import EventType, EventWriter, Status
from engine.records import Job
from tests.cli.recorded import GOOD, POOR, record, told, write_checkpoints
from tests.conftest import Podium

READING = (("jobs",), ("show", "good"), ("logs", "good"), ("metrics", "good"), ("checkpoints", "good"))


@pytest.fixture
def runs(home: Path) -> tuple[Job, Job]:
    return record(home, "good", GOOD), record(home, "poor", POOR, learning_rate=3e-3)


def test_before_the_first_run_the_list_says_how_to_get_one(podium: Podium) -> None:
    result = podium("jobs")
    assert result.returncode == 0
    assert "podium demo" in result.stdout
    assert told(podium("jobs", "--json").stdout)["jobs"] == []


def test_jobs_are_listed_newest_first_under_the_stores_column_names(
    podium: Podium, runs: tuple[Job, Job]
) -> None:
    listed = told(podium("jobs", "--json").stdout)["jobs"]
    assert [job["name"] for job in listed] == ["poor", "good"]
    assert set(listed[0]) == {field.name for field in fields(Job)}
    assert listed[1]["best_eval_loss"] == 4.7
    assert listed[1]["best_step"] == 40
    assert listed[1]["status"] == "completed"


def test_the_table_has_a_line_for_each_run_with_unknown_figures_as_a_dash(
    podium: Podium, runs: tuple[Job, Job]
) -> None:
    head, poor, good = podium("jobs").stdout.splitlines()
    assert head.split()[:2] == ["NAME", "RUN"]
    assert "4.7000" in good
    assert "—" in good  # its cost
    assert "poor" in poor


def test_predictions_are_shown_as_they_were_last_made(podium: Podium, home: Path) -> None:
    folder = Home(home).job(record(home, "good", GOOD, ends=False).id)
    assert "No predictions yet" in podium("predictions", "good").stdout
    with EventWriter(folder.events) as events:
        for step, answer in ((20, "a first try"), (40, "a second one")):
            marks = {"exact_match": False, "char_error_rate": 0.5, "word_overlap": 0.25, "length_ratio": 1.5}
            texts = {"prompt": "what?", "ground_truth": "that", "prediction": answer}
            events.append(EventType.PREDICTION, step, sample_index=0, **texts, **marks)
    shown = podium("predictions", "good").stdout
    assert "a second one" in shown and "a first try" not in shown
    assert "not exact · character errors 50% · words shared 25% · length ×1.50" in shown
    assert "a first try" in podium("predictions", "good", "--step", "20").stdout
    rows = told(podium("predictions", "good", "--json").stdout)["predictions"]
    assert [(row["step"], row["prediction"]) for row in rows] == [(20, "a first try"), (40, "a second one")]


def test_a_filter_leaves_those_that_answer_to_it(podium: Podium, runs: tuple[Job, Job]) -> None:
    listed = told(podium("jobs", "--json", "--filter", "loss<5").stdout)["jobs"]
    assert [job["name"] for job in listed] == ["good"]


def test_a_filter_that_makes_no_sense_is_refused_before_anything_is_made(podium: Podium, home: Path) -> None:
    result = podium("jobs", "--filter", "colour:red")
    assert result.returncode == 2
    assert "colour" in result.stderr
    assert not home.exists()


def test_archived_runs_are_listed_on_demand(podium: Podium, runs: tuple[Job, Job]) -> None:
    assert podium("archive", "poor").returncode == 0
    assert [job["name"] for job in told(podium("jobs", "--json").stdout)["jobs"]] == ["good"]
    assert len(told(podium("jobs", "--all", "--json").stdout)["jobs"]) == 2
    assert "(archived)" in podium("jobs", "--all").stdout


def test_show_tells_what_is_known_of_a_run(podium: Podium, runs: tuple[Job, Job]) -> None:
    value = told(podium("show", "good", "--json").stdout)
    assert value["job"]["id"] == "good-id"
    assert value["alerts"] == []
    text = podium("show", "good").stdout
    assert "step 40, score" in text
    assert "completed" in text


@pytest.mark.parametrize("name", ["good", "good-id", "goo"])
def test_a_run_answers_to_its_name_its_id_and_a_unique_beginning(
    podium: Podium, runs: tuple[Job, Job], name: str
) -> None:
    assert told(podium("show", name, "--json").stdout)["job"]["id"] == "good-id"


@pytest.mark.parametrize("command", ["show", "logs", "metrics", "checkpoints", "archive", "restore"])
def test_an_unknown_run_is_bad_input_that_names_the_nearest(
    podium: Podium, runs: tuple[Job, Job], command: str
) -> None:
    result = podium(command, "god")
    assert result.returncode == 2
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    assert "god" in line
    assert "good" in line


def test_metrics_are_the_rows_of_the_store(podium: Podium, runs: tuple[Job, Job]) -> None:
    rows = told(podium("metrics", "good", "--json").stdout)["metrics"]
    train = [row for row in rows if row["kind"] == "train"]
    assert [(row["step"], row["train_loss"]) for row in train] == [(20, 6.1), (40, 4.6), (60, 3.2), (80, 2.0)]
    assert {row["eval_loss"] for row in rows if row["kind"] == "eval"} == {6.0, 4.7, 4.8, 5.2}
    assert "4.6000" in podium("metrics", "good").stdout


def test_metrics_end_with_the_last_rows_when_asked(podium: Podium, runs: tuple[Job, Job]) -> None:
    rows = told(podium("metrics", "good", "--json", "--last", "1").stdout)["metrics"]
    assert [row["step"] for row in rows] == [80]


def test_a_checkpoint_has_the_fields_that_programs_rely_on(podium: Podium, runs: tuple[Job, Job]) -> None:
    checkpoints = told(podium("checkpoints", "good", "--json").stdout)["checkpoints"]
    assert [checkpoint["step"] for checkpoint in checkpoints] == [20, 40, 60, 80]
    for checkpoint in checkpoints:
        assert list(checkpoint) == [
            "step", "epoch", "eval_loss", "train_loss", "score", "is_best", "is_lowest_eval_loss", "tied",
            "path", "size_bytes", "verified",
        ]  # fmt: skip
        score = checkpoint["score"]
        assert list(score) == ["total", "eval_loss", "gap", "perplexity", "bonus", "formula"]
        assert score["formula"] == "multi-metric/1"
        parts = score["eval_loss"] + score["gap"] + score["perplexity"] + score["bonus"]
        assert score["total"] == pytest.approx(parts)
    assert [checkpoint["step"] for checkpoint in checkpoints if checkpoint["is_best"]] == [40]
    assert checkpoints[1]["is_lowest_eval_loss"] is True


def test_the_table_of_checkpoints_marks_the_best(podium: Podium, runs: tuple[Job, Job]) -> None:
    lines = podium("checkpoints", "good").stdout.splitlines()
    (best,) = [line for line in lines if "★ best" in line]
    assert best.split()[0] == "40"
    assert "6.4 MB" in best


def test_compare_marks_the_best_and_recommends_it(podium: Podium, runs: tuple[Job, Job]) -> None:
    value = told(podium("compare", "poor", "good", "--json").stdout)["comparison"]
    assert [job["id"] for job in value["jobs"]] == ["poor-id", "good-id"]
    (row,) = [row for row in value["rows"] if row["name"] == "best_eval_loss"]
    assert [cell["best"] for cell in row["cells"]] == [False, True]
    assert list(value["differences"]) == ["learning_rate"]
    assert [checkpoint["step"] for checkpoint in value["checkpoints"]["good-id"]] == [20, 40, 60, 80]


def test_compare_shows_the_table_what_differs_and_a_verdict(podium: Podium, runs: tuple[Job, Job]) -> None:
    text = podium("compare", "good", "poor").stdout
    assert "★ 4.7000" in text
    assert "learning_rate" in text


@pytest.mark.parametrize("names", [["good"], ["good", "good"], ["good", "good-id"]])
def test_compare_needs_two_runs(podium: Podium, runs: tuple[Job, Job], names: list[str]) -> None:
    result = podium("compare", *names)
    assert result.returncode == 2
    assert "two" in result.stderr


def test_a_command_shows_what_a_live_run_has_written_by_now(podium: Podium, home: Path) -> None:
    record(home, "live", GOOD[:1], ends=False)
    assert told(podium("show", "live", "--json").stdout)["job"]["current_step"] == 20
    with EventWriter(Home(home).job("live-id").events) as events:
        write_checkpoints(events, GOOD[1:2], first=40)
        events.append(EventType.STATE, 40, status=Status.COMPLETED)
    job = told(podium("show", "live", "--json").stdout)["job"]
    assert (job["current_step"], job["status"], job["best_step"]) == (40, "completed", 40)


def test_numbers_that_are_none_travel_as_words(podium: Podium, home: Path) -> None:
    record(home, "broken", ((float("nan"), float("inf")),))
    (checkpoint,) = told(podium("checkpoints", "broken", "--json").stdout)["checkpoints"]
    assert checkpoint["eval_loss"] == "Infinity"
    assert checkpoint["score"]["total"] == "NaN"


def test_what_a_pod_sent_cannot_reach_the_terminal(podium: Podium, home: Path) -> None:
    record(home, "evil", GOOD[:1], base_model="llama\x1b]0;pwned\x07\u202e\x9b31m")
    for command in (("jobs",), ("show", "evil"), ("show", "evil", "--json"), ("jobs", "--json")):
        out = podium(*command).stdout
        assert not set(out) & set("\x1b\x07\u202e\x9b"), command
