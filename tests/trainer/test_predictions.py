"""What the model answers on the way: the same prompts always, true marks, and training as if unasked."""

from __future__ import annotations

import hashlib
import json
import random
from pathlib import Path
from typing import Any

import pytest

from engine.job import dataset
from engine.job.folder import JobFolder
from engine.job.sections import DatasetSpec, PredictionsSpec
from engine.trainer import likeness, predictions
from engine.trainer.validators import validators, verdict
from tests.trainer import jobs

ASKED: dict[str, Any] = {"enabled": True, "sample_count": 3, "max_new_tokens": 12}
SCHEMA = {"json_schema": {"type": "object", "required": ["a"], "properties": {"a": {"type": "integer"}}}}


def table(one: str, other: str) -> int:
    """Levenshtein distance by the textbook."""
    row = list(range(len(other) + 1))
    for at, x in enumerate(one, 1):
        below = [at]
        for place, y in enumerate(other, 1):
            below.append(min(below[-1] + 1, row[place] + 1, row[place - 1] + (x != y)))
        row = below
    return row[-1]


def test_the_edit_distance_is_the_textbooks() -> None:
    draw = random.Random(1)
    for _ in range(500):
        one, other = ("".join(draw.choices("abü", k=draw.randint(0, 90))) for _ in range(2))
        assert likeness.edit_distance(one, other) == table(one, other)


@pytest.mark.parametrize(
    ("answer", "truth", "exact", "errors", "length", "overlap"),
    [
        ("Paris.", " Paris.\n", True, 0.0, 1.0, 1.0),
        ("kitten", "sitting", False, 3 / 7, 6 / 7, 0.0),
        ("the red red fox", "The red fox", False, 5 / 11, 15 / 11, 6 / 7),
        ("", "abc", False, 1.0, 0.0, 0.0),
        ("abc", "", False, 1.0, None, 0.0),
        ("", "", True, 0.0, None, 1.0),
    ],
)
def test_marks_are_as_they_are_defined(
    answer: str, truth: str, exact: bool, errors: float, length: float | None, overlap: float
) -> None:
    assert likeness.exact_match(answer, truth) is exact
    assert likeness.char_error_rate(answer, truth) == pytest.approx(errors)
    assert likeness.length_ratio(answer, truth) == pytest.approx(length)
    assert likeness.word_overlap(answer, truth) == pytest.approx(overlap)


@pytest.mark.parametrize(
    ("answer", "passes", "says"),
    [
        (' {"a": 1}\n', True, None),
        ('{"a": "one"}', False, "$.a: 'one' is not of type 'integer'"),
        ("{", False, "no JSON"),
        ('{"a": NaN}', False, "no JSON number"),
        ("[" * 100_000, False, "nested too deeply"),
    ],
)
def test_validators_pass_what_fits_and_say_what_does_not(answer: str, passes: bool, says: str | None) -> None:
    found, lacking = validators(PredictionsSpec.model_validate({"validators": ["json", SCHEMA]}))
    assert lacking == []
    passed, wrong = verdict(answer, found)
    assert passed is passes
    assert wrong is None if says is None else says in str(wrong)


def test_what_a_schema_refers_to_is_not_fetched() -> None:
    spec = {"validators": [{"json_schema": {"$ref": "http://127.0.0.1:9/schema.json"}}]}
    found, _ = validators(PredictionsSpec.model_validate(spec))
    assert verdict("{}", found)[0] is False


def test_without_validators_nothing_is_said_about_validity() -> None:
    assert verdict("{", []) == (None, None)


@pytest.mark.parametrize(
    ("row", "format", "prompt", "truth"),
    [
        ({"text": "a b c d"}, "text", "a b", "c d"),
        ({"prompt": "p", "completion": "c"}, "prompt_completion", "p", "c"),
        ({"prompt": "p", "chosen": "c", "rejected": "r"}, "preference", "p", "c"),
        ({"prompt": "p"}, "prompt", "p", None),
        ({"prompt": "p", "ground_truth": 7}, "prompt", "p", "7"),
        (
            {
                "prompt": [{"role": "user", "content": "q"}],
                "completion": [{"role": "assistant", "content": "c"}],
            },
            "prompt_completion",
            [{"role": "user", "content": "q"}],
            "c",
        ),
        (
            {
                "messages": [
                    {"role": role, "content": role} for role in ("user", "assistant", "user", "assistant")
                ]
            },
            "messages",
            [{"role": role, "content": role} for role in ("user", "assistant", "user")],
            "assistant",
        ),
    ],
)
def test_every_format_has_a_prompt_and_a_true_answer(
    row: dict[str, Any], format: str, prompt: Any, truth: str | None
) -> None:
    found = predictions.exchange(row, format, None)
    assert (found.prompt, found.truth) == (prompt, truth)


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> tuple[JobFolder, JobFolder]:
    """The same job without and with predictions."""
    place = tmp_path_factory.mktemp("asked")
    changes = {"predictions": {**ASKED, "validators": ["json", {"json_schema": {"type": 3}}]}, **jobs.LORA}
    folders = jobs.make_job(place / "a", jobs.LORA), jobs.make_job(place / "b", changes)
    for folder in folders:
        jobs.run_here(folder)
    return folders


