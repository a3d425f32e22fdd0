"""What only the SDK has: errors in words instead of statuses, and what it can't do."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from engine.errors import (
    AnswerLost,
    BadRequest,
    Conflict,
    Forbidden,
    NoBalance,
    NoCapacity,
    NoSuchPod,
    ProviderDown,
    ProviderError,
)
from engine.pods.patience import Patience
from engine.pods.provider import Provider
from engine.pods.runpod_errors import query_refusal
from tests.emulators.runpod import Emulator, Fault
from tests.pods.runpod.conftest import CREATE, asked, count, make


@pytest.fixture
async def sdk(runpod: Emulator, patience: Patience) -> AsyncIterator[Provider]:
    made = make("sdk", runpod, patience)
    yield made
    await made.close()


@pytest.mark.parametrize(
    ("words", "error"),
    [
        ("There are no longer any instances available with the requested specifications.", NoCapacity),
        ("There are not enough free GPUs on the host machine to start this pod.", NoCapacity),
        (
            "This machine does not have the resources to deploy your pod. Please try a different machine",
            NoCapacity,
        ),
        ("You have insufficient funds. Please add credits.", NoBalance),
        ("Your account balance is too low", NoBalance),
        ("pod not found", NoSuchPod),
        ("You do not have permission to do that", Forbidden),
        ('Cannot query field "bogus" on type "Pod".', BadRequest),
        ("Syntax Error: Unterminated string.", BadRequest),
        ("pod is already stopped", Conflict),
        ("Something went wrong. Please try again later or contact support.", ProviderDown),
        ("the moon is in the seventh house", BadRequest),
        ("", BadRequest),
    ],
)
def test_words_are_told_apart(words: str, error: type[ProviderError]) -> None:
    found = query_refusal(words, "creating pod podium-7")
    assert type(found) is error
    assert words in found.what
    assert found.advice


async def test_a_failure_on_their_side_is_sent_again_once_nothing_is_there(
    sdk: Provider, runpod: Emulator
) -> None:
    runpod.fault(CREATE, Fault(status=400, detail="Something went wrong. Please try again later."))
    made = await sdk.create(asked())
    assert [pod.id for pod in runpod.account.named("podium-7")] == [made.id]
    assert count(runpod, CREATE) == 2


@pytest.mark.parametrize("status", [403, 410, 429, 500])
async def test_a_status_that_the_sdk_can_not_tell_counts_as_a_lost_answer(
    sdk: Provider, runpod: Emulator, status: int
) -> None:
    runpod.fault(CREATE, Fault(raw=b"<html>", status=status))
    with pytest.raises(AnswerLost):
        await sdk.create(asked())
    assert count(runpod, CREATE) == 1


async def test_a_pod_without_its_details_is_still_handed_over(sdk: Provider, runpod: Emulator) -> None:
    runpod.fault("graphql pod$", Fault(status=500), times=99)
    made = await sdk.create(asked())
    assert [pod.id for pod in runpod.account.named("podium-7")] == [made.id]
    assert (made.name, made.gpu_id) == ("podium-7", "NVIDIA GeForce RTX 4090")


async def test_a_cuda_floor_becomes_the_versions_above_it(sdk: Provider, runpod: Emulator) -> None:
    await sdk.create(asked(min_cuda="12.8"))
    query = next(item.body["query"] for item in runpod.requests if item.field == "podFindAndDeployOnDemand")
    assert 'allowedCudaVersions: ["12.8", "12.9", "13.0", "13.1", "13.2"]' in query
    with pytest.raises(BadRequest, match="CUDA"):
        await sdk.create(asked(name="podium-8", min_cuda='12"'))


async def test_a_variable_s_name_can_not_break_out_of_the_query(sdk: Provider, runpod: Emulator) -> None:
    with pytest.raises(BadRequest, match="environment variable"):
        await sdk.create(asked(env={'A", value: "x" }, { key: "B': "1"}))
    assert count(runpod, CREATE) == 0


async def test_what_the_sdk_can_not_do_it_says(sdk: Provider, runpod: Emulator) -> None:
    for call in (
        sdk.create_cluster(asked(), 2),
        sdk.cluster("a"),
        sdk.clusters(),
        sdk.terminate_cluster("a"),
        sdk.create_volume("a", 10, "EU-RO-1"),
        sdk.delete_volume("a"),
        sdk.offers(product="cluster"),
    ):
        with pytest.raises(BadRequest, match="REST"):
            await call
    assert runpod.requests == []
