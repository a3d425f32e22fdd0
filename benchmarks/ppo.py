"""Podium's PPO against the last one of TRL (1.12): the same model, prompts, reward, settings and seeds.

    pip install --no-deps --target /tmp/trl112 trl==1.12.0
    python benchmarks/ppo.py /tmp/trl112 [--updates 40] [--seeds 5]

The model is a small Llama with random weights; a completion's reward is its share of tokens with a vowel,
counted in the longest completion's length. Prints for each seed the mean reward of all rollouts, of the
last quarter of them, and of fresh completions by the trained policy, and the seconds that each side took.
An update is one rollout, used for four optimizer steps. TRL's takes its reward from a model, so the same
reward is dressed up as one. Runs on a CPU in some minutes.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.update(HF_HUB_DISABLE_TELEMETRY="1", HF_HUB_OFFLINE="1", TRL_EXPERIMENTAL_SILENCE="1")
sys.path.insert(0, str(Path(__file__).parents[1]))

from engine.job import dataset
from engine.job.events import EventWriter
from engine.job.folder import JobFolder, write_json
from engine.job.spec import JobSpec
from engine.trainer import setup
from engine.trainer.attempt import Attempt
from engine.trainer.stop import StopRequest

LENGTH = 16
PROMPTS = [{"prompt": f"{first} {second}"} for first in range(100, 110) for second in range(10, 23)]


@dataclass(frozen=True)
class Run:
    """One training: the mean reward of each rollout, of the trained policy, and seconds."""

    rewards: list[float]
    final: float
    seconds: float

    @property
    def late(self) -> float:
        return statistics.mean(self.rewards[-len(self.rewards) // 4 :])


def job(updates: int, seed: int, rate: float, place: Path) -> JobFolder:
    """A job's folder for a seed."""
    folder = JobFolder(place)
    folder.create()
    values: dict[str, Any] = {
        "name": "ppo",
        "method": "rlhf",
        "model": {
            "name": "tiny",
            "dtype": "fp32",
            "build": {"vocab_size": 320, "hidden_size": 64, "layers": 2, "intermediate_size": 128},
        },
        "dataset": {"path": "dataset.jsonl", "train_split": 0.9},
        "lora": None,
        "rlhf": {
            "rewards": [{"name": "length", "target": 1}],
            "max_completion_length": LENGTH,
            # TRL's has no entropy bonus.
            "entropy_coef": 0.0,
        },
        "training": {
            "max_steps": 4 * updates,
            "learning_rate": rate,
            "batch_size": 16,
            "eval_batch_size": 16,
            "gradient_accumulation_steps": 1,
            "max_length": 64,
            "schedule": "constant",
            "warmup_steps": 0,
            "weight_decay": 0.0,
            "max_grad_norm": 0.0,
            "gradient_checkpointing": False,
            "log_steps": 4,
            "eval_steps": 4 * updates,
            "seed": seed,
        },
    }
    write_json(folder.spec, JobSpec.model_validate(values).to_json())
    dataset.write_jsonl(PROMPTS, folder.dataset)
    return folder


def built(folder: JobFolder, events: EventWriter) -> tuple[Any, setup.Data]:
    attempt = Attempt(folder, JobSpec.from_json(folder.spec), events, StopRequest())
    data = setup.read_data(attempt)
    return setup.build(attempt, data, None)[0], data


def vowels(tokenizer: Any) -> list[int]:
    """The tokens that earn something."""
    texts = ((token, tokenizer.decode([token])) for token in range(len(tokenizer)))
    return [token for token, text in texts if set(text.lower()) & set("aeiou") and "<" not in text]


def podium(folder: JobFolder) -> Run:
    """Podium's trainer, with the reward put in the place of the spec's."""
    with EventWriter(folder.events) as events:
        trainer, _ = built(folder, events)
        wanted = set(vowels(trainer.tokenizer))

        def reward(completion_ids: list[list[int]], **others: Any) -> list[float]:
            return [sum(token in wanted for token in ids) / LENGTH for ids in completion_ids]

        trainer.rewards, trainer.reward_weights = [reward], [1.0]
        start = time.process_time()
        trainer.train()
        seconds = time.process_time() - start
        rewards = [entry["reward"] for entry in trainer.state.log_history if "reward" in entry]
        return Run(rewards, judged(trainer.model, trainer.tokenizer, wanted), seconds)


