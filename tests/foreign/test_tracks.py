"""Runs that other tools logged become runs of ours, with their own figures."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from engine.controller.adopting import adopt
from engine.errors import BadInput, Missing
from engine.foreign.track import name_of, tracked
from engine.foreign.tracks import tracks
from engine.home import Home
from engine.job.events import Status
from engine.store.sqlite import SQLiteStore
from tests.cli.recorded import told
from tests.conftest import Podium
from tests.foreign.folders import log, write_run, write_state

EVALS = (10, 3.0, 3.1), (20, 2.0, 2.5), (30, 1.5, 2.9)

_WANDB = """
import wandb
run = wandb.init(project="p", name="my run", config={"learning_rate": 1e-3, "model_name": "tiny"})
for step in range(1, 2001):
    run.log({"train/loss": 3 - step / 1000, "train/global_step": step, "padding": "x" * 40})
    if step % 500 == 0:
        run.log({"eval/loss": 3.5 - step / 1000, "train/global_step": step})
run.log({"train/loss": float("nan"), "train/global_step": 2001})
run.finish()
"""


@pytest.fixture(scope="module")
def wandb_runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a real offline run."""
    folder = tmp_path_factory.mktemp("wandb")
    environment = {**os.environ, "WANDB_MODE": "offline", "WANDB_SILENT": "true", "HOME": str(folder)}
    subprocess.run([sys.executable, "-c", _WANDB], cwd=folder, env=environment, check=True, timeout=120)
    return folder


def board(folder: Path) -> Path:
    """A run as TensorBoard's own writer leaves it: old scalars, and a newer one as a tensor."""
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary, SummaryMetadata
    from tensorboard.compat.proto.tensor_pb2 import TensorProto
    from tensorboard.summary.writer.event_file_writer import EventFileWriter

    writer = EventFileWriter(str(folder))
    start = time.time() - 1000
    for step, train, held_out in EVALS:
        for tag, value in (("train/loss", train), ("eval/loss", held_out)):
            summary = Summary(value=[Summary.Value(tag=tag, simple_value=value)])
            writer.add_event(Event(wall_time=start + step, step=step, summary=summary))
        tensor = TensorProto(dtype=1, float_val=[0.5])
        meta = SummaryMetadata(plugin_data=SummaryMetadata.PluginData(plugin_name="scalars"))
        summary = Summary(value=[Summary.Value(tag="train/grad_norm", tensor=tensor, metadata=meta)])
        writer.add_event(Event(wall_time=start + step, step=step, summary=summary))
    writer.close()
    return folder


def test_a_trainer_folder_is_a_run_with_all_its_steps(tmp_path: Path, home: Path) -> None:
    folder = write_run(tmp_path / "my-run", *EVALS)
    [track] = tracks(folder)
    assert (track.name, track.tool, [row.step for row in track.rows]) == (
        "my-run",
        "transformers",
        [10, 20, 30],
    )
    Home(home).create()
    store = SQLiteStore(Home(home).database)
    [taken] = adopt(store, Home(home), [track])
    job = store.job(taken.job_id)
    assert (job.status, job.best_eval_loss, job.best_step) == (Status.COMPLETED, 2.5, 20)
    assert (job.current_step, job.elapsed_seconds, job.provider) == (30, None, "imported")
    curve = store.curve(job.id, "loss")
    assert [(point.x, point.mean) for point in curve.points] == [(10, 3.0), (20, 2.0), (30, 1.5)]
    assert [run.added for run in adopt(store, Home(home), [track])] == [False]
    store.close()


def test_the_mean_loss_and_a_second_eval_at_the_end_change_nothing(tmp_path: Path) -> None:
    history = log(*EVALS)
    history += [
        {"step": 30, "train_loss": 99.0, "train_runtime": 60.0},
        {"step": 30, "eval_loss": 2.5, "epoch": 0.3},
    ]
    write_state(tmp_path, history)
    [track] = tracks(tmp_path)
    assert track.seconds == 60.0
    assert (track.rows[-1].values["loss"], track.rows[-1].values["eval_loss"]) == (1.5, 2.9)


def test_runs_in_folders_of_a_folder_are_all_found(tmp_path: Path) -> None:
    write_run(tmp_path / "a" / "one", *EVALS)
    write_run(tmp_path / "b" / "deeper" / "two", *EVALS)
    board(tmp_path / "c")
    assert [(track.name, track.tool) for track in tracks(tmp_path)] == [
        ("one", "transformers"), ("two", "transformers"), ("c", "tensorboard"),
    ]  # fmt: skip


