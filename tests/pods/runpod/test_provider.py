"""What every backend does, and what it makes of a provider that fails: the same tests for both."""

from __future__ import annotations

import logging
import math
import traceback

import pytest

from engine.errors import (
    AnswerLost,
    BadRequest,
    NoBalance,
    NoCapacity,
    NoSuchPod,
    NotGone,
    ProviderDown,
    ProviderError,
    Unauthorized,
)
from engine.pods.patience import Patience
from engine.pods.provider import Address, Provider
from tests.emulators.runpod import Emulator, Fault, Stages
from tests.pods.runpod.conftest import CATALOG, CREATE, END, GET, LIST, STOP, asked, count, make


async def test_the_catalog_has_a_price_and_a_stock_for_each_cloud(
    provider: Provider, runpod: Emulator
) -> None:
    runpod.account.stock["NVIDIA L40S", "COMMUNITY"] = "LOW"
    runpod.account.stock["NVIDIA L40S", "SECURE"] = "NONE"
    offers = {(offer.gpu_name, offer.cloud): offer for offer in await provider.offers()}
    assert offers["L40S", "community"].stock == "low"
    assert offers["L40S", "community"].price_per_hour == 0.79
    assert offers["L40S", "community"].memory_gb == 48
    assert offers["L40S", "secure"].stock == "none"
    assert offers["H100 SXM", "secure"].stock == "high"
    assert ("H100 SXM", "community") not in offers
    assert offers["MI300X", "secure"].manufacturer == "AMD"


async def test_the_stock_is_for_as_many_gpus_as_are_asked_for(provider: Provider) -> None:
    offers = {(offer.gpu_name, offer.cloud): offer.stock for offer in await provider.offers(count=4)}
    assert offers["RTX A6000", "secure"] == "high"
    assert offers["RTX A6000", "community"] == "none"


async def test_a_pod_is_rented_just_as_it_was_asked_for(provider: Provider, runpod: Emulator) -> None:
    secret = 'a "quoted" \\ back\\nslash\nnew line\ttab {brace} $dollar é 漢 🚀'
    made = await provider.create(
        asked(
            gpu_count=2,
            cloud="community",
            disk_gb=40,
            volume_gb=60,
            mount_path="/work space",
            ports=("22/tcp", "8888/http"),
            env={"HF_TOKEN": secret},
            public_key="ssh-ed25519 AAAA me@here",
            data_centers=("US-KS-2",),
            args='bash -c "sleep 1"',
        )
    )
    pod = runpod.account.pods[made.id]
    assert (made.name, made.job_id, made.status) == ("podium-7", "7", made.status)
    assert made.status in ("provisioning", "starting")
    assert made.price_per_hour == pytest.approx(0.68)
    assert made.gpu_id == "NVIDIA GeForce RTX 4090"
    assert made.gpu_count == 2
    assert pod.spec["env"] == {"HF_TOKEN": secret, "PUBLIC_KEY": "ssh-ed25519 AAAA me@here"}
    assert (pod.spec["cloud"], pod.place, pod.spec["disk"]) == ("COMMUNITY", "US-KS-2", 40)
    assert pod.spec["mounts"] == {"persistent": {"size": 60, "path": "/work space"}}
    assert pod.spec["ports"] == ["22/tcp", "8888/http"]
    assert pod.spec["args"] == 'bash -c "sleep 1"'
    assert pod.spec["startSsh"]


async def test_a_pod_may_be_rented_with_a_network_volume(provider: Provider, runpod: Emulator) -> None:
    volume = runpod.account.rent_volume({"name": "data", "size": 50, "dataCenter": "EU-RO-1"})
    (seen,) = await provider.volumes()
    assert (seen.id, seen.name, seen.size_gb, seen.data_center) == (volume["id"], "data", 50, "EU-RO-1")
    made = await provider.create(asked(network_volume_id=seen.id, data_centers=(seen.data_center,)))
    mounts = runpod.account.pods[made.id].spec["mounts"]
    assert mounts == {"network": [{"volumeId": volume["id"], "path": "/workspace"}]}


async def test_a_pod_has_an_address_only_once_its_port_is_mapped(
    provider: Provider, runpod: Emulator
) -> None:
    runpod.account.endpoint = lambda pod: ("127.0.0.1", 2222)
    made = await provider.create(asked())
    assert made.ssh is None
    runpod.account.clock.advance(16)
    running = await provider.get(made.id)
    assert running is not None
    assert (running.status, running.ssh) == ("running", None)
    runpod.account.clock.advance(10)
    reachable = await provider.get(made.id)
    assert reachable is not None
    assert reachable.ssh == Address("127.0.0.1", 2222)


