"""What only REST v2 has: statuses, Retry-After, clusters, volumes."""

from __future__ import annotations

import pytest

from engine.errors import (
    AnswerLost,
    BadRequest,
    Conflict,
    Forbidden,
    NoBalance,
    NoCapacity,
    NoSuchPod,
    NotGone,
    ProviderDown,
    ProviderError,
    RateLimited,
    Unauthorized,
)
from engine.pods.patience import Patience
from engine.pods.runpod_rest import RunPodREST
from tests.emulators.runpod import Emulator, Fault, Stages
from tests.emulators.runpod.contract import contract, path
from tests.pods.runpod.conftest import CATALOG, CREATE, END, GET, LIST, STOP, asked, count


def test_requests_are_judged_by_the_official_description() -> None:
    if contract() is None:
        pytest.skip(f"RunPod's OpenAPI file is not at {path()}: requests to the emulator are not judged")


@pytest.mark.parametrize(
    ("status", "detail", "error"),
    [
        (400, "this GPU and data center could not be placed", NoCapacity),
        (400, "mounts.network: there is no such volume", BadRequest),
        (401, "invalid bearer token", Unauthorized),
        (402, "insufficient balance", NoBalance),
        (403, "access denied", Forbidden),
        (404, "template not found", NoSuchPod),
        (409, "not now", Conflict),
        (410, "this version is gone", BadRequest),
        (422, "Request validation failed", BadRequest),
        (418, "a teapot", BadRequest),
    ],
)
async def test_each_refusal_is_an_error_of_its_own_that_is_not_asked_again(
    rest: RunPodREST, runpod: Emulator, status: int, detail: str, error: type[ProviderError]
) -> None:
    runpod.fault(CREATE, Fault(status=status, detail=detail))
    with pytest.raises(error) as caught:
        await rest.create(asked())
    assert type(caught.value) is error
    assert detail in caught.value.what
    assert f"({status})" in caught.value.what
    assert caught.value.advice
    assert "\n" not in str(caught.value)
    assert count(runpod, CREATE) == 1


async def test_a_refusal_of_the_body_lists_what_is_wrong_with_it(rest: RunPodREST, runpod: Emulator) -> None:
    if contract() is None:
        pytest.skip(f"RunPod's OpenAPI file is not at {path()}")
    with pytest.raises(BadRequest, match="minimum of 10") as caught:
        await rest.create(asked(volume_gb=5))
    assert caught.value.certain
    assert runpod.violations
    runpod.violations.clear()


async def test_a_400_may_be_any_candidate_s_and_a_422_is_the_request_s(
    rest: RunPodREST, runpod: Emulator
) -> None:
    for status, certain in ((400, False), (422, True)):
        runpod.fault(CREATE, Fault(status=status, detail="no"))
        with pytest.raises(BadRequest) as caught:
            await rest.create(asked())
        assert caught.value.certain is certain


# Rate limits


@pytest.mark.parametrize("what", [LIST, CREATE])
async def test_retry_after_is_obeyed(rest: RunPodREST, runpod: Emulator, what: str) -> None:
    runpod.fault(what, Fault(status=429, headers={"Retry-After": "42"}), times=2)
    before = runpod.account.clock.now()
    made = await rest.create(asked())
    assert 84 <= runpod.account.clock.now() - before <= 86
    assert [pod.id for pod in runpod.account.named("podium-7")] == [made.id]


@pytest.mark.parametrize("what", [LIST, CREATE])
async def test_a_wait_that_is_too_long_is_reported_with_its_length(
    rest: RunPodREST, runpod: Emulator, what: str
) -> None:
    runpod.fault(what, Fault(status=429, headers={"Retry-After": "3600"}))
    before = runpod.account.clock.now()
    with pytest.raises(RateLimited, match="Wait 3600 s") as caught:
        await rest.create(asked())
    assert caught.value.retry_after == 3600
    assert runpod.account.clock.now() == before
    assert runpod.account.pods == {}


@pytest.mark.parametrize(
    ("header", "least", "most"),
    [
        ({}, 5, 6),
        ({"Retry-After": "soon"}, 5, 6),
        ({"Retry-After": "-7"}, 5, 6),
        ({"Retry-After": "0"}, 0, 1),
        ({"Retry-After": "Thu, 01 Jan 1970 00:00:00 GMT"}, 0, 1),
    ],
    ids=str,
)
async def test_a_strange_retry_after_is_borne(
    rest: RunPodREST, runpod: Emulator, header: dict[str, str], least: float, most: float
) -> None:
    runpod.fault(LIST, Fault(status=429, headers=header))
    before = runpod.account.clock.now()
    await rest.list()
    assert least <= runpod.account.clock.now() - before <= most


# Failures on RunPod's side


