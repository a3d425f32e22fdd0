"""A RunPod on loopback, and both backends that talk to it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from importlib.util import find_spec

import pytest
from pydantic import SecretStr

from engine.pods.patience import Patience
from engine.pods.provider import CreateRequest, Provider
from engine.pods.runpod_rest import RunPodREST
from tests.emulators.runpod import Clock, Emulator

# Lines of requests, by what they do: REST's and GraphQL's.
CREATE = r"POST /v2/pods$|podFindAndDeployOnDemand$"
LIST = r"GET /v2/pods$|graphql pods$"
GET = r"GET /v2/pods/\w+$|graphql pod$"
CATALOG = r"/catalog/gpus$|gpuTypes$"
STOP = r"/action$|podStop$"
END = r"DELETE /v2/pods/|podTerminate$"


@pytest.fixture
def runpod(monkeypatch: pytest.MonkeyPatch) -> Iterator[Emulator]:
    """An account with a clock that stands still; a request that breaks the description fails the test."""
    with Emulator(clock=Clock()) as emulator:
        monkeypatch.setenv("RUNPOD_API_KEY", emulator.account.key)
        monkeypatch.setenv("RUNPOD_API_BASE_URL", emulator.url)
        yield emulator
    assert emulator.violations == []


@pytest.fixture
def patience(runpod: Emulator) -> Patience:
    """Waits pass on the emulator's clock."""
    return Patience(read_timeout=20, create_timeout=20, sleep=runpod.account.clock.sleep)


@pytest.fixture
async def rest(runpod: Emulator, patience: Patience) -> AsyncIterator[RunPodREST]:
    provider = RunPodREST(SecretStr(runpod.account.key), patience=patience)
    yield provider
    await provider.close()


@pytest.fixture(params=["rest", "sdk"])
async def provider(
    request: pytest.FixtureRequest, runpod: Emulator, patience: Patience
) -> AsyncIterator[Provider]:
    made = make(request.param, runpod, patience)
    yield made
    await made.close()


def make(backend: str, runpod: Emulator, patience: Patience) -> Provider:
    key = SecretStr(runpod.account.key)
    if backend == "rest":
        return RunPodREST(key, patience=patience)
    for package in ("runpod", "graphql"):
        if find_spec(package) is None:
            pytest.skip(f"the SDK backend needs the package {package}: pip install '.[dev,runpod]'")
    from engine.pods.runpod_sdk import RunPodSDK

    return RunPodSDK(key, patience=patience)


def asked(**changes: object) -> CreateRequest:
    values = {"name": "podium-7", "image": "runpod/pytorch:1.0.7", "gpu_id": "NVIDIA GeForce RTX 4090"}
    return CreateRequest(**{**values, **changes})  # type: ignore[arg-type]


def count(runpod: Emulator, pattern: str) -> int:
    """How many requests were of that kind."""
    import re

    return sum(bool(re.search(pattern, line)) for line in runpod.lines)
