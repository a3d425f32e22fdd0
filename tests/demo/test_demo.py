"""The demo's data and its two runs: real, and the same every time; tests/cli/test_demo.py runs them."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from pathlib import Path

import pytest

from engine.demo import demo_specs, make_dataset, recordings
from engine.demo.data import EVAL_ROWS, TRAIN_ROWS
from engine.job import dataset
from engine.job.events import decode
from engine.job.spec import JobSpec


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("demo") / "docstrings.jsonl"
    assert make_dataset(path) == TRAIN_ROWS + EVAL_ROWS
    return path


def run_module(*arguments: str, flags: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *flags, "-m", "engine.demo", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)


def test_the_same_python_gives_the_same_rows(data: Path, tmp_path: Path) -> None:
    again = tmp_path / "again.jsonl"
    done = run_module(str(again))
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{again}: 720 rows\n", "")
    assert again.read_bytes() == data.read_bytes()


def test_rows_are_short_questions_and_answers_without_repeats(data: Path) -> None:
    read = dataset.read(data)
    assert read.format == "messages"
    assert read.warnings == []
    answers = [row["messages"][1]["content"] for row in read.rows]
    assert len(set(answers)) == len(answers)
    assert all(20 <= len(answer) <= 120 for answer in answers)
    assert all(row["messages"][0]["content"].endswith("?") for row in read.rows)


def test_whole_modules_are_held_out(data: Path) -> None:
    for spec in demo_specs(data):
        train, held_out = dataset.split(dataset.read(data), spec.dataset, spec.training.seed)
        assert (len(train), len(held_out)) == (TRAIN_ROWS, EVAL_ROWS)
        modules = {row["module"] for row in train}
        assert len(modules) > 100
        assert not modules & {row["module"] for row in held_out}


def test_modules_that_do_something_when_imported_are_left_out(data: Path) -> None:
    modules = {row["module"] for row in dataset.read(data).rows}
    assert not modules & {
        "this",
        "antigravity",
        "idlelib",
        "tkinter",
        "turtle",
        "test",
        "webbrowser",
        "readline",
    }
    assert not any(module.startswith(("_", "win")) for module in modules)


def test_a_python_without_docstrings_is_refused_in_one_line(tmp_path: Path) -> None:
    done = run_module(str(tmp_path / "x.jsonl"), flags=("-OO",))
    assert done.returncode == 2
    assert done.stderr == "the demo's data are docstrings, which -OO leaves out. Run python without -OO.\n"
    assert not list(tmp_path.glob("*.jsonl"))


def test_a_place_that_cannot_be_written_is_told_in_one_line(tmp_path: Path) -> None:
    done = run_module(str(tmp_path / "no" / "x.jsonl"))
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "No such file or directory" in done.stderr


def test_the_two_runs_differ_in_nothing_but_name_and_learning_rate(data: Path) -> None:
    first, second = (spec.to_json() for spec in demo_specs(data))
    assert (first.pop("name"), second.pop("name")) == ("docstrings-lr-1e-3", "docstrings-lr-3e-3")
    rates = first["training"].pop("learning_rate"), second["training"].pop("learning_rate")
    assert rates == (1e-3, 3e-3)
    assert first == second
    assert first["dataset"]["path"] == str(data)
    json.dumps(first)


def test_the_recorded_runs_are_those_of_the_demo_finished_and_small() -> None:
    found = recordings()
    assert [path.name for path in found] == ["1", "2"]
    size = sum(file.stat().st_size for path in found for file in path.iterdir())
    assert size < 300_000
    for path, spec in zip(found, demo_specs(Path("x")), strict=True):
        recorded = JobSpec.from_json(path / "job.json")
        assert (recorded.name, recorded.training) == (spec.name, spec.training)
        events = [
            decode(line) for line in gzip.decompress((path / "events.jsonl.gz").read_bytes()).splitlines()
        ]
        results = [event.data for event in events if event.type == "result"]
        assert len(results) == 1
        assert results[0]["best_step"] < results[0]["total_steps"]
        told = gzip.decompress(
            (path / "events.jsonl.gz").read_bytes() + (path / "train.log.gz").read_bytes()
        ).decode()
        assert not any(private in told for private in ("/root", "/home", "/work", "/Users"))
