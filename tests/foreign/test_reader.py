"""What other tools left behind is read as it is, and what is missing or broken is said."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from engine.errors import BadInput
from engine.foreign import ForeignRun, read_run
from tests.foreign.folders import log, write_run, write_state, write_weights

EVALS = ((10, 2.0, 2.1), (20, 1.5, 1.7), (30, 1.2, 1.75))


def problems(run: ForeignRun) -> dict[int, str]:
    return {item.step: item.problem for item in run.checkpoints}


def test_a_run_folder_gives_each_checkpoint_its_numbers(tmp_path: Path) -> None:
    run = read_run(write_run(tmp_path / "my-run", *EVALS))
    assert (run.name, run.source, run.formula) == ("my-run", "folder", "multi-metric/1")
    metrics = [item.metrics for item in run.checkpoints]
    assert [(m.step, m.train_loss, m.eval_loss, m.improved) for m in metrics] == [
        (10, 2.0, 2.1, True),
        (20, 1.5, 1.7, True),
        (30, 1.2, 1.75, False),
    ]
    assert [item.epoch for item in run.checkpoints] == [0.1, 0.2, 0.3]
    assert all(item.complete and not item.problem for item in run.checkpoints)
    assert run.checkpoints[0].path == tmp_path / "my-run" / "checkpoint-10"
    files = (tmp_path / "my-run" / "checkpoint-10").iterdir()
    assert run.checkpoints[0].size_bytes == sum(file.stat().st_size for file in files)


def test_the_train_loss_is_the_newest_logged_at_or_before_the_eval(tmp_path: Path) -> None:
    rows = [
        {"loss": 3.0, "step": 5},
        {"loss": 2.5, "step": 10},
        {"eval_loss": 2.4, "step": 12},
        {"loss": 2.0, "step": 15},
        {"eval_loss": 2.2, "step": 15},
    ]
    run = read_run(write_state(tmp_path, rows))
    assert [item.metrics.train_loss for item in run.checkpoints] == [2.5, 2.0]


def test_the_last_row_with_the_mean_loss_of_the_run_is_no_train_loss(tmp_path: Path) -> None:
    rows = [*log(*EVALS), {"train_loss": 9.0, "train_runtime": 1.0, "step": 30}]
    assert read_run(write_state(tmp_path, rows)).checkpoints[-1].metrics.train_loss == 1.2


def test_a_second_eval_of_the_last_step_is_that_of_the_best_model_and_does_not_count(tmp_path: Path) -> None:
    rows = [*log(*EVALS), {"eval_loss": 1.7, "step": 30}]
    assert read_run(write_state(tmp_path, rows)).checkpoints[-1].metrics.eval_loss == 1.75


def test_only_the_newest_state_that_can_be_read_is_read(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", *EVALS)
    (folder / "checkpoint-10" / "trainer_state.json").write_text('{"log_history": "nonsense"}')
    (folder / "checkpoint-30" / "trainer_state.json").write_text('{"log_history": [')
    run = read_run(folder)
    assert problems(run) == {10: "", 20: "", 30: "trainer_state.json is cut off"}
    assert [item.metrics.eval_loss for item in run.checkpoints] == [2.1, 1.7, None]


def test_the_runs_own_state_counts_where_it_goes_further(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", *EVALS[:2])
    write_state(folder, log(*EVALS), 30)
    assert [item.step for item in read_run(folder).checkpoints] == [10, 20, 30]


def test_what_is_missing_or_incomplete_is_flagged(tmp_path: Path) -> None:
    steps = [(step, 3.0 - step / 100, 3.0 - step / 200) for step in range(10, 110, 10)]
    folder = write_run(tmp_path / "run", *steps)
    (folder / "checkpoint-10" / "model.safetensors").unlink()
    weights = folder / "checkpoint-20" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    (folder / "checkpoint-30" / "model.safetensors").write_bytes(b"\x05")
    (folder / "checkpoint-40" / "trainer_state.json").unlink()
    (folder / "checkpoint-50" / "trainer_state.json").write_text("")
    for path in (folder / "checkpoint-60").iterdir():
        path.unlink()
    (folder / "checkpoint-60").rmdir()
    write_weights(folder / "checkpoint-65")
    write_state(folder / "checkpoint-65", [])
    (folder / "checkpoint-70" / "model.safetensors").rename(
        folder / "checkpoint-70" / "adapter_model.safetensors"
    )
    sharded = folder / "checkpoint-80"
    (sharded / "model.safetensors").rename(sharded / "model-00001-of-00002.safetensors")
    index = {"weight_map": {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}}
    (sharded / "model.safetensors.index.json").write_text(json.dumps(index))
    (folder / "checkpoint-90" / "model.safetensors").unlink()
    (folder / "checkpoint-90" / "global_step90").mkdir()
    run = read_run(folder)
    assert problems(run) == {
        10: "no weights file",
        20: "model.safetensors is cut off",
        30: "model.safetensors is cut off",
        40: "no trainer_state.json",
        50: "trainer_state.json is cut off",
        60: "no folder: rotated away, or never saved",
        65: "no eval at step 65",
        70: "",
        80: "model-00002-of-00002.safetensors is missing",
        90: "",
        100: "",
    }
    complete = {item.step for item in run.checkpoints if item.complete}
    assert complete == {65, 70, 90, 100}


def test_a_header_that_lies_is_cut_off(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", *EVALS)
    for step, header in ((10, b"[1, 2]"), (20, b'{"w": {"data_offsets": "far"}}'), (30, b"\xff\xfe")):
        content = len(header).to_bytes(8, "little") + header
        (folder / f"checkpoint-{step}" / "model.safetensors").write_bytes(content)
    assert set(problems(read_run(folder)).values()) == {"model.safetensors is cut off"}


def test_nan_and_infinite_losses_arrive_as_they_are(tmp_path: Path) -> None:
    path = tmp_path / "trainer_state.json"
    path.write_text('{"log_history": [{"eval_loss": NaN, "step": 1}, {"eval_loss": Infinity, "step": 2}]}')
    first, second = (item.metrics.eval_loss for item in read_run(path).checkpoints)
    assert first is not None and math.isnan(first)
    assert second == math.inf


def test_preference_runs_are_scored_by_their_accuracy(tmp_path: Path) -> None:
    rows = [{"eval_loss": 0.6, "eval_rewards/accuracies": 0.75, "step": 5}, {"eval_loss": 0.6, "step": 9}]
    run = read_run(write_state(tmp_path, rows))
    assert run.formula == "multi-metric/1-dpo"
    assert [item.metrics.accuracy for item in run.checkpoints] == [0.75, None]


def test_reward_runs_are_scored_by_reward_and_kl(tmp_path: Path) -> None:
    rows = [{"eval_loss": 0.0, "eval_reward": 1.5, "eval_kl": 0.25, "step": 5}]
    run = read_run(write_state(tmp_path, rows))
    assert run.formula == "reward-kl/1"
    assert (run.checkpoints[0].metrics.reward, run.checkpoints[0].metrics.kl) == (1.5, 0.25)


def test_several_eval_sets_count_by_their_mean(tmp_path: Path) -> None:
    rows = [{"eval_code_loss": 1.0, "step": 5}, {"eval_code_loss": 1.0, "eval_prose_loss": 2.0, "step": 10}]
    run = read_run(write_state(tmp_path, rows))
    assert [item.metrics.eval_loss for item in run.checkpoints] == [1.0, 1.5]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.csv", "step,train_loss,eval_loss\n10,2.0,2.1\n20,1.5,1.7\n"),
        ("b.csv", "Step;Training Loss;Validation Loss\n10;2.0;2.1\n20;1.5;1.7\n"),
        ("c.tsv", "global_step\ttrain/loss\teval/loss\n10\t2.0\t\n10\t\t2.1\n20\t1.5\t1.7\n"),
        ("d.csv", "train/global_step,my-run - train/loss,my-run - eval/loss\n10,2.0,2.1\n20,1.5,1.7\n"),
        ("e.jsonl", '{"step": 10, "loss": 2.0}\n{"step": 10, "eval_loss": 2.1}\n\n'
                    '{"step": 20, "loss": 1.5, "val_loss": "1.7"}\n{"step": 30, "lo'),
        ("f.csv", "\ufeffiter,loss,val_loss\r\n10,2.0,2.1\r\n20,1.5,1.7\r\n"),
        ("g.jsonl", '{"current_steps": 10, "loss": 2.0, "eval_loss": null}\n{"steps": 10, "eval_loss": 2.1}\n'
                    '{"current_steps": 20, "loss": 1.5, "eval_loss": 1.7}\n'),
    ],
)  # fmt: skip
def test_tables_are_read_whatever_their_columns_are_called(tmp_path: Path, name: str, text: str) -> None:
    path = tmp_path / name
    path.write_text(text)
    run = read_run(path)
    found = [(m.step, m.train_loss, m.eval_loss) for m in (item.metrics for item in run.checkpoints)]
    assert found == [(10, 2.0, 2.1), (20, 1.5, 1.7)]
    assert run.source == "table"


def test_a_table_without_steps_counts_its_evals(tmp_path: Path) -> None:
    path = tmp_path / "losses.csv"
    path.write_text("epoch,loss,val_loss\n0.5,3,2\n1.0,2,1.5\n1.5,1,1.6\n")
    assert [(item.step, item.epoch) for item in read_run(path).checkpoints] == [(1, 0.5), (2, 1.0), (3, 1.5)]


def test_a_resumed_attempt_wins_in_a_table(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    rows = [(10, 3.0), (20, 1.0), (30, 1.1), (20, 2.0), (30, 1.9)]
    path.write_text("".join(json.dumps({"step": step, "eval_loss": loss}) + "\n" for step, loss in rows))
    metrics = [item.metrics for item in read_run(path).checkpoints]
    assert [(m.eval_loss, m.improved) for m in metrics] == [(3.0, True), (2.0, True), (1.9, True)]


@pytest.mark.parametrize(
    ("name", "text", "line"),
    [
        ("empty.csv", "", "no column is an eval loss"),
        ("other.csv", "name,age\na,1\n", "no column is an eval loss"),
        ("junk.csv", "step,eval_loss\n1,high\n2,low\n", "no column is an eval loss"),
        ("torn.jsonl", '{"step": 1}\n{"step": \n{"step": 3}\n', "line 2 is not JSON"),
        ("list.jsonl", "[1]\n", "line 1 is no JSON object"),
        ("trainer_state.json", "{", "is not JSON"),
        ("trainer_state.json", "[]", "has no log_history"),
        ("trainer_state.json", '{"log_history": [1, {"loss": 2, "step": 1}]}', "no eval in its log_history"),
        ("trainer_state.json", "[" * 100_000, "is not JSON"),
        ("model.safetensors", "x", "nothing to score here"),
        ("wide.csv", "step,eval_loss\n1," + "9" * 200_000 + "\n", "is not CSV"),
    ],
)
def test_a_file_without_anything_to_score_is_one_clear_line(
    tmp_path: Path, name: str, text: str, line: str
) -> None:
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(BadInput) as caught:
        read_run(path)
    assert line in str(caught.value) and str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_folder_without_anything_to_score_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="nothing to score here"):
        read_run(tmp_path)
    with pytest.raises(BadInput, match="does not exist"):
        read_run(tmp_path / "nowhere")
    (tmp_path / "runs" / "a" / "checkpoint-1").mkdir(parents=True)
    with pytest.raises(BadInput, match=r"holds 1 runs\. Give one of them"):
        read_run(tmp_path / "runs")
    with pytest.raises(BadInput, match=r"none of its 1 checkpoints has a trainer_state\.json"):
        read_run(tmp_path / "runs" / "a")
    write_state(tmp_path / "runs" / "a" / "checkpoint-1", [{"loss": 1.0, "step": 1}])
    with pytest.raises(BadInput, match="no eval in the log of its 1 checkpoints"):
        read_run(tmp_path / "runs" / "a")


def test_a_run_of_ten_thousand_checkpoints_is_read_from_its_newest_state_alone(tmp_path: Path) -> None:
    count = 10_000
    history = log(*((step, 1 + 1 / step, 1.1 + 1 / step) for step in range(1, count + 1)))
    for step in range(1, count):
        folder = tmp_path / f"checkpoint-{step}"
        folder.mkdir()
        # Reading any of these would fail.
        (folder / "trainer_state.json").write_bytes(b"\xff}")
    write_state(tmp_path / f"checkpoint-{count}", history, count)
    run = read_run(tmp_path)
    assert len(run.checkpoints) == count
    assert run.checkpoints[-1].metrics.eval_loss == 1.1 + 1 / count