@pytest.mark.parametrize(
    ("stages", "status", "gpus"),
    [
        (Stages(public_ip=False), "running", 1),
        (Stages(gpus=0), "running", 0),
    ],
    ids=["no public address", "zero GPU"],
)
async def test_a_pod_that_runs_but_lacks_something_shows_it(
    provider: Provider, runpod: Emulator, stages: Stages, status: str, gpus: int
) -> None:
    runpod.account.stages = lambda: stages
    made = await provider.create(asked())
    runpod.account.clock.advance(3600)
    pod = await provider.get(made.id)
    assert pod is not None
    assert (pod.status, pod.gpu_count) == (status, gpus)
    assert (pod.ssh is None) == (not stages.public_ip)


async def test_a_pod_that_is_stuck_never_runs_and_can_be_ended(provider: Provider, runpod: Emulator) -> None:
    runpod.account.stages = Stages.stuck
    made = await provider.create(asked())
    runpod.account.clock.advance(86400)
    pod = await provider.get(made.id)
    assert pod is not None
    assert pod.status in ("provisioning", "starting")
    await provider.terminate(made.id)
    assert await provider.list() == ()


async def test_a_pod_that_does_not_exist_is_none(provider: Provider) -> None:
    assert await provider.get("nosuchpod") is None


async def test_the_list_has_all_pods_of_the_account_and_whose_they_are(
    provider: Provider, runpod: Emulator
) -> None:
    await provider.create(asked())
    runpod.account.rent({"name": "someone's", "image": "x", "gpu": {"id": "NVIDIA L40S"}})
    assert sorted((pod.name, pod.job_id) for pod in await provider.list()) == [
        ("podium-7", "7"),
        ("someone's", None),
    ]


# Renting exactly once


async def test_creating_twice_rents_once(provider: Provider, runpod: Emulator) -> None:
    first = await provider.create(asked())
    again = await provider.create(asked(gpu_id="NVIDIA L40S"))
    assert again.id == first.id
    assert count(runpod, CREATE) == 1


async def test_a_terminated_pod_of_that_name_is_not_adopted(provider: Provider, runpod: Emulator) -> None:
    runpod.account.stages = lambda: Stages(shows_terminated=True)
    first = await provider.create(asked())
    await provider.terminate(first.id)
    again = await provider.create(asked())
    assert again.id != first.id


@pytest.mark.parametrize(
    "fault",
    [
        Fault(performed=True, drop=True),
        Fault(performed=True, status=500),
        Fault(performed=True, status=502, raw=b"<html>"),
        Fault(performed=True, raw=b'{"half of'),
        Fault(performed=True, raw=b"[]"),
    ],
    ids=["connection reset", "500", "a proxy's 502", "half an answer", "nonsense"],
)
async def test_a_create_whose_answer_is_lost_is_found_by_name_and_not_sent_again(
    provider: Provider, runpod: Emulator, fault: Fault
) -> None:
    runpod.fault(CREATE, fault)
    made = await provider.create(asked())
    assert [pod.id for pod in runpod.account.named("podium-7")] == [made.id]
    assert count(runpod, CREATE) == 1


@pytest.mark.parametrize("backend", ["rest", "sdk"])
async def test_a_create_that_is_answered_too_late_is_found_by_name(backend: str, runpod: Emulator) -> None:
    hurried = Patience(read_timeout=20, create_timeout=2, sleep=runpod.account.clock.sleep)
    provider = make(backend, runpod, hurried)
    runpod.fault(CREATE, Fault(performed=True, hang=5))
    made = await provider.create(asked())
    assert [pod.id for pod in runpod.account.named("podium-7")] == [made.id]
    assert count(runpod, CREATE) == 1
    await provider.close()


async def test_a_pod_that_shows_up_late_is_found_after_a_lost_answer(
    provider: Provider, runpod: Emulator
) -> None:
    runpod.fault(CREATE, Fault(performed=True, drop=True))
    runpod.fault(LIST, Fault(), times=1)  # the look before: nothing there yet
    runpod.fault(LIST, Fault(status=500), times=3)
    made = await provider.create(asked())
    assert [pod.id for pod in runpod.account.named("podium-7")] == [made.id]


