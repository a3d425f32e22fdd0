"""Serving a model of the Hub: the price first, the answer checked, and nothing left behind that bills."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import SecretStr

from engine.controller import deploy
from engine.errors import BadInput, Missing, NoCapacity, ProviderError
from engine.job.events import Status
from engine.job.folder import JobFolder
from engine.pods.patience import Patience
from engine.pods.serverless import Serverless
from engine.records import Checkpoint, Job
from tests.conftest import Podium
from tests.emulators.runpod import Clock
from tests.emulators.runpod.server import Fault
from tests.emulators.runpod.serverless import ServerlessEmulator

TOKEN = "hf_" + "secret" * 5


@pytest.fixture
def cloud(monkeypatch: pytest.MonkeyPatch) -> Iterator[ServerlessEmulator]:
    """An account on loopback."""
    with ServerlessEmulator(clock=Clock()) as emulator:
        monkeypatch.setenv("RUNPOD_API_KEY", emulator.account.key)
        monkeypatch.setenv("RUNPOD_API_BASE_URL", emulator.url)
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        emulator.account.stock |= dict.fromkeys(emulator.account.stock, "HIGH")
        yield emulator
    assert emulator.violations == []


@pytest.fixture
async def account(cloud: ServerlessEmulator) -> AsyncIterator[Serverless]:
    clock = cloud.account.clock
    client = Serverless(
        SecretStr(cloud.account.key), patience=Patience(read_timeout=20, sleep=clock.sleep, clock=clock.now)
    )
    yield client
    await client.close()


def a_job(**changes: Any) -> Job:
    values: dict[str, Any] = {
        "id": "a", "name": "a", "status": Status.COMPLETED, "created_at": datetime(2026, 11, 21, tzinfo=UTC),
        "method": "sft", "config": {"training": {"max_length": 2048}},
    }  # fmt: skip
    return Job(**values | changes)


async def test_the_price_is_known_before_anything_is_made(
    cloud: ServerlessEmulator, account: Serverless
) -> None:
    price = await deploy.quote(account, 14_000_000_000, workers=3)
    assert (price.pool.id, round(price.memory_gb, 1)) == ("ADA_24", 18.2)
    assert "$1.10 an hour while a worker runs" in price.sentence and "$3.30 an hour" in price.sentence
    assert cloud.endpoints == {}
    with pytest.raises(NoCapacity):
        await deploy.quote(account, 900_000_000_000)


async def test_an_endpoint_is_believed_when_it_has_answered(
    cloud: ServerlessEmulator, account: Serverless
) -> None:
    said: list[str] = []
    price = await deploy.quote(account, 1)
    served = await deploy.serve(account, a_job(), "Me/My.Model", price, told=said.append)
    assert served.answer == "It is green." and served.endpoint_id in served.url
    (made,) = cloud.endpoints.values()
    assert made["name"] == "podium-me-my-model" and made["workers"]["min"] == 0
    assert (made["env"]["MODEL_NAME"], made["env"]["MAX_MODEL_LEN"]) == ("Me/My.Model", "2048")
    asked = next(request for request in cloud.requests if request.path.endswith("/runsync"))
    assert asked.body["input"]["messages"][0]["role"] == "user"
    assert TOKEN not in "".join(said)


async def test_one_that_does_not_answer_is_withdrawn(cloud: ServerlessEmulator, account: Serverless) -> None:
    cloud.fails = "out of memory"
    price = await deploy.quote(account, 1)
    with pytest.raises(ProviderError, match="out of memory"):
        await deploy.serve(account, a_job(method="cpt"), "me/it", price)
    assert cloud.endpoints == {}
    cloud.fault("DELETE /v2/serverless", Fault(status=403))
    with pytest.raises(ProviderError, match="out of memory") as caught:
        await deploy.serve(account, a_job(), "me/it", price)
    assert "could not be withdrawn" in str(caught.value)


def test_a_models_size_is_two_bytes_a_parameter_whatever_the_checkpoint_holds() -> None:
    adapter = Checkpoint(job_id="a", step=1, size_bytes=1000)
    assert deploy.size_of(a_job(metadata={"parameters": {"total": 7e9}}), adapter) == 14e9
    assert deploy.size_of(a_job(), adapter) == 1000


@pytest.mark.parametrize("repo", ["", "name", "a/b/c", "../x", "a/b c", "-a/b"])
async def test_a_repository_has_an_owner_and_a_name(repo: str, tmp_path: Any) -> None:
    with pytest.raises(BadInput, match="no repository"):
        await deploy.publish(JobFolder(tmp_path), tmp_path, repo)


async def test_without_a_token_nothing_is_begun(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setattr(deploy, "find_spec", lambda name: object())
    with pytest.raises(Missing, match="HF_TOKEN"):
        await deploy.publish(JobFolder(tmp_path), tmp_path, "me/it")


def test_the_command_asks_for_the_price_and_lists_and_ends_endpoints(
    podium: Podium, cloud: ServerlessEmulator
) -> None:
    done = podium("deploy", "a", "me/it", "--serverless")
    assert done.returncode == 2 and "--yes" in done.stderr
    assert "no serverless endpoint" in podium("endpoints").stdout
    body = {
        "name": "x", "type": "QUEUE", "image": "i", "disk": 1, "env": {}, "workers": {}, "scaling": {},
        "gpu": {"pools": ["ADA_24"], "count": 1},
    }  # fmt: skip
    body |= {"workers": {"min": 0, "max": 1, "idleTimeout": 5}}
    body |= {"scaling": {"type": "QUEUE_DELAY", "queueDelay": 4}}
    cloud._made(body)
    assert "ep1" in podium("endpoints").stdout
    assert podium("endpoints", "--end", "ep1").returncode == 0
    assert cloud.endpoints == {}