def test_tensorboard_figures_have_their_times(tmp_path: Path, home: Path) -> None:
    [track] = tracks(board(tmp_path / "run"))
    assert [dict(row.values) for row in track.rows] == [
        {"loss": pytest.approx(train), "eval_loss": pytest.approx(held_out), "grad_norm": 0.5}
        for _, train, held_out in EVALS
    ]
    Home(home).create()
    store = SQLiteStore(Home(home).database)
    [taken] = adopt(store, Home(home), [track])
    assert store.job(taken.job_id).elapsed_seconds == pytest.approx(20, abs=0.01)
    store.close()


def test_a_wandb_run_of_many_blocks_is_read_whole(wandb_runs: Path) -> None:
    [track] = tracks(wandb_runs)
    record = next(wandb_runs.rglob("run-*.wandb"))
    assert record.stat().st_size > 3 * 32_768
    assert (track.name, track.tool) == ("my run", "wandb")
    assert track.config["learning_rate"] == 1e-3
    assert [row.step for row in track.rows] == list(range(1, 2002))
    assert track.rows[499].values == pytest.approx({"loss": 2.5, "eval_loss": 3.0})
    assert str(track.rows[-1].values["loss"]) == "nan"


@pytest.mark.parametrize("cut", [1, 7, 40, 5000, 40_000])
def test_a_wandb_file_that_was_cut_off_gives_what_is_whole(
    wandb_runs: Path, tmp_path: Path, cut: int
) -> None:
    record = next(wandb_runs.rglob("run-*.wandb"))
    (tmp_path / record.name).write_bytes(record.read_bytes()[:-cut])
    [whole], [torn] = tracks(wandb_runs), tracks(tmp_path)
    assert 0 < len(torn.rows) <= len(whole.rows)
    assert torn.rows[:1000] == whole.rows[:1000]


def test_a_damaged_wandb_record_ends_the_reading(wandb_runs: Path, tmp_path: Path) -> None:
    record = next(wandb_runs.rglob("run-*.wandb"))
    data = bytearray(record.read_bytes())
    data[60_000] ^= 0xFF
    (tmp_path / record.name).write_bytes(data)
    [track] = tracks(tmp_path)
    assert 0 < len(track.rows) < 2001


def test_a_table_is_a_run(tmp_path: Path) -> None:
    (tmp_path / "old.csv").write_text("step,train_loss,val_loss\n1,3,3.5\n2,2,nan\n")
    [track] = tracks(tmp_path / "old.csv")
    assert track.rows[0].values == {"loss": 3.0, "eval_loss": 3.5}


def test_what_holds_no_run_says_what_would(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"no run of another tool here.*trainer_state"):
        tracks(tmp_path)
    with pytest.raises(BadInput, match="does not exist"):
        tracks(tmp_path / "nothing")
    (tmp_path / "trainer_state.json").write_text("{")
    with pytest.raises(BadInput):
        tracks(tmp_path / "trainer_state.json")


@pytest.mark.parametrize(
    "module, name", [("tensorboard", "events.out.tfevents.1.x"), ("wandb", "run-x.wandb")]
)
def test_a_missing_library_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: str, name: str
) -> None:
    (tmp_path / name).write_bytes(b"")
    for loaded in [key for key in sys.modules if key.split(".")[0] == module]:
        monkeypatch.delitem(sys.modules, loaded)
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(Missing, match=r"podium\[imports\]"):
        tracks(tmp_path)


@pytest.mark.parametrize(
    "raw, ours",
    [("train/loss", "loss"), ("eval/loss", "eval_loss"), ("val_loss", "eval_loss"), ("lr", "learning_rate"),
     ("train/global_step", "step"), ("eval/rewards/accuracies", "eval_rewards/accuracies"), ("aux", "aux")],
)  # fmt: skip
def test_figures_have_our_names(raw: str, ours: str) -> None:
    assert name_of(raw) == ours


def test_what_is_no_figure_is_left_out() -> None:
    rows = tracked([({"step": 1, "loss": 2, "text": "x", "flag": True, "none": None, "bad\x1b": 3}, None)])
    assert [dict(row.values) for row in rows] == [{"loss": 2.0}]


def test_import_from_the_command_line(podium: Podium, tmp_path: Path) -> None:
    write_run(tmp_path / "runs" / "one", *EVALS)
    write_run(tmp_path / "runs" / "two", *EVALS)
    done = told(podium("import", tmp_path / "runs", "--json").stdout)["imported"]
    assert [(run["name"], run["added"]) for run in done] == [("one", True), ("two", True)]
    assert podium("import", tmp_path / "runs").stdout == "one: is here already.\ntwo: is here already.\n"
    names = [job["name"] for job in json.loads(podium("jobs", "--json").stdout)["jobs"]]
    assert sorted(names) == ["one", "two"]
    assert podium("import", tmp_path / "nothing").returncode == 2
