"""From what a script writes to events: each figure once, in order, whatever it is written in, and when."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from engine.job.events import Event, EventType, EventWriter
from engine.job.folder import JobFolder
from engine.script import grown as growing
from engine.script import observer as watching
from engine.script.checkpoints import Checkpoints
from engine.script.observer import Observer
from engine.script.teller import Teller
from tests.processes import events_of


class Bench:
    """A job's folder, a script's files and what watches them."""

    def __init__(self, path: Path) -> None:
        self.folder = JobFolder(path)
        self.folder.create()
        self.folder.work.mkdir()
        self.script: dict[str, Any] = {"metrics": ["*.csv", "*.jsonl"]}
        self.open()

    def open(self, attempt: int = 1, offset: int = 0) -> None:
        """Begin to watch, as a new attempt does."""
        self.events = EventWriter(self.folder.events, attempt)
        self.teller = Teller(self.events)
        self.teller.recall(self.folder.events)
        self.observer = Observer(self.teller, self.script, self.folder.log, self.folder.work, offset)

    def say(self, *lines: str) -> None:
        with self.folder.log.open("a") as log:
            log.write("".join(f"{line}\n" for line in lines))

    def write(self, name: str, text: str, *, again: bool = False) -> None:
        with (self.folder.work / name).open("w" if again else "a") as file:
            file.write(text)

    def look(self, *, ended: bool = False) -> None:
        self.observer.look(ended=ended)

    def told(self, *types: str) -> list[Event]:
        return [event for event in events_of(self.folder.events) if event.type in types]

    def figures(self) -> list[tuple[str, int | None, dict[str, Any]]]:
        found = self.told("train", "eval", "metric")
        beside = ("score", "train_loss", "kind", "epoch")
        return [(e.type, e.step, {k: v for k, v in e.data.items() if k not in beside}) for e in found]


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    monkeypatch.setattr(watching, "_SEARCH", 0.0)
    bench = Bench(tmp_path)
    yield bench
    bench.events.close()


def test_a_line_and_a_file_that_say_the_same_say_it_once(bench: Bench) -> None:
    bench.say("Epoch 1/9: train_loss=8.5065, val_loss=7.2500")
    bench.look()
    bench.write("epoch_metrics.csv", "epoch,train_loss,val_loss\n1,8.50651,7.25\n")
    bench.look()
    bench.look()
    assert bench.figures() == [
        ("train", 1, {"loss": 8.5065}),
        ("eval", 1, {"eval_loss": 7.25}),
        ("metric", 1, {"loss": 8.50651}),  # the file has it in full
    ]
    (start,) = bench.told("start")
    assert start.data == {"total_epochs": 9.0, "total_steps": 9}


def test_a_file_that_is_written_anew_each_epoch_tells_each_row_once(bench: Bench) -> None:
    text = "epoch,loss\n"
    for epoch in range(1, 6):
        text += f"{epoch},{1 / epoch:.4f}\n"
        bench.write("m.csv", text, again=True)
        bench.look()
    replacement = bench.folder.work / "other"
    replacement.write_text(text + "6,0.1\n")
    replacement.replace(bench.folder.work / "m.csv")
    bench.look()
    assert [(kind, step) for kind, step, _ in bench.figures()] == [("train", n) for n in range(1, 7)]


def test_files_larger_than_one_look_are_read_whole(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(growing, "MOST", 64)
    bench.write("m.csv", "epoch,loss\n" + "".join(f"{n},{1 / n:.4f}\n" for n in range(1, 51)))
    bench.write("small_stats.csv", "epoch,mean\n" + "".join(f"{n},{n}\n" for n in range(1, 9)))
    bench.say(*(f"epoch {n}: val_loss={2 / n:.4f}" for n in range(1, 51)))
    bench.look()
    bench.look(ended=True)
    for name in ("loss", "eval_loss"):
        assert sorted(step for _, step, data in bench.figures() if name in data) == list(range(1, 51))


def test_files_that_come_late_take_nothing_back(bench: Bench) -> None:
    bench.say(*(f"epoch {n}: loss={1 / n:.3f}" for n in range(1, 6)))
    bench.look()
    bench.write("late_stats.csv", "epoch,mean\n" + "".join(f"{n},{n}\n" for n in range(1, 6)))
    bench.look()
    late = [(kind, step) for kind, step, data in bench.figures() if "late_stats/mean" in data]
    assert late == [("metric", n) for n in range(1, 6)]


def test_a_script_that_goes_back_is_followed_back(bench: Bench) -> None:
    bench.say("epoch 1: loss=5.0", "epoch 2: loss=4.0", "epoch 3: loss=3.0")
    bench.look()
    bench.say("epoch 2: loss=3.9", "epoch 3: loss=2.9")
    bench.look()
    assert [(kind, step, data["loss"]) for kind, step, data in bench.figures()][-2:] == [
        ("train", 2, 3.9), ("train", 3, 2.9),
    ]  # fmt: skip


def test_a_new_attempt_tells_only_what_the_old_one_did_not(bench: Bench) -> None:
    bench.write("m.csv", "epoch,loss\n1,0.5\n2,0.4\n")
    bench.look()
    bench.events.close()
    bench.write("m.csv", "3,0.3\n")
    bench.open(attempt=2)
    bench.look()
    found = bench.told("train")
    assert [(event.step, event.attempt) for event in found] == [(1, 1), (2, 1), (3, 2)]


def test_epochs_of_a_file_are_put_at_the_steps_that_lines_tell(bench: Bench) -> None:
    bench.say("step 100 epoch 1 loss=2.0", "step 200 epoch 2 loss=1.0")
    bench.look()
    bench.write("val.csv", "epoch,val_loss\n1,2.5\n2,1.5\n")
    bench.look()
    assert [(kind, step) for kind, step, _ in bench.figures()] == [
        ("train", 100), ("train", 200), ("eval", 100), ("eval", 200),
    ]  # fmt: skip


def test_nan_is_told_and_alarms_once(bench: Bench) -> None:
    bench.say("epoch 1: loss=1.0", "epoch 2: loss=nan", "epoch 3: loss=nan")
    bench.look()
    assert [event.data["loss"] for event in bench.told("train")] == [1.0, "NaN", "NaN"]
    assert [event.data["alert"] for event in bench.told("alert")] == ["loss_nan"]


def test_a_file_that_is_none_is_told_once_and_harms_nobody(bench: Bench) -> None:
    bench.write("sizes.csv", "name,size\na,1\n")
    (bench.folder.work / "broken.jsonl").write_bytes(b"\xff\xfe\0" * 100 + b"\n{\n")
    os.mkfifo(bench.folder.work / "pipe.csv")
    (bench.folder.work / "passwd.csv").symlink_to("/etc/passwd")
    bench.say("epoch 1: loss=1.0")
    bench.look()
    bench.look(ended=True)
    told = [event.data["message"] for event in bench.told("alert")]
    assert [message.split(":")[0] for message in told] == ["sizes.csv", "broken.jsonl"]
    assert len(bench.figures()) == 1


def test_the_last_line_counts_though_it_has_no_end(bench: Bench) -> None:
    bench.folder.log.write_text("epoch 1: loss=1.0\nepoch 2: loss=0.5")
    bench.look()
    assert len(bench.figures()) == 1
    bench.look(ended=True)
    assert len(bench.figures()) == 2


def test_checkpoints_are_taken_when_they_rest_scored_and_let_go_of(bench: Bench) -> None:
    watch = Checkpoints(bench.folder, bench.folder.work, ["checkpoint*", "best*"], bench.teller)
    bench.say("epoch 4: train_loss=0.5, val_loss=0.6")
    bench.look()
    (bench.folder.work / "best_model.pt").write_bytes(b"no number")
    saved = bench.folder.work / "checkpoint_epoch_4.pt"
    saved.write_bytes(b"weights")
    watch.look()
    assert bench.told("checkpoint") == []  # it may still be written to
    watch.look(ended=True)
    (event,) = bench.told("checkpoint")
    assert event.step == 4 and event.data["eval_loss"] == 0.6 and event.data["score"]["total"] > 0
    assert (bench.folder.checkpoint(4) / saved.name).read_bytes() == b"weights"
    assert watch.newest() == saved
    saved.unlink()
    watch.look()
    assert bench.told("checkpoint")[-1].data["removed"] is True
    assert not bench.folder.checkpoint(4).exists()


def test_a_checkpoint_that_changed_since_it_was_taken_is_not_gone_on_from(bench: Bench) -> None:
    watch = Checkpoints(bench.folder, bench.folder.work, ["checkpoint*"], bench.teller)
    bench.say("epoch 4: loss=0.5", "epoch 8: loss=0.4")
    bench.look()
    for epoch in (4, 8):
        (bench.folder.work / f"checkpoint_epoch_{epoch}.pt").write_bytes(b"whole")
    watch.look(ended=True)
    (bench.folder.work / "checkpoint_epoch_8.pt").unlink()
    (bench.folder.work / "checkpoint_epoch_8.pt").write_bytes(b"to")
    (bench.folder.work / "checkpoint_epoch_12.pt").write_bytes(b"never taken")
    assert watch.newest() == bench.folder.work / "checkpoint_epoch_4.pt"


def test_a_log_that_grows_and_tells_nothing_is_a_sign_of_life(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "_SIGN", -1.0)
    bench.say("loading, for a very long time")
    bench.look()
    assert [event.data["phase"] for event in bench.told("phase")] == ["train"]


def test_folders_are_checkpoints_too(bench: Bench) -> None:
    watch = Checkpoints(bench.folder, bench.folder.work, ["**/checkpoint-*"], bench.teller)
    inner = bench.folder.work / "out" / "checkpoint-30"
    (inner / "adapter").mkdir(parents=True)
    (inner / "adapter" / "weights.bin").write_bytes(b"w" * 10)
    bench.say("step 30 loss=0.5")
    bench.look()
    watch.look(ended=True)
    (event,) = bench.told(EventType.CHECKPOINT)
    assert (event.step, event.data["bytes"], event.data["source"]) == (30, 10, "out/checkpoint-30")
    assert (bench.folder.checkpoint(30) / "adapter" / "weights.bin").exists()
