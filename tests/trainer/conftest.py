"""One real run in a process of its own, looked at by many tests."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from engine.job.folder import JobFolder
from engine.trainer.stop import StopRequest
from tests.trainer import jobs
from tests.trainer.methods import job_of


@dataclass(frozen=True)
class Trained:
    """A job that a process trained from beginning to end."""

    folder: JobFolder
    status: int
    log: str


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """A full fine-tune: 14 steps, evaluations at 4, 8, 12 and at the end."""
    folder = jobs.make_job(tmp_path_factory.mktemp("trained") / "job")
    process = jobs.start(folder)
    log, _ = process.communicate(timeout=300)
    return Trained(folder, process.returncode, log)


ByMethod = Callable[[str], JobFolder]
"""`by_method("dpo")`: a job of that method, trained without a rehearsal."""


@pytest.fixture(scope="session")
def by_method(tmp_path_factory: pytest.TempPathFactory) -> ByMethod:
    """Jobs of `methods.METHODS`, each trained when somebody asks for it first."""

    @cache
    def trained_by(name: str) -> JobFolder:
        folder = job_of(name, tmp_path_factory.mktemp(name) / "job", {"training": {"rehearsal": False}})
        jobs.run_here(folder)
        return folder

    return trained_by


@pytest.fixture(scope="module")
def trained_as(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], JobFolder]:
    """An uninterrupted run of each of the module's `KINDS`, trained when it is asked for first."""
    module = request.module

    @cache
    def train(kind: str) -> JobFolder:
        place = tmp_path_factory.mktemp(kind) / "whole"
        folder = jobs.make_job(place, module.KINDS[kind], getattr(module, "ROWS", None))
        jobs.run_here(folder)
        return folder

    return train


@pytest.fixture(params=["full", "lora"])
def whole(
    request: pytest.FixtureRequest, trained_as: Callable[[str], JobFolder]
) -> tuple[JobFolder, dict[str, Any]]:
    """An uninterrupted run, and what it changes in the tiny job."""
    return trained_as(request.param), request.module.KINDS[request.param]


@pytest.fixture(autouse=True)
def no_process_left() -> Iterator[None]:
    """Every trainer that a test started has ended."""
    yield
    for process in jobs.started:
        if process.poll() is None:
            process.kill()
            process.wait()
    jobs.started.clear()


@pytest.fixture
def job(tmp_path: Path) -> JobFolder:
    """The tiny job, ready to train."""
    return jobs.make_job(tmp_path / "job")


@pytest.fixture
def sigterm() -> Iterator[StopRequest]:
    """A stop request that the real signal sets."""
    before = signal.getsignal(signal.SIGTERM)
    yield StopRequest.on_sigterm()
    signal.signal(signal.SIGTERM, before)