def trl(folder: JobFolder) -> Run:
    """TRL's trainer with the same model, prompts and settings."""
    from datasets import Dataset
    from transformers import LlamaForSequenceClassification
    from trl.experimental.ppo import PPOConfig, PPOTrainer

    with EventWriter(folder.events) as events:
        ours, data = built(folder, events)
    policy, tokenizer, spec = ours.model, ours.tokenizer, ours.attempt.spec
    del policy.value_head
    torch_seed(spec.training.seed)
    value_model = LlamaForSequenceClassification.from_pretrained(folder.path / "base", num_labels=1)
    training, rlhf = spec.training, spec.rlhf
    prompts = Dataset.from_list([{"input_ids": tokenizer(row["prompt"])["input_ids"]} for row in data.train])
    trainer = PPOTrainer(
        args=PPOConfig(
            output_dir=str(folder.path / "trl"),
            total_episodes=training.max_steps // rlhf.ppo_epochs * training.batch_size,
            per_device_train_batch_size=training.batch_size,
            gradient_accumulation_steps=1,
            learning_rate=training.learning_rate,
            lr_scheduler_type="constant",
            weight_decay=0.0,
            optim=training.optimizer,
            num_ppo_epochs=rlhf.ppo_epochs,
            response_length=LENGTH,
            temperature=rlhf.temperature,
            kl_coef=rlhf.beta,
            cliprange=rlhf.clip_range,
            cliprange_value=rlhf.value_clip,
            vf_coef=rlhf.vf_coef,
            gamma=rlhf.gamma,
            lam=rlhf.lam,
            stop_token="eos",
            num_sample_generations=0,
            seed=training.seed,
            use_cpu=True,
            bf16=False,
            gradient_checkpointing=False,
            eval_strategy="no",
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
            logging_steps=1,
        ),
        processing_class=tokenizer,
        model=policy,
        ref_model=ours.reference,
        reward_model=dressed(vowels(tokenizer)),
        value_model=value_model,
        train_dataset=prompts,
        eval_dataset=prompts,
    )
    start = time.process_time()
    trainer.train()
    seconds = time.process_time() - start
    rewards = [
        entry["objective/scores"] for entry in trainer.state.log_history if "objective/scores" in entry
    ]
    return Run(rewards, judged(policy, tokenizer, set(vowels(tokenizer))), seconds)


def dressed(wanted: list[int]) -> Any:
    """The reward as a model: its hidden states are the tokens, its score counts the wanted ones so far."""
    import torch
    from transformers.modeling_outputs import BaseModelOutput

    class Tokens(torch.nn.Module):
        def forward(self, input_ids: Any, **others: Any) -> Any:
            return BaseModelOutput(hidden_states=(input_ids.unsqueeze(-1),))

    class Vowels(torch.nn.Module):
        base_model_prefix = "tokens"

        def __init__(self) -> None:
            super().__init__()
            self.tokens = Tokens()
            self.register_buffer("wanted", torch.tensor(wanted))

        def score(self, hidden: Any) -> Any:
            return torch.isin(hidden, self.wanted).float().cumsum(1) / LENGTH

    return Vowels()


def torch_seed(seed: int) -> None:
    import torch

    torch.manual_seed(seed)


def judged(model: Any, tokenizer: Any, wanted: set[int]) -> float:
    """The mean reward of 520 completions, drawn with one seed for both sides."""
    import torch
    from transformers import GenerationConfig

    torch_seed(0)
    model.eval()
    encoded = tokenizer(
        [row["prompt"] for row in PROMPTS] * 4, padding=True, padding_side="left", return_tensors="pt"
    )
    config = GenerationConfig(
        max_new_tokens=LENGTH,
        do_sample=True,
        top_k=0,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    model.generation_config = config
    with torch.no_grad():
        drawn = model.generate(
            input_ids=encoded["input_ids"],
            attention_mask=encoded["attention_mask"],
            generation_config=config,
        )
    said = drawn[:, encoded["input_ids"].shape[1] :].tolist()
    return statistics.mean(sum(token in wanted for token in ids) / LENGTH for ids in said)


def compare(updates: int, seeds: int, rate: float) -> None:
    print(f"{updates} updates of 16 completions, learning rate {rate:g}: mean reward")
    print("seed  side    all rollouts  last quarter  trained policy  CPU seconds")
    runs: dict[str, list[Run]] = {"Podium": [], "TRL": []}
    for seed in range(1, seeds + 1):
        for name, side in (("Podium", podium), ("TRL", trl)):
            with tempfile.TemporaryDirectory() as place, contextlib.redirect_stdout(io.StringIO()):
                run = side(job(updates, seed, rate, Path(place) / "job"))
            assert len(run.rewards) == updates, f"{name} logged {len(run.rewards)} rollouts"
            runs[name].append(run)
            show(str(seed), name, statistics.mean(run.rewards), run.late, run.final, run.seconds)
    for name, found in runs.items():
        columns = zip(*((statistics.mean(r.rewards), r.late, r.final, r.seconds) for r in found), strict=True)
        show("mean", name, *map(statistics.mean, columns))


def show(seed: str, name: str, whole: float, late: float, final: float, seconds: float) -> None:
    print(f"{seed:>4}  {name:6}  {whole:12.4f}  {late:12.4f}  {final:14.4f}  {seconds:11.1f}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("trl", type=Path, help="where TRL 1.12 is installed")
    parser.add_argument("--updates", type=int, default=40, help="rollouts of a run")
    parser.add_argument("--seeds", type=int, default=5, help="runs of each side")
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    options = parser.parse_args()
    sys.path.insert(0, str(options.trl))
    import trl as found

    assert found.__version__ == "1.12.0", f"TRL {found.__version__} is in the way"
    import warnings

    warnings.filterwarnings("ignore")
    compare(options.updates, options.seeds, options.learning_rate)


if __name__ == "__main__":
    main()
