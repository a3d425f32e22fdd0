"""Tiny real jobs for the trainer's tests: a model of some 20,000 weights that learns in a second."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from engine.job import dataset
from engine.job.events import Event, EventWriter, decode
from engine.job.folder import JobFolder, write_json
from engine.job.spec import JobSpec, merged
from engine.trainer import checkpoints
from engine.trainer.attempt import Attempt
from engine.trainer.stop import StopRequest

BUILD = {"vocab_size": 320, "hidden_size": 32, "layers": 1, "heads": 2, "intermediate_size": 48}
SPEC: dict[str, Any] = {
    "name": "tiny",
    "model": {"name": "tiny", "dtype": "fp32", "build": BUILD},
    "dataset": {"path": "dataset.jsonl", "train_split": 0.8},
    "lora": None,
    "training": {
        "max_steps": 14,
        "learning_rate": 5e-3,
        "batch_size": 4,
        "eval_batch_size": 3,
        "gradient_accumulation_steps": 1,
        "max_length": 96,
        "schedule": "linear",
        "warmup_steps": 3,
        "gradient_checkpointing": False,
        "log_steps": 2,
        "eval_steps": 4,
        "keep_checkpoints": 1,
        "seed": 7,
    },
}
LORA = {"lora": {"r": 4, "alpha": 8, "dropout": 0.1, "target_modules": ["q_proj", "v_proj"]}}

started: list[subprocess.Popen[str]] = []


def rows(count: int = 34) -> list[dict[str, Any]]:
    """Questions of one length or another, each with its answer."""
    words = ["red", "green", "blue", "small", "large", "early", "late", "north", "south", "east", "west"]
    return [
        {
            "messages": [
                {"role": "user", "content": f"What is {words[i % 11]} and {words[i * 3 % 11]} {i}?"},
                {"role": "assistant", "content": f"It is {words[i * 5 % 11]}{' indeed' * (i % 4)}."},
            ],
            "group": i % 9,
        }
        for i in range(count)
    ]


def make_job(
    path: Path, changes: Mapping[str, Any] | None = None, data: list[dict[str, Any]] | None = None
) -> JobFolder:
    """A job's folder, ready to train."""
    folder = JobFolder(path)
    folder.create()
    spec = JobSpec.model_validate(merged(SPEC, changes or {}))
    write_json(folder.spec, spec.to_json())
    dataset.write_jsonl(rows() if data is None else data, folder.dataset)
    return folder


def at_step(trained: JobFolder, step: int, place: Path) -> JobFolder:
    """A copy of a trained job as a crash after a step left it: no later checkpoint, and no end."""
    folder = JobFolder(place)
    shutil.copytree(trained.path, folder.path)
    shutil.rmtree(folder.final)
    for later in checkpoints.steps(folder):
        if later > step:
            checkpoints.remove(checkpoints.read(folder.checkpoint(later)))
    return folder


def start(folder: JobFolder, attempt: int = 1, **options: Any) -> subprocess.Popen[str]:
    """The trainer in a process of its own; the fixture `no_process_left` sees to its end."""
    process = subprocess.Popen(
        [sys.executable, "-m", "engine.trainer", str(folder.path)],
        env={**os.environ, "PODIUM_ATTEMPT": str(attempt)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        **options,
    )
    started.append(process)
    return process


def run_here(folder: JobFolder, attempt: int = 1, stop: StopRequest | None = None) -> None:
    """One attempt in this process."""
    from engine.trainer.run import run

    with EventWriter(folder.events, attempt) as writer:
        run(folder, writer, stop or StopRequest())


def signal_at(step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Send this process SIGTERM when training reaches a step, once."""
    from engine.trainer.reporter import Reporter

    original = Reporter.on_step_end
    sent: list[int] = []

    def on_step_end(self: Any, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step == step and not sent:
            sent.append(step)
            os.kill(os.getpid(), signal.SIGTERM)
        original(self, args, state, control, **kwargs)

    monkeypatch.setattr(Reporter, "on_step_end", on_step_end)


def attempt_at(folder: JobFolder) -> Attempt:
    """An attempt that has not begun."""
    return Attempt(folder, JobSpec.from_json(folder.spec), EventWriter(folder.events), StopRequest())


def built(folder: JobFolder) -> tuple[Any, Attempt]:
    """The trainer that a job gets, not yet run."""
    from engine.trainer import setup

    with EventWriter(folder.events) as writer:
        attempt = Attempt(folder, JobSpec.from_json(folder.spec), writer, StopRequest())
        trainer, _ = setup.build(attempt, setup.read_data(attempt), None)
    return trainer, attempt


def events(
    folder: JobFolder, type: str | None = None, where: Callable[[Event], bool] = lambda event: True
) -> list[Event]:
    """The job's events, of one type if given."""
    found = [decode(line) for line in folder.events.read_bytes().splitlines()]
    return [event for event in found if type in (None, event.type) and where(event)]


def by_step(folder: JobFolder, type: str, *names: str) -> dict[int, tuple[Any, ...]]:
    """Figures of one type of event by step, the latest attempt's."""
    return {
        event.step: tuple(event.data.get(name) for name in names)
        for event in events(folder, type)
        if event.step is not None
    }


def manifest(path: Path) -> dict[str, Any]:
    """A checkpoint's manifest."""
    return dict(json.loads((path / "manifest.json").read_text()))
