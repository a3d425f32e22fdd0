"""Serverless endpoints: what they cost, made once, checked by their answer, withdrawn."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
from pydantic import SecretStr

from engine.errors import NoCapacity, ProviderDown, ProviderError
from engine.pods.patience import Patience
from engine.pods.serverless import Pool, Serverless, Wanted, fitting, text_of
from tests.emulators.runpod import Clock
from tests.emulators.runpod.server import Fault
from tests.emulators.runpod.serverless import ServerlessEmulator

SECRET = "hf_" + "secret" * 5


@pytest.fixture
def cloud(monkeypatch: pytest.MonkeyPatch) -> Iterator[ServerlessEmulator]:
    """An account with a clock that stands still; a request that breaks the description fails the test."""
    with ServerlessEmulator(clock=Clock()) as emulator:
        monkeypatch.setenv("RUNPOD_API_BASE_URL", emulator.url)
        emulator.account.stock |= dict.fromkeys(emulator.account.stock, "HIGH")
        yield emulator
    assert emulator.violations == []


@pytest.fixture
async def serverless(cloud: ServerlessEmulator) -> AsyncIterator[Serverless]:
    clock = cloud.account.clock
    patience = Patience(read_timeout=20, create_timeout=20, sleep=clock.sleep, clock=clock.now)
    client = Serverless(SecretStr(cloud.account.key), patience=patience)
    yield client
    await client.close()


def wanted(**changes: object) -> Wanted:
    values = {
        "name": "podium-a",
        "pool": "ADA_24",
        "environment": {"MODEL_NAME": "me/it", "HF_TOKEN": SECRET},
    }
    return Wanted(**{**values, **changes})  # type: ignore[arg-type]


async def test_the_pools_have_prices_and_the_cheapest_that_fits_is_taken(serverless: Serverless) -> None:
    pools = await serverless.pools()
    assert [pool.id for pool in pools][:2] == ["AMPERE_16", "ADA_24"]
    assert fitting(pools, 20).id == "ADA_24"
    assert fitting(pools, 20, "l40s").id == "ADA_48_PRO"
    for memory, gpu, why in ((500, None, "large enough"), (20, "B200", "bears that name")):
        with pytest.raises(NoCapacity, match=why):
            fitting(pools, memory, gpu)
    with pytest.raises(NoCapacity, match="is free now"):
        fitting([Pool("X", ("x",), 80, 1.0, "NONE")], 20)


async def test_an_endpoint_is_made_once_without_workers_at_rest_and_answers(
    cloud: ServerlessEmulator, serverless: Serverless
) -> None:
    made = await serverless.make(wanted(workers=2))
    assert (await serverless.make(wanted())).id == made.id
    assert cloud.endpoints[made.id]["workers"] == {"min": 0, "max": 2, "idleTimeout": 10}
    assert cloud.endpoints[made.id]["env"]["MODEL_NAME"] == "me/it"
    assert await serverless.ask(made, {"prompt": "What is it?"}, within=60) == "It is green."
    await serverless.withdraw(made.id)
    assert await serverless.endpoints() == ()


async def test_a_creation_whose_answer_was_lost_is_found_by_name(
    cloud: ServerlessEmulator, serverless: Serverless
) -> None:
    cloud.fault("POST /v2/serverless", Fault(drop=True, performed=True))
    made = await serverless.make(wanted())
    assert [item.id for item in await serverless.endpoints()] == [made.id]


async def test_a_worker_that_never_comes_is_given_up(
    cloud: ServerlessEmulator, serverless: Serverless
) -> None:
    cloud.cold = 10_000
    with pytest.raises(NoCapacity, match="no answer within 1 minutes"):
        await serverless.ask(await serverless.make(wanted()), {"prompt": "?"}, within=60)


@pytest.mark.parametrize("says", [[], "", [{"choices": [{"tokens": ["  "]}]}], {"odd": 1}, 7, None])
async def test_an_empty_answer_is_no_answer(
    cloud: ServerlessEmulator, serverless: Serverless, says: object
) -> None:
    cloud.says = says
    with pytest.raises(ProviderError, match="completed"):
        await serverless.ask(await serverless.make(wanted()), {"prompt": "?"}, within=60)


async def test_a_failure_is_told_without_control_characters_or_the_key(
    cloud: ServerlessEmulator, serverless: Serverless
) -> None:
    cloud.fails = f"\x1b[31mno weights\n{cloud.account.key}"
    with pytest.raises(ProviderError, match=r"failed: .*no weights") as caught:
        await serverless.ask(await serverless.make(wanted()), {"prompt": "?"}, within=60)
    assert cloud.account.key not in str(caught.value) and "\x1b" not in str(caught.value)


async def test_a_refused_creation_does_not_tell_the_environment(
    cloud: ServerlessEmulator, serverless: Serverless
) -> None:
    cloud.fault("POST /v2/serverless", Fault(status=400, detail=f"bad env {SECRET}"))
    with pytest.raises(ProviderError) as caught:
        await serverless.make(wanted())
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("place", ["https://evil.example", "http://api.runpod.ai", "https://runpod.ai.evil"])
async def test_the_key_is_sent_to_nobody_else(
    cloud: ServerlessEmulator, serverless: Serverless, place: str
) -> None:
    cloud.elsewhere = place
    with pytest.raises(ProviderDown, match="not RunPod's"):
        await serverless.ask(await serverless.make(wanted()), {"prompt": "?"}, within=60)


@pytest.mark.parametrize(
    ("output", "text"),
    [
        ([{"choices": [{"tokens": ["a", "b"]}]}], "ab"),
        ({"choices": [{"message": {"role": "assistant", "content": "hi"}}]}, "hi"),
        ([{"choices": [{"text": "t"}]}], "t"),
        ("plain", "plain"),
        ([[[[[[[[[[["deep"]]]]]]]]]]], ""),
    ],
)
def test_the_text_is_found_in_any_of_the_shapes(output: object, text: str) -> None:
    assert text_of(output) == text