async def test_a_create_that_may_or_may_not_have_happened_is_never_sent_again(
    provider: Provider, runpod: Emulator
) -> None:
    runpod.fault(CREATE, Fault(drop=True))
    with pytest.raises(AnswerLost, match="podium-7") as caught:
        await provider.create(asked())
    # Another launch has another name, and adopts nothing.
    assert "ends it when it sees it" in caught.value.advice
    assert count(runpod, CREATE) == 1
    # Asked for again under the same name: this time it is rented, once.
    made = await provider.create(asked())
    assert [pod.id for pod in runpod.account.named("podium-7")] == [made.id]


async def test_a_create_that_can_not_be_looked_up_is_not_sent_again(
    provider: Provider, runpod: Emulator
) -> None:
    def vanish(event: str, pod: object) -> None:
        runpod.down = True

    runpod.account.watchers.append(vanish)
    runpod.fault(CREATE, Fault(performed=True, status=500))
    with pytest.raises(AnswerLost):
        await provider.create(asked())
    assert count(runpod, CREATE) == 1
    runpod.down = False
    assert (await provider.create(asked())).id == runpod.account.named("podium-7")[0].id


# Refusals


@pytest.mark.parametrize(("balance", "stock", "error"), [(0, "HIGH", NoBalance), (9, "NONE", NoCapacity)])
async def test_a_create_that_is_refused_says_why_and_rents_nothing(
    provider: Provider, runpod: Emulator, balance: float, stock: str, error: type[Exception]
) -> None:
    runpod.account.balance = balance
    runpod.account.stock["NVIDIA GeForce RTX 4090", "SECURE"] = stock
    with pytest.raises(error) as caught:
        await provider.create(asked())
    assert "podium-7" in str(caught.value)
    assert caught.value.advice  # type: ignore[attr-defined]
    assert runpod.account.pods == {}
    assert count(runpod, CREATE) == 1


async def test_an_unknown_gpu_is_a_bad_request(provider: Provider) -> None:
    with pytest.raises(BadRequest):
        await provider.create(asked(gpu_id="NVIDIA Abacus"))


async def test_a_refused_key_says_where_keys_come_from(provider: Provider, runpod: Emulator) -> None:
    runpod.account.key = "another"
    with pytest.raises(Unauthorized, match="RUNPOD_API_KEY"):
        await provider.list()
    assert count(runpod, LIST) == 1


@pytest.mark.parametrize("name", ['x"', "../pods", "", "a b", "x" * 200])
async def test_an_id_that_is_none_is_not_sent(provider: Provider, runpod: Emulator, name: str) -> None:
    for call in (provider.get, provider.stop, provider.start, provider.terminate):
        with pytest.raises(BadRequest):
            await call(name)
    assert runpod.requests == []


# A provider that fails


@pytest.mark.parametrize(
    "fault", [Fault(status=500), Fault(status=503), Fault(drop=True), Fault(raw=b"{")], ids=str
)
async def test_reads_are_repeated_until_they_are_answered(
    provider: Provider, runpod: Emulator, fault: Fault
) -> None:
    runpod.account.rent({"name": "a", "image": "x", "gpu": {"id": "NVIDIA L40S"}})
    for what in (LIST, CATALOG):
        runpod.fault(what, fault, times=3)
    before = runpod.account.clock.now()
    assert len(await provider.list()) == 1
    assert await provider.offers()
    assert runpod.account.clock.now() > before  # it waited in between
    assert count(runpod, LIST) == 4


async def test_reads_are_given_up_when_the_provider_stays_down(provider: Provider, runpod: Emulator) -> None:
    runpod.down = True
    with pytest.raises(ProviderDown, match="listing the pods"):
        await provider.list()
    assert count(runpod, LIST) == Patience().attempts


