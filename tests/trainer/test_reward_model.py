"""A reward model is a reward like any other for grpo and rloo (ppo: test_ppo.py), and says what it should."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from engine.job.spec import JobSpec
from tests.trainer import jobs

pytestmark = pytest.mark.training

PROMPTS = [{"prompt": f"Say {at}:", "ground_truth": str(at)} for at in range(34)]
CHATS = [{"prompt": [{"role": "user", "content": f"Say {at}."}]} for at in range(34)]


def spec(path: Path, algorithm: str) -> dict[str, Any]:
    """A job whose rewards are the judge's, twice, and how distinct the words are."""
    rlhf: dict[str, Any] = {"algorithm": algorithm, "rewards": ["distinct"]}
    rlhf |= {"reward_model": str(path / "judge"), "num_generations": 4}
    rlhf |= {"reward_model_weight": 2.0, "max_completion_length": 8, "ppo_epochs": 1}
    training = {"max_steps": 4, "eval_steps": 2, "log_steps": 1, "batch_size": 8, "max_length": 64}
    return {"method": "rlhf", "rlhf": rlhf, "training": training}


@pytest.fixture(scope="module")
def judge(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a tiny classifier with one output, and of a tokenizer; untrained, so it has opinions."""
    import torch
    from transformers import AutoTokenizer, LlamaConfig, LlamaForSequenceClassification

    from engine.job.sections import BuildSpec
    from engine.trainer.build import build

    place = tmp_path_factory.mktemp("judged")
    build(BuildSpec(vocab_size=320, hidden_size=16, layers=1, heads=2), jobs.rows(), 0, place / "judge")
    tokenizer = AutoTokenizer.from_pretrained(place / "judge")
    torch.manual_seed(3)
    sizes: dict[str, Any] = {
        "hidden_size": 16,
        "intermediate_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
    }
    config = LlamaConfig(vocab_size=320, num_labels=1, pad_token_id=tokenizer.pad_token_id, **sizes)
    LlamaForSequenceClassification(config).save_pretrained(place / "judge")
    return place


@pytest.mark.parametrize(("algorithm", "data"), [("grpo", PROMPTS), ("rloo", CHATS)])
def test_a_reward_model_is_weighed_with_the_other_rewards(
    algorithm: str, data: list[dict[str, Any]], judge: Path, tmp_path: Path
) -> None:
    folder = jobs.make_job(tmp_path / "job", spec(judge, algorithm), data)
    jobs.run_here(folder)
    assert jobs.events(folder, "result")
    evals = [event.data for event in jobs.events(folder, "eval")]
    assert [event.step for event in jobs.events(folder, "eval")] == [2, 4]
    for told in evals:
        mine, distinct = told["eval_rewards/reward_model"], told["eval_rewards/distinct"]
        assert mine != 0
        assert told["eval_reward"] == pytest.approx(2.0 * mine + distinct, rel=1e-4)
        assert told["score"]["validity"] == "valid"


def test_it_says_what_the_classifier_says_of_one_text_alone(judge: Path) -> None:
    """Texts of many lengths in padded batches, as text and as messages."""
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    from engine.trainer.reward_model import reward_model

    values = {"name": "a", "model": {"name": "x", "dtype": "fp32"}, "dataset": {"path": "d"}, "lora": None}
    score = reward_model(JobSpec.parse({**values, **spec(judge, "grpo")}, "x"))
    model = AutoModelForSequenceClassification.from_pretrained(judge / "judge").eval()
    tokenizer = AutoTokenizer.from_pretrained(judge / "judge")

    def alone(text: str, special: bool) -> float:
        ids = tokenizer(text, add_special_tokens=special, return_tensors="pt")
        with torch.no_grad():
            return float(model(**ids).logits[0, 0])

    answers = ["yes" * at for at in range(1, 20)]
    found = score(prompts=["Why? "] * 19, completions=answers)
    assert found == pytest.approx([alone(f"Why? {answer}", True) for answer in answers], abs=1e-5)
    assert len(set(found)) == 19
    question = [{"role": "user", "content": "Why?"}]
    said = [[{"role": "assistant", "content": answer}] for answer in answers]
    found = score(prompts=[question] * 19, completions=said)
    texts = [tokenizer.apply_chat_template([*question, *answer], tokenize=False) for answer in said]
    assert found == pytest.approx([alone(text, False) for text in texts], abs=1e-5)


@pytest.mark.parametrize("algorithm", ["grpo", "rloo"])
def test_a_model_with_several_outputs_is_refused(algorithm: str, judge: Path, tmp_path: Path) -> None:
    from transformers import AutoTokenizer, LlamaConfig, LlamaForSequenceClassification

    from engine.errors import TrainingError

    sizes: dict[str, Any] = {
        "hidden_size": 16,
        "intermediate_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
    }
    LlamaForSequenceClassification(LlamaConfig(vocab_size=320, num_labels=3, **sizes)).save_pretrained(
        tmp_path / "judge"
    )
    AutoTokenizer.from_pretrained(judge / "judge").save_pretrained(tmp_path / "judge")
    folder = jobs.make_job(tmp_path / "job", spec(tmp_path, algorithm), PROMPTS)
    with pytest.raises(TrainingError, match="has 3 outputs"):
        jobs.built(folder)
