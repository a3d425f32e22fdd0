"""A tiny job of each method and algorithm, with adapters, looked at closely at every second step."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from engine.job.folder import JobFolder
from engine.job.spec import merged
from tests.trainer import jobs

OFTEN: dict[str, Any] = {"statistics_steps": 2, "log_steps": 1, "max_steps": 4, "eval_steps": 2}
OFTEN |= {"max_grad_norm": 0.01}
PAIRS = [
    {"prompt": f"Name {n}: ", "chosen": f"it is {n}{' so' * (n % 5)}", "rejected": f"not {n}"}
    for n in range(24)
]
DPO = {"method": "dpo", "training": {"max_steps": 4, "eval_steps": 2, "log_steps": 1}}
ORPO = {**DPO, "method": "orpo"}
PROMPTS = [{"prompt": f"Say {'it ' * (n % 7)}{n}:", "ground_truth": n} for n in range(24)]
SFT = {"training": {"rehearsal": True, "max_steps": 6, "eval_steps": 3, "log_steps": 1}}


def rlhf(algorithm: str) -> dict[str, Any]:
    """Completions of at most 8 tokens, each rollout used twice."""
    groups = {} if algorithm == "ppo" else {"num_generations": 4}
    reward = {"name": "contains", "text": "e"}
    given = {"algorithm": algorithm, "rewards": [reward], "max_completion_length": 8, "ppo_epochs": 2}
    training = {**DPO["training"], "gradient_accumulation_steps": 2, "learning_rate": 1e-3}
    return {"method": "rlhf", "rlhf": {**given, **groups}, "training": training}


METHODS: dict[str, tuple[Any, Any]] = {
    "sft": (SFT, None),
    "dpo": (DPO, PAIRS),
    "orpo": (ORPO, PAIRS),
    **{algorithm: (rlhf(algorithm), PROMPTS) for algorithm in ("grpo", "rloo", "ppo")},
}


def job_of(name: str, path: Path, changes: dict[str, Any] | None = None) -> JobFolder:
    """One of them, ready to train: four steps, two evaluations."""
    of_method, data = METHODS[name]
    wanted = merged(merged(merged(of_method, jobs.LORA), {"training": OFTEN}), changes or {})
    return jobs.make_job(path, wanted, data)