async def test_a_create_that_failed_on_their_side_is_sent_again_once_nothing_is_there(
    rest: RunPodREST, runpod: Emulator
) -> None:
    runpod.fault(CREATE, Fault(status=500), times=2)
    made = await rest.create(asked())
    assert [pod.id for pod in runpod.account.named("podium-7")] == [made.id]
    assert count(runpod, CREATE) == 3
    assert count(runpod, LIST) >= 2 * len(Patience().looks)


async def test_a_gateway_that_gave_up_waiting_says_nothing_about_the_create(
    rest: RunPodREST, runpod: Emulator
) -> None:
    runpod.fault(CREATE, Fault(status=504))
    with pytest.raises(AnswerLost):
        await rest.create(asked())
    assert count(runpod, CREATE) == 1


async def test_a_double_that_a_failed_create_made_after_all_is_ended(
    rest: RunPodREST, runpod: Emulator
) -> None:
    def late(event: str, pod: object) -> None:
        if event == "created" and not late.done:  # type: ignore[attr-defined]
            late.done = True  # type: ignore[attr-defined]
            runpod.account.rent({"name": "podium-7", "image": "x", "gpu": {"id": "NVIDIA L40S"}})

    late.done = False  # type: ignore[attr-defined]
    runpod.account.watchers.append(late)
    runpod.fault(CREATE, Fault(status=500))
    made = await rest.create(asked())
    assert [pod.id for pod in runpod.account.named("podium-7")] == [made.id]


async def test_a_create_is_given_up_when_they_keep_failing(rest: RunPodREST, runpod: Emulator) -> None:
    runpod.fault(CREATE, Fault(status=500), times=99)
    with pytest.raises(ProviderDown, match="creating pod podium-7"):
        await rest.create(asked())
    assert count(runpod, CREATE) == Patience().attempts
    assert runpod.account.pods == {}


async def test_a_redirect_is_not_followed_with_the_key(rest: RunPodREST, runpod: Emulator) -> None:
    with Emulator() as other:
        runpod.fault(LIST, Fault(status=307, headers={"Location": f"{other.url}/v2/pods"}))
        with pytest.raises(BadRequest):
            await rest.list()
        assert other.requests == []


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"pods": 7}', b'{"pods": [{"id": 7}]}', b"\xff\xfe"])
async def test_an_answer_that_makes_no_sense_is_asked_for_again(
    rest: RunPodREST, runpod: Emulator, body: bytes
) -> None:
    runpod.fault(LIST, Fault(raw=body))
    assert await rest.list() == ()
    assert count(runpod, LIST) == 2


async def test_words_that_came_later_are_unknown_and_not_fatal(rest: RunPodREST, runpod: Emulator) -> None:
    runpod.fault(
        GET, Fault(raw=b'{"id": "a", "name": "b", "status": "HIBERNATING", "cloud": "LUNAR", "new": 1}')
    )
    pod = await rest.get("a")
    assert pod is not None
    assert (pod.status, pod.cloud, pod.price_per_hour, pod.gpu_count) == ("unknown", None, None, 0)


async def test_the_official_examples_are_understood(rest: RunPodREST, runpod: Emulator) -> None:
    official = contract()
    if official is None:
        pytest.skip(f"RunPod's OpenAPI file is not at {path()}")
    import json

    def example(route: str) -> bytes:
        content = official.description["paths"][route]["get"]["responses"]["200"]["content"]
        (shown,) = content["application/json"]["examples"].values()
        return json.dumps(shown["value"]).encode()

    runpod.fault(LIST, Fault(raw=example("/v2/pods")))
    runpod.fault(CATALOG, Fault(raw=example("/v2/catalog/gpus")), times=2)
    (pod,) = await rest.list()
    assert (pod.status, pod.price_per_hour, pod.gpu_count) == ("running", 0.44, 1)
    assert pod.ssh is not None
    assert (pod.ssh.host, pod.ssh.port, pod.ssh.user) == ("195.26.233.3", 34446, "root")
    assert pod.created_at is not None
    assert pod.created_at.isoformat() == "2026-06-01T12:00:00+00:00"
    secure, community = await rest.offers()
    assert (secure.gpu_name, secure.price_per_hour, secure.stock) == ("RTX 4090", 0.44, "high")
    assert (community.price_per_hour, community.max_count) == (0.31, 4)
    assert secure.data_centers == ("US-KS-2",)


async def test_a_running_pod_shows_how_busy_its_gpus_are(rest: RunPodREST, runpod: Emulator) -> None:
    made = await rest.create(asked(gpu_count=2))
    assert made.created_at is not None
    assert made.created_at.timestamp() == int(runpod.account.clock.now())
    runpod.account.clock.advance(100)
    pod = await rest.get(made.id)
    assert pod is not None
    assert [(use.utilization_percent, use.memory_percent) for use in pod.gpus] == [(90, 50), (90, 50)]
    assert pod.uptime_seconds == 85
    assert pod.data_center == "EU-RO-1"


async def test_a_cuda_floor_goes_with_the_request(rest: RunPodREST, runpod: Emulator) -> None:
    made = await rest.create(asked(min_cuda="12.8"))
    assert runpod.account.pods[made.id].spec["gpu"]["minCudaVersion"] == "12.8"


