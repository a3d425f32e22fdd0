"""Purge, prune, tag, note, rename and sort from the command line."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.home import Home
from engine.records import Job
from engine.store.sqlite import SQLiteStore
from tests.cli.recorded import GOOD, POOR, record, told
from tests.conftest import Podium


@pytest.fixture
def runs(home: Path) -> tuple[Job, Job]:
    jobs = record(home, "good", GOOD), record(home, "poor", POOR)
    for job in jobs:
        for step in (20, 40, 60, 80):
            folder = Home(home).job(job.id).checkpoint(step)
            folder.mkdir(parents=True)
            (folder / "model.safetensors").write_bytes(b"x" * 1000)
    return jobs


def names(podium: Podium, *args: str) -> list[str]:
    return [job["name"] for job in told(podium("jobs", "--json", *args).stdout)["jobs"]]


def test_purge_says_what_goes_asks_and_frees_it(podium: Podium, home: Path, runs: tuple[Job, Job]) -> None:
    podium("delete", "--yes", "poor")
    assert "Nothing to purge" in podium("purge").stdout
    dry = podium("purge", "--all", "--dry-run")
    assert "poor" in dry.stdout
    assert "Would free" in dry.stdout
    refused = podium("purge", "--all")
    assert refused.returncode == 2
    assert "--yes" in refused.stderr
    assert Home(home).trashed("poor-id").exists()
    done = told(podium("purge", "poor", "--yes", "--json").stdout)
    assert done["freed_bytes"] > 4000
    assert not Home(home).trashed("poor-id").exists()
    assert names(podium, "--all") == ["good"]


def test_a_run_that_is_not_deleted_is_not_purged(podium: Podium, runs: tuple[Job, Job]) -> None:
    result = podium("purge", "good", "--yes")
    assert result.returncode == 2
    assert "not in the trash" in result.stderr


def test_prune_archives_by_rule_and_undo_takes_it_back(podium: Podium, runs: tuple[Job, Job]) -> None:
    dry = podium("prune", "--worse", "20", "--dry-run")
    assert "28 % worse than its model's best" in dry.stdout
    assert sorted(names(podium)) == ["good", "poor"]
    done = told(podium("prune", "--worse", "20", "--json").stdout)["pruned"]
    assert [item["job_id"] for item in done["archived"]] == ["poor-id"]
    assert names(podium) == ["good"]
    podium("undo")
    assert sorted(names(podium)) == ["good", "poor"]


def test_keeping_the_best_checkpoints_frees_the_others(
    podium: Podium, home: Path, runs: tuple[Job, Job]
) -> None:
    dry = told(podium("prune", "--keep-best", "1", "--filter", "good", "--dry-run", "--json").stdout)
    assert [item["job_id"] for item in dry["pruned"]["thinned"]] == ["good-id"]
    assert podium("prune", "--keep-best", "1", "--filter", "good").returncode == 2
    done = podium("prune", "--keep-best", "1", "--filter", "good", "--yes")
    assert "2.0 kB freed." in done.stdout
    left = sorted(path.name for path in Home(home).job("good-id").checkpoints.iterdir())
    assert left == ["checkpoint-40", "checkpoint-80"]
    assert len(list(Home(home).job("poor-id").checkpoints.iterdir())) == 4


def test_prune_without_a_rule_asks_for_one(podium: Podium) -> None:
    result = podium("prune")
    assert result.returncode == 2
    assert "--keep-best" in result.stderr


def test_tags_notes_and_names_are_found_again(podium: Podium, runs: tuple[Job, Job]) -> None:
    assert podium("tag", "good", "poor", "+final", "+x").returncode == 0
    assert podium("tag", "poor", "-final", "--json").returncode == 0
    assert names(podium, "--filter", "tag:final") == ["good"]
    podium("note", "good", "keep", "this")
    assert podium("note", "good").stdout == "good: keep this\n"
    assert names(podium, "--filter", "note:keep") == ["good"]
    podium("note", "good", "")
    assert podium("note", "good").stdout == "good: —\n"
    podium("rename", "good", "the winner")
    assert sorted(names(podium)) == ["poor", "the winner"]


@pytest.mark.parametrize(
    "command", [("tag", "good", "+a b"), ("tag", "good"), ("tag", "+x"), ("rename", "good", "a\nb"),
                ("rename", "good", ""), ("tag", "good", "nobody", "+x")]
)  # fmt: skip
def test_what_can_be_no_name_or_tag_is_refused(
    podium: Podium, runs: tuple[Job, Job], command: tuple[str, ...]
) -> None:
    assert podium(*command).returncode == 2
    assert sorted(names(podium)) == ["good", "poor"]
    assert names(podium, "--filter", "tag:x") == []


def test_runs_are_sorted_as_asked(podium: Podium, runs: tuple[Job, Job]) -> None:
    assert names(podium, "--sort", "eval") == ["good", "poor"]
    assert names(podium, "--sort", "-eval") == ["poor", "good"]
    result = podium("jobs", "--sort", "colour")
    assert result.returncode == 2
    assert "newest" in result.stderr


def test_a_filter_that_the_screen_saved_is_known_by_its_name(podium: Podium, home: Path) -> None:
    record(home, "good", GOOD), record(home, "poor", POOR)
    store = SQLiteStore(Home(home).database)
    store.set_setting("filters", {"low": "loss<5"})
    store.close()
    done = podium("jobs", "--filter", "@low is:ended", "--sort", "-standing", "--json")
    assert [job["name"] for job in told(done.stdout)["jobs"]] == ["good"]
    unknown = podium("jobs", "--filter", "@lw")
    assert unknown.returncode == 2 and "Did you mean @low?" in unknown.stderr


def test_runs_are_packed_and_taken_in_elsewhere(
    podium: Podium, home: Path, tmp_path: Path, runs: tuple[Job, Job]
) -> None:
    archive, there = tmp_path / "runs.tar.gz", {"PODIUM_HOME": str(tmp_path / "there")}
    packed = podium("export", "good", "poor", "--archive", archive, "--checkpoints", "best")
    assert packed.returncode == 0 and "holds 2 runs" in packed.stdout
    taken = told(podium("import", archive, "--json", env=there).stdout)["imported"]
    assert {run["job_id"]: run["added"] for run in taken} == {"good-id": True, "poor-id": True}
    before = archive.read_bytes()
    again = podium("export", "good", "--archive", archive)
    assert again.returncode == 2 and "is there already" in again.stderr and archive.read_bytes() == before
    assert podium("export", "good", "--out", archive, "--force").returncode == 0
    assert archive.read_text().startswith("# ")
    here = told(podium("jobs", "--json").stdout)["jobs"]
    found = told(podium("jobs", "--json", env=there).stdout)["jobs"]
    assert [job["best_eval_loss"] for job in found] == [job["best_eval_loss"] for job in here]
    left = Home(tmp_path / "there").job("good-id").checkpoints
    assert [path.name for path in left.iterdir()] == [f"checkpoint-{runs[0].best_step}"]
