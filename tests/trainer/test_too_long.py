"""Rows that training has no room for are counted and named before step 1, whatever their format."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from engine.job import formats
from engine.job.spec import JobSpec
from tests.trainer import jobs

pytestmark = pytest.mark.training

LONG = "so " * 60


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Any:
    from transformers import AutoTokenizer

    from engine.job.sections import BuildSpec
    from engine.trainer.build import build

    place = tmp_path_factory.mktemp("model") / "model"
    build(BuildSpec(vocab_size=400, hidden_size=16, layers=1, heads=2), jobs.rows(), 0, place)
    return AutoTokenizer.from_pretrained(place)


def user(text: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": text}]


def assistant(text: str) -> list[dict[str, str]]:
    return [{"role": "assistant", "content": text}]


ROWS: dict[str, tuple[str, Callable[[str], dict[str, Any]]]] = {
    "messages": ("sft", lambda text: {"messages": user("Why?") + assistant(text)}),
    "prompt_completion": ("sft", lambda text: {"prompt": text, "completion": "yes"}),
    "alpaca": ("sft", lambda text: {"instruction": "Do it", "input": text, "output": "done"}),
    "text": ("cpt", lambda text: {"text": text}),
    "preference": ("dpo", lambda text: {"prompt": "Why?", "chosen": "so", "rejected": f"no{text}"}),
    "pairs of messages": (
        "orpo",
        lambda text: {"prompt": user("Why?"), "chosen": assistant(text), "rejected": assistant("no")},
    ),
    "prompt": ("rlhf", lambda text: {"prompt": user(text)}),
}


def made(method: str, max_length: int) -> JobSpec:
    training = {"max_length": max_length, "packing": False}
    values: dict[str, Any] = {"template": f"{method}_standard", "name": "a", "dataset": {"path": "d"}}
    if method == "rlhf":
        values["rlhf"] = {"max_completion_length": 8}
    return JobSpec.parse({**values, "training": training}, "x")


@pytest.mark.parametrize("kind", ROWS)
def test_what_does_not_fit_is_named_by_its_number(kind: str, tokenizer: Any) -> None:
    from engine.trainer.too_long import too_long

    method, row = ROWS[kind]
    texts = ["so", LONG, "so so", LONG + LONG, "not so"]
    rows, numbers = [row(text) for text in texts], [3, 4, 7, 8, 9]
    format = formats.detect(rows, method) or ""
    found = too_long(made(method, 48), rows, numbers, format, tokenizer)
    assert found is not None
    assert (found.rows, found.longest, found.counted) == ((4, 8), 8, True)
    assert found.limit == (40 if method == "rlhf" else 48)
    assert found.tokens > 120
    assert "(rows 4, 8; the longest is row 8, " in str(found)
    assert f"will be {'left out' if method == 'rlhf' else 'cut'}" in str(found)
    assert too_long(made(method, 4000), rows, numbers, format, tokenizer) is None


def test_tokens_are_counted_as_training_will_see_them(tokenizer: Any, tmp_path: Path) -> None:
    """The length that just fits is that of the trainer's own longest row."""
    from engine.trainer.too_long import too_long

    rows = [row for row in jobs.rows() if len(row["messages"][1]["content"]) > 20]
    trainer, _ = jobs.built(jobs.make_job(tmp_path / "a", data=jobs.rows()))
    longest = max(trainer.train_dataset["input_ids"], key=len)
    given = [row for row in rows if row["messages"][0]["content"] in trainer.processing_class.decode(longest)]
    tokens, mine = len(longest), trainer.processing_class
    assert too_long(made("sft", tokens), given, [1], "messages", mine) is None
    found = too_long(made("sft", tokens - 1), given, [1], "messages", mine)
    assert found is not None and found.tokens == tokens


def test_the_trainer_tells_before_step_1(tmp_path: Path) -> None:
    rows = jobs.rows()
    rows[10]["messages"][1]["content"] = " ".join(str(7919 * at) for at in range(40))
    folder = jobs.make_job(tmp_path / "a", {"training": {"max_steps": 1}}, rows)
    jobs.built(folder)
    told = [event.data["message"] for event in jobs.events(folder, "alert")]
    assert any(
        "dataset.jsonl: 1 row is longer than the 96 tokens" in text and "(row 11, " in text for text in told
    )