async def test_a_locked_pod_is_not_stopped_and_says_so(rest: RunPodREST, runpod: Emulator) -> None:
    made = await rest.create(asked())
    runpod.account.pods[made.id].locked = True
    with pytest.raises(Conflict, match="locked"):
        await rest.stop(made.id)


async def test_a_stop_that_fails_for_ever_is_reported(rest: RunPodREST, runpod: Emulator) -> None:
    made = await rest.create(asked())
    runpod.fault(STOP, Fault(status=500), times=99)
    with pytest.raises(ProviderDown, match="to stop"):
        await rest.stop(made.id)


# Several machines


async def test_a_cluster_is_rented_seen_and_ended_as_one(rest: RunPodREST, runpod: Emulator) -> None:
    made = await rest.create_cluster(asked(gpu_id="NVIDIA H100 80GB HBM3", gpu_count=8), nodes=2)
    assert (made.name, made.nodes, made.gpus_per_node, made.price_per_hour) == ("podium-7", 2, 8, None)
    runpod.account.clock.advance(60)
    cluster = await rest.cluster(made.id)
    assert cluster is not None
    assert [(pod.rank, pod.private_ip) for pod in cluster.pods] == [(0, "10.65.0.2"), (1, "10.65.0.3")]
    assert all(pod.ssh and pod.cluster_id == made.id for pod in cluster.pods)
    assert cluster.price_per_hour == pytest.approx(2 * 8 * 2.69)
    assert len(await rest.list()) == 2
    with pytest.raises(Conflict, match="cluster"):
        await rest.terminate(cluster.pods[0].id)
    await rest.terminate_cluster(made.id)
    assert await rest.cluster(made.id) is None
    assert await rest.list() == ()
    await rest.terminate_cluster(made.id)  # gone already: no error


async def test_a_cluster_whose_answer_is_lost_is_found_by_name(rest: RunPodREST, runpod: Emulator) -> None:
    runpod.fault("POST /v2/clusters", Fault(performed=True, drop=True))
    made = await rest.create_cluster(asked(), nodes=3)
    assert [item.id for item in await rest.clusters()] == [made.id]
    assert (await rest.create_cluster(asked(), nodes=3)).id == made.id
    assert count(runpod, "POST /v2/clusters") == 1


async def test_a_cluster_is_not_gone_while_one_of_its_pods_is_there(
    rest: RunPodREST, runpod: Emulator
) -> None:
    runpod.account.stages = lambda: Stages(ends_after=1e9)
    made = await rest.create_cluster(asked(), nodes=2)
    with pytest.raises(NotGone, match=made.id):
        await rest.terminate_cluster(made.id)


async def test_the_pods_of_a_cluster_are_not_taken_for_a_single_pod(
    rest: RunPodREST, runpod: Emulator
) -> None:
    await rest.create_cluster(asked(name="podium"), nodes=2)
    node = next(iter(runpod.account.pods.values()))
    made = await rest.create(asked(name=node.spec["name"]))
    assert made.id not in {pod.id for pod in runpod.account.pods.values() if pod.cluster}


# Volumes


async def test_a_volume_is_rented_once_and_deleted(rest: RunPodREST, runpod: Emulator) -> None:
    runpod.fault("POST /v2/network-volumes", Fault(performed=True, drop=True))
    made = await rest.create_volume("data", 50, "EU-RO-1")
    assert await rest.create_volume("data", 50, "EU-RO-1") == made
    assert (await rest.create_volume("data", 50, "US-KS-2")).id != made.id
    assert len(await rest.volumes()) == 2
    await rest.delete_volume(made.id)
    assert [volume.data_center for volume in await rest.volumes()] == ["US-KS-2"]
    await rest.delete_volume(made.id)


# Hostile words


async def test_hostile_words_become_one_short_clean_line(rest: RunPodREST, runpod: Emulator) -> None:
    runpod.fault(LIST, Fault(status=403, detail="\x1b[2J\x9b31m\u202egnp.exe\r\nx" * 1000))
    with pytest.raises(Forbidden) as caught:
        await rest.list()
    assert caught.value.what.isprintable()
    assert len(caught.value.what) < 500


async def test_a_key_with_a_line_break_in_it_is_refused_before_it_is_sent(
    runpod: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    from engine.pods.runpod_account import api_key

    monkeypatch.setenv("RUNPOD_API_KEY", "rpa_secret\nX-Evil: 1")
    with pytest.raises(Unauthorized) as caught:
        api_key()
    assert "rpa_secret" not in str(caught.value)


async def test_a_delete_of_something_else_s_is_reported(rest: RunPodREST, runpod: Emulator) -> None:
    made = await rest.create(asked())
    runpod.fault(END, Fault(status=403))
    with pytest.raises(Forbidden):
        await rest.terminate(made.id)
