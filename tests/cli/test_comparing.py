"""podium compare and podium comparisons: exports, saved comparisons, what counts. Real processes."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest

from engine.home import Home
from engine.records import Job
from engine.store.sqlite import SQLiteStore
from tests.cli.recorded import GOOD, POOR, record, told
from tests.conftest import Podium


@pytest.fixture
def runs(home: Path) -> tuple[Job, Job]:
    return record(home, "good", GOOD), record(home, "poor", POOR, learning_rate=3e-3)


def test_the_same_comparison_is_printed_as_csv_markdown_and_latex(podium: Podium, runs: object) -> None:
    rows = list(csv.reader(io.StringIO(podium("compare", "good", "poor", "--csv").stdout)))
    assert rows[0] == ["metric", "unit", "good", "poor"]
    assert ["best_eval_loss", "loss", "4.7", "6.0"] in rows
    assert (
        "| best eval loss | **4.7000** | 6.0000 (+28 %) |" in podium("compare", "good", "poor", "--md").stdout
    )
    latex = podium("compare", "good", "poor", "--latex").stdout
    assert r"best eval loss & \textbf{4.7000} & 6.0000 (+28 \%) \\" in latex


def test_a_page_is_written_with_curves_and_opens_again_from_a_saved_comparison(
    podium: Podium, runs: object, tmp_path: Path
) -> None:
    page = tmp_path / "lr.html"
    page.write_text("somebody's")
    saved = podium("compare", "good", "poor", "--save", "lr <sweep>", "--notes", "two rates")
    assert saved.returncode == 0 and "Saved as lr <sweep>" in saved.stdout
    refused = podium("compare", "--saved", "lr <sweep>", "--html", page)
    assert refused.returncode == 2 and "is there already" in refused.stderr and "--force" in refused.stderr
    assert page.read_text() == "somebody's"
    done = podium("compare", "--saved", "lr <sweep>", "--html", page, "--force")
    assert (done.returncode, done.stderr) == (0, "")
    text = page.read_text(encoding="utf-8")
    assert "<title>lr &lt;sweep&gt;</title>" in text and "two rates" in text
    assert text.count("<polyline") >= 4 and "<script" not in text


def test_saved_comparisons_are_listed_replaced_by_name_and_forgotten(
    podium: Podium, runs: tuple[Job, Job]
) -> None:
    podium("compare", "good", "poor", "--save", "sweep", "--reference", "poor", "--json")
    podium("compare", "poor", "good", "--save", "sweep", "--json")
    (saved,) = told(podium("comparisons", "--json").stdout)["comparisons"]
    assert (saved["name"], saved["job_ids"]) == ("sweep", ["poor-id", "good-id"])
    assert "poor and good" in podium("comparisons").stdout
    assert told(podium("comparisons", "--forget", "sweep", "--json").stdout)["comparisons"] == []
    missing = podium("compare", "--saved", "sweep")
    assert missing.returncode == 2 and "no saved comparison" in missing.stderr


@pytest.mark.parametrize(
    "args",
    [
        ("--save", " "),
        ("--save", "x" * 101),
        ("--html", "/nowhere/at/all/page.html"),
        ("--saved", "x"),
        ("--archive-above", "-3"),
    ],
)
def test_bad_input_is_one_line_and_changes_nothing(
    podium: Podium, runs: object, home: Path, args: tuple[str, ...]
) -> None:
    done = podium("compare", "good", "poor", *args)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1 or "Usage" in done.stderr
    store = SQLiteStore(Home(home).database)
    assert store.comparisons() == []
    store.close()


def test_values_at_the_best_checkpoint_and_the_threshold_are_a_choice(podium: Podium, runs: object) -> None:
    value = told(podium("compare", "good", "poor", "--value", "best", "--json").stdout)["comparison"]
    (row,) = [row for row in value["rows"] if row["name"] == "train_loss"]
    assert [cell["value"] for cell in row["cells"]] == [4.6, 5.9]
    assert value["recommendation"]["standings"][1]["advice"] == "warn"
    strict = told(podium("compare", "good", "poor", "--archive-above", "20", "--json").stdout)
    assert strict["comparison"]["recommendation"]["standings"][1]["advice"] == "archive"
    assert "worth archiving: poor (28 %)" in podium("compare", "good", "poor", "--archive-above", "20").stdout
