"""A comparison as JSON, Markdown and CSV."""

from __future__ import annotations

import csv
import io
import json

from hypothesis import example, given
from hypothesis import strategies as st

from engine.analysis.comparison import compare
from engine.analysis.export import to_csv, to_json, to_markdown
from tests.analysis.made import NAN, a_run, checkpoints, with_config

JOBS = [a_run(1, 0.6686), with_config(a_run(2, 0.9041, cost_total=None), training={"learning_rate": 5e-4})]
COMPARISON = compare(JOBS, {"job-1": checkpoints(JOBS[0], [1.0, 0.6686, 0.9])})


def test_json_holds_everything_and_is_json() -> None:
    found = json.loads(json.dumps(to_json(compare([a_run(1, NAN), *JOBS[1:]], {})), allow_nan=False))
    assert found["rows"][0]["cells"][0]["value"] == "NaN"
    assert [job["name"] for job in found["jobs"]] == ["run-01", "run-02"]
    assert found["differences"] == {"learning_rate": [2e-4, 5e-4]}
    assert found["recommendation"]["job_id"] == "job-2"
    assert [item["advice"] for item in found["recommendation"]["standings"]] == ["unknown", "keep"]


def test_csv_has_a_line_a_metric_and_bare_numbers() -> None:
    lines = list(csv.reader(io.StringIO(to_csv(COMPARISON))))
    assert lines[0] == ["metric", "unit", "run-01", "run-02"]
    found = {line[0]: line[1:] for line in lines}
    assert found["best_eval_loss"] == ["loss", "0.6686", "0.9041"]
    assert found["cost_total"] == ["dollars", "4.0", ""]
    assert found["learning_rate"][1:] == ["0.0002", "0.0005"]
    assert {len(line) for line in lines} == {4}


def test_markdown_marks_the_best_and_says_the_recommendation() -> None:
    text = to_markdown(COMPARISON)
    assert "| best eval loss | **0.6686** | 0.9041 (+35 %) |" in text
    assert "| learning\\_rate | 0.0002 | 0.0005 |" in text
    assert "**Keep run-01, checkpoint 200.**" in text
    assert "gradient norm" not in text
    assert "gradient norm" in to_markdown(COMPARISON, all_rows=True)


@given(st.text(min_size=1, max_size=20), st.text(max_size=20))
@example("=1+1", "+0")
def test_hostile_names_stay_in_their_cells(name: str, setting: str) -> None:
    jobs = [a_run(1, 0.5, name=name), with_config(a_run(2, 0.6, name="b"), model={"revision": setting})]
    jobs[0] = with_config(jobs[0], model={"revision": "main"})
    comparison = compare(jobs, {})
    lines = list(csv.reader(io.StringIO(to_csv(comparison))))
    assert {len(line) for line in lines} == {4}
    assert not any(cell.startswith(("=", "@", "+")) for line in lines for cell in line[2:])
    markdown = to_markdown(comparison)
    assert "\x1b" not in markdown
    tables = [line for line in markdown.split("\n") if line.startswith("| ")]
    assert {line.replace("\\\\", "").replace("\\|", "").count("|") for line in tables} == {4}
