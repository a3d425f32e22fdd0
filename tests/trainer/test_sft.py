"""Supervised fine-tuning learns the answers alone, in every format, and packing mixes nothing up."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from engine.job.folder import JobFolder
from tests.trainer import jobs
from tests.trainer.conftest import Trained

pytestmark = pytest.mark.training

CHAT = "<|im_start|>user\n{}<|im_end|>\n<|im_start|>assistant\n"


def sides(folder: JobFolder) -> list[tuple[str, str]]:
    """What the model is shown and what it must learn, of every training row."""
    trainer, _ = jobs.built(folder)
    found = []
    for row in trainer.train_dataset:
        pairs = list(zip(row["input_ids"], row["labels"], strict=True))
        assert all(label in (-100, token) for token, label in pairs)
        shown = [token for token, label in pairs if label == -100]
        learnt = [label for _, label in pairs if label != -100]
        found.append((trainer.processing_class.decode(shown), trainer.processing_class.decode(learnt)))
    return sorted(found)


def numbered(make: Any) -> list[dict[str, Any]]:
    return [make(number) for number in range(10)]


def split_off(expected: list[tuple[str, str]], found: list[tuple[str, str]]) -> None:
    assert len(found) == 8
    assert set(found) <= set(expected)


def test_messages_train_on_every_assistant_turn_and_its_end(tmp_path: Path) -> None:
    data = numbered(
        lambda n: {
            "messages": [
                {"role": "system", "content": "Be brief."},
                {"role": "user", "content": f"First {n}?"},
                {"role": "assistant", "content": f"Yes {n}."},
                {"role": "user", "content": "Sure?"},
                {"role": "assistant", "content": f"No {n}."},
            ]
        }
    )
    folder = jobs.make_job(tmp_path / "a", {"training": {"max_length": 512}}, data)
    for shown, learnt in sides(folder):
        number = learnt[4]
        assert learnt == f"Yes {number}.<|im_end|>No {number}.<|im_end|>"
        assert f"First {number}?" in shown
        assert "Yes" not in shown and "No " not in shown


def test_prompt_and_completion_train_on_the_completion(tmp_path: Path) -> None:
    data = numbered(lambda n: {"prompt": f"{n} is", "completion": f" number {n}", "note": n})
    expected = [(f"{n} is", f" number {n}<|im_end|>") for n in range(10)]
    split_off(expected, sides(jobs.make_job(tmp_path / "a", data=data)))


def test_alpaca_rows_become_a_conversation(tmp_path: Path) -> None:
    data = numbered(
        lambda n: {"instruction": f"Say {n}", "input": "loud" if n % 2 else "", "output": f"{n}!"}
    )
    expected = [
        (CHAT.format(f"Say {n}\n\nloud" if n % 2 else f"Say {n}"), f"{n}!<|im_end|>\n") for n in range(10)
    ]
    split_off(expected, sides(jobs.make_job(tmp_path / "a", {"training": {"max_length": 256}}, data)))


def test_alpaca_rows_without_a_chat_template_take_alpacas_own_text(tmp_path: Path) -> None:
    data = numbered(lambda n: {"instruction": f"Say {n}", "input": "loud", "output": f"{n}!"})
    text = "### Instruction:\nSay {}\n\n### Input:\nloud\n\n### Response:\n"
    expected = [(text.format(n), f"{n}!<|im_end|>") for n in range(10)]
    changes = {"model": {"chat_template": ""}, "training": {"max_length": 256}}
    split_off(expected, sides(jobs.make_job(tmp_path / "a", changes, data)))


def test_rows_whose_answer_is_cut_off_are_counted(tmp_path: Path) -> None:
    data = jobs.rows()
    for row in data[:4]:
        row["messages"][0]["content"] = "x y " * 400
    folder = jobs.make_job(tmp_path / "a", data=data)
    trainer, _ = jobs.built(folder)
    left_out = 34 - len(trainer.train_dataset) - len(trainer.eval_dataset)
    assert left_out == 4
    told = " ".join(event.data["message"] for event in jobs.events(folder, "alert"))
    assert "rows have no answer within max_length 96: left out" in told


def test_packed_rows_do_not_see_each_other(trained: Trained, tmp_path: Path) -> None:
    """The eval loss of a trained model is the same packed and unpacked: attention stays inside each row."""
    losses = []
    for packing in (False, True):
        changes = {
            "model": {"name": str(trained.folder.final), "build": None},
            "training": {"packing": packing, "max_length": 128, "eval_batch_size": 1},
        }
        trainer, attempt = jobs.built(jobs.make_job(tmp_path / str(packing), changes))
        attempt.events = jobs.EventWriter(attempt.folder.events)
        losses.append((trainer.evaluate()["eval_loss"], len(trainer.eval_dataset)))
    (unpacked, rows), (packed, blocks) = losses
    assert blocks < rows
    assert packed == pytest.approx(unpacked, rel=1e-5)


def test_the_built_model_comes_from_the_seed_and_the_training_rows_alone(tmp_path: Path) -> None:
    weights = []
    for name, seed in (("a", 7), ("b", 7), ("c", 8)):
        folder = jobs.make_job(tmp_path / name, {"training": {"seed": seed}})
        jobs.built(folder)
        weights.append({path.name: path.read_bytes() for path in (folder.path / "base").iterdir()})
    assert weights[0] == weights[1]
    assert weights[0]["model.safetensors"] != weights[2]["model.safetensors"]