@pytest.mark.parametrize("backend", ["rest", "sdk"])
async def test_a_provider_that_can_not_be_reached_gets_the_create_later(
    backend: str, runpod: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Emulator() as other:
        monkeypatch.setenv("RUNPOD_API_BASE_URL", other.url)
        provider = make(backend, runpod, Patience(sleep=runpod.account.clock.sleep))
    with pytest.raises(ProviderDown, match="no connection") as caught:
        await provider.create(asked())
    assert caught.value.outcome == "unsent"
    await provider.close()


# The life of a pod


async def test_a_pod_is_stopped_and_started_again(provider: Provider, runpod: Emulator) -> None:
    made = await provider.create(asked())
    runpod.account.clock.advance(60)
    stopped = await provider.stop(made.id)
    assert (stopped.status, stopped.price_per_hour, stopped.ssh) == ("stopped", 0, None)
    started = await provider.start(made.id)
    assert started.status in ("provisioning", "starting")
    runpod.account.clock.advance(60)
    again = await provider.get(made.id)
    assert again is not None
    assert again.status == "running"


async def test_stopping_a_stopped_pod_changes_nothing(provider: Provider, runpod: Emulator) -> None:
    made = await provider.create(asked())
    runpod.account.clock.advance(60)
    await provider.stop(made.id)
    assert (await provider.stop(made.id)).status == "stopped"


async def test_a_stop_whose_answer_is_lost_is_made_sure_of(provider: Provider, runpod: Emulator) -> None:
    made = await provider.create(asked())
    runpod.account.clock.advance(60)
    runpod.fault(STOP, Fault(performed=True, drop=True))
    assert (await provider.stop(made.id)).status == "stopped"


async def test_a_pod_whose_gpus_were_taken_meanwhile_does_not_start(
    provider: Provider, runpod: Emulator
) -> None:
    made = await provider.create(asked())
    runpod.account.clock.advance(60)
    await provider.stop(made.id)
    runpod.account.stock["NVIDIA GeForce RTX 4090", "SECURE"] = "NONE"
    with pytest.raises(NoCapacity, match="free GPUs"):
        await provider.start(made.id)


async def test_a_pod_that_is_gone_is_neither_started_nor_stopped(provider: Provider) -> None:
    for call in (provider.start, provider.stop):
        with pytest.raises(NoSuchPod):
            await call("nosuchpod")


async def test_terminate_returns_when_the_pod_is_gone_and_not_before(
    provider: Provider, runpod: Emulator
) -> None:
    runpod.account.stages = lambda: Stages(ends_after=6)
    made = await provider.create(asked())
    await provider.terminate(made.id)
    assert not runpod.account.there(runpod.account.pods[made.id])
    assert count(runpod, END) == 1
    await provider.terminate(made.id)  # gone already: no error


async def test_terminate_says_so_when_the_pod_does_not_go(provider: Provider, runpod: Emulator) -> None:
    runpod.account.stages = lambda: Stages(ends_after=math.inf)
    made = await provider.create(asked())
    with pytest.raises(NotGone, match=made.id) as caught:
        await provider.terminate(made.id)
    assert "may still bill" in caught.value.advice


@pytest.mark.parametrize(
    "fault", [Fault(drop=True), Fault(performed=True, drop=True), Fault(status=503)], ids=str
)
async def test_terminate_is_repeated_until_it_is_done(
    provider: Provider, runpod: Emulator, fault: Fault
) -> None:
    made = await provider.create(asked())
    runpod.fault(END, fault, times=2)
    await provider.terminate(made.id)
    assert await provider.list() == ()


async def test_terminate_does_not_take_a_refused_look_for_proof(provider: Provider, runpod: Emulator) -> None:
    runpod.account.stages = lambda: Stages(ends_after=math.inf)
    made = await provider.create(asked())
    runpod.fault(GET, Fault(status=401), times=1)
    with pytest.raises(Unauthorized):
        await provider.terminate(made.id)


async def test_a_pod_counts_as_gone_when_it_is_listed_as_terminated(
    provider: Provider, runpod: Emulator
) -> None:
    runpod.account.stages = lambda: Stages(shows_terminated=True)
    made = await provider.create(asked())
    await provider.terminate(made.id)
    pod = await provider.get(made.id)
    assert pod is None or pod.gone


# Secrets


async def test_no_secret_is_in_an_error_its_causes_or_the_log(
    provider: Provider, runpod: Emulator, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    key, token = runpod.account.key, "hf_planted_secret_0123456789"
    request = asked(env={"HF_TOKEN": token})
    echo = Fault(
        status=400, detail=f"invalid: can't use {token} with Bearer {key}\x1b]0;owned\x07\nsecond line"
    )
    faults = [echo, Fault(drop=True), Fault(status=401, detail=key), Fault(raw=b"[]")]
    seen = repr(provider) + repr(vars(provider)) + repr(request) + str(request)
    for fault in faults:
        runpod.fault(CREATE, fault)
        with pytest.raises(ProviderError) as caught:
            await provider.create(request)
        seen += "".join(traceback.format_exception(caught.value, chain=True))
        seen += _all_of(caught.value)
    assert "•••" in seen
    assert key not in seen
    assert token not in seen
    assert "\x1b" not in str(caught.value)
    assert key not in caplog.text
    assert token not in caplog.text


def _all_of(error: BaseException | None) -> str:
    """The error and all that it hangs together with, shown or not."""
    if error is None:
        return ""
    shown = repr(error) + repr(vars(error)) + repr(getattr(error, "request", None))
    return shown + _all_of(error.__cause__) + _all_of(error.__context__)