@pytest.mark.training
def test_the_same_prompts_of_the_eval_split_are_asked_after_each_evaluation(
    asked: tuple[JobFolder, JobFolder],
) -> None:
    folder = asked[1]
    told = jobs.events(folder, "prediction")
    assert [(event.step, event.data["sample_index"]) for event in told] == [
        (step, index) for step in (4, 8, 12, 14) for index in range(3)
    ]
    ids = [event.data["prompt_id"] for event in told]
    assert len(set(ids)) == 3 and ids == ids[:3] * 4
    read = dataset.read(folder.dataset)
    _, held_out = dataset.split(read, DatasetSpec(path="x", train_split=0.8), 7)
    prompts = {json.dumps(row["messages"][:1], sort_keys=True): row["messages"] for row in held_out}
    found = {hashlib.sha256(prompt.encode()).hexdigest(): messages for prompt, messages in prompts.items()}
    for event in told:
        question, answer = (message["content"] for message in found[event.data["prompt_id"]])
        assert (event.data["prompt"], event.data["ground_truth"]) == (question, answer)


@pytest.mark.training
def test_each_answer_is_greedy_and_marked_by_its_own_numbers(asked: tuple[JobFolder, JobFolder]) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = asked[1]
    best = jobs.events(folder, "result")[0].data["best_step"]
    event = jobs.events(folder, "prediction", lambda event: event.step == best)[0]
    path = folder.checkpoint(best)
    tokenizer = AutoTokenizer.from_pretrained(path)
    model = AutoModelForCausalLM.from_pretrained(path).eval()
    given = tokenizer.apply_chat_template(
        [{"role": "user", "content": event.data["prompt"]}], add_generation_prompt=True
    )["input_ids"]
    tokens = list(given)
    for _ in range(12):
        with torch.no_grad():
            tokens.append(int(model(torch.tensor([tokens])).logits[0, -1].argmax()))
        if tokens[-1] == tokenizer.eos_token_id:
            break
    said = tokens[len(given) :]
    data = event.data
    assert data["prediction"] == tokenizer.decode(said, skip_special_tokens=True)
    assert (data["prompt_tokens"], data["completion_tokens"]) == (len(given), len(said))
    assert data["char_error_rate"] == likeness.char_error_rate(data["prediction"], data["ground_truth"])
    assert data["word_overlap"] == likeness.word_overlap(data["prediction"], data["ground_truth"])
    assert data["latency_ms"] > 0
    assert data["validation_pass"] is False and "no JSON" in data["validation_errors"]


@pytest.mark.training
def test_training_goes_as_if_nothing_had_been_asked(asked: tuple[JobFolder, JobFolder]) -> None:
    """Dropout draws from the random state in each step."""
    without, with_them = (jobs.by_step(folder, "train", "loss", "grad_norm") for folder in asked)
    assert with_them == without
    assert jobs.by_step(asked[1], "eval", "eval_loss") == jobs.by_step(asked[0], "eval", "eval_loss")


@pytest.mark.training
def test_a_validator_that_cannot_be_had_is_told_once(asked: tuple[JobFolder, JobFolder]) -> None:
    told = jobs.events(asked[1], "alert", lambda event: event.data["alert"] == "validator")
    assert len(told) == 1
    assert "no JSON Schema" in told[0].data["message"]


@pytest.mark.training
@pytest.mark.parametrize(("every", "steps"), [("epoch", {7, 14}), (5, {5, 10})])
def test_how_often_is_asked_is_as_the_spec_says(every: Any, steps: set[int], tmp_path: Path) -> None:
    folder = jobs.make_job(tmp_path / "a", {"predictions": {**ASKED, "sample_count": 1, "every": every}})
    jobs.run_here(folder)
    assert {event.step for event in jobs.events(folder, "prediction")} == steps


@pytest.mark.training
def test_a_failure_is_an_alert_and_training_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch
    from transformers import LlamaForCausalLM

    def out_of_memory(*arguments: Any, **options: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    monkeypatch.setattr(LlamaForCausalLM, "generate", out_of_memory)
    folder = jobs.make_job(tmp_path / "a", {"predictions": ASKED})
    jobs.run_here(folder)
    told = jobs.events(folder, "alert", lambda event: event.data["alert"] == "predictions_failed")
    assert [event.step for event in told] == [4, 8, 12, 14]
    assert "Tried to allocate" in told[0].data["message"]
    assert len(jobs.events(folder, "result")) == 1
    assert jobs.events(folder, "recovery") == []
