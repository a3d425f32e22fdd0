"""Candidates one after the other, until one is had or the rest is pointless."""

from __future__ import annotations

import pytest

from engine.errors import AnswerLost, BadRequest, Forbidden, NoBalance, NoCapacity, Unauthorized
from engine.pods.prices import Wish, candidates
from engine.pods.provider import Offer, Provider
from engine.pods.rent import rent
from engine.pods.runpod_rest import RunPodREST
from tests.emulators.runpod import Emulator, Fault
from tests.pods.runpod.conftest import CREATE, asked, count

BIG = Wish(memory_gb=40, clouds=("secure",))
"""Fitted by the A6000, the L40S, the A100 and the H100, in order of price."""


async def offers(provider: Provider, wish: Wish = BIG) -> tuple[Offer, ...]:
    return candidates(await provider.offers(count=wish.count), wish)


async def test_auto_rents_the_cheapest_that_fits(provider: Provider, runpod: Emulator) -> None:
    tried: list[str] = []
    order = await offers(provider)
    rental = await rent(provider, asked(), order, trying=lambda offer: tried.append(offer.gpu_name))
    (pod,) = rental.pods
    assert runpod.account.pods[pod.id].spec["gpu"]["id"] == "NVIDIA RTX A6000"
    assert tried == ["RTX A6000"]
    assert rental.offer == order[0]
    assert rental.refused == ()
    assert (rental.rate.verdict, rental.rate.confirmed) == ("as confirmed", 0.49)


async def test_a_candidate_that_sold_out_meanwhile_is_passed_over(
    provider: Provider, runpod: Emulator
) -> None:
    order = await offers(provider)
    runpod.account.stock["NVIDIA RTX A6000", "SECURE"] = "NONE"
    runpod.account.forbidden.add("NVIDIA L40S")
    rental = await rent(provider, asked(), order)
    assert rental.offer is not None
    assert rental.offer.gpu_name == "A100 PCIe"
    assert [offer.gpu_name for offer, _ in rental.refused] == ["RTX A6000", "L40S"]
    assert len(runpod.account.pods) == 1


async def test_when_all_are_sold_out_it_is_the_capacity(provider: Provider, runpod: Emulator) -> None:
    order = await offers(provider)
    for place in runpod.account.stock:
        runpod.account.stock[place] = "NONE"
    with pytest.raises(NoCapacity, match=r"RTX A6000 \(secure\), L40S \(secure\), A100 PCIe.*H100") as caught:
        await rent(provider, asked(), order)
    assert "no longer any instances" in caught.value.what
    assert count(runpod, CREATE) == len(order)


async def test_when_every_candidate_gets_a_400_it_is_the_request(rest: RunPodREST, runpod: Emulator) -> None:
    order = await offers(rest)
    runpod.fault(CREATE, Fault(status=400, detail="exactly one of gpu or cpu must be set"), times=99)
    with pytest.raises(BadRequest, match="all 4 candidates said so"):
        await rent(rest, asked(), order)
    assert count(runpod, CREATE) == 4


async def test_a_400_for_one_candidate_leaves_the_others(rest: RunPodREST, runpod: Emulator) -> None:
    runpod.fault(CREATE, Fault(status=400, detail="something about this one"))
    rental = await rent(rest, asked(), await offers(rest))
    assert rental.offer is not None
    assert rental.offer.gpu_name == "L40S"


async def test_when_the_account_may_have_none_it_is_the_account(rest: RunPodREST, runpod: Emulator) -> None:
    order = await offers(rest)
    runpod.account.forbidden |= {offer.gpu_id for offer in order}
    with pytest.raises(Forbidden):
        await rent(rest, asked(), order)
    assert count(runpod, CREATE) == 4


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (Fault(status=402, detail="insufficient balance"), NoBalance),
        (Fault(status=401), Unauthorized),
        (Fault(drop=True), AnswerLost),
    ],
    ids=["no balance", "no key", "lost answer"],
)
async def test_what_no_other_candidate_would_change_ends_the_search(
    provider: Provider, runpod: Emulator, fault: Fault, error: type[Exception]
) -> None:
    order = await offers(provider)
    runpod.fault(CREATE, fault)
    with pytest.raises(error):
        await rent(provider, asked(), order)
    assert count(runpod, CREATE) == 1
    assert runpod.account.pods == {}


async def test_a_request_that_breaks_the_contract_is_not_tried_on_every_gpu(
    rest: RunPodREST, runpod: Emulator
) -> None:
    runpod.fault(CREATE, Fault(status=422, detail="no such field"), times=9)
    with pytest.raises(BadRequest, match="no such field"):
        await rent(rest, asked(), await offers(rest))
    assert count(runpod, CREATE) == 1


async def test_a_lost_answer_does_not_make_the_next_candidate_be_rented_too(
    provider: Provider, runpod: Emulator
) -> None:
    runpod.fault(CREATE, Fault(drop=True, performed=True))
    rental = await rent(provider, asked(), await offers(provider))
    assert list(runpod.account.pods) == [rental.pods[0].id]


async def test_an_adopted_pod_is_told_by_its_own_gpu(rest: RunPodREST, runpod: Emulator) -> None:
    await rest.create(asked(gpu_id="NVIDIA L40S"))
    rental = await rent(rest, asked(), await offers(rest))
    assert rental.offer is not None
    assert rental.offer.gpu_name == "L40S"
    assert rental.rate.verdict == "as confirmed"
    assert len(runpod.account.pods) == 1


async def test_an_adopted_pod_that_no_candidate_is_like_has_no_offer(
    rest: RunPodREST, runpod: Emulator
) -> None:
    await rest.create(asked(gpu_id="NVIDIA RTX A4000"))
    rental = await rent(rest, asked(), await offers(rest))
    assert rental.offer is None
    assert rental.rate.verdict == "cheaper"


async def test_a_pod_that_is_billed_dearer_than_confirmed_is_noticed(
    provider: Provider, runpod: Emulator
) -> None:
    runpod.account.surcharge = 1.2
    wish = Wish(gpus=("L40S",), count=2, clouds=("secure",))
    rental = await rent(provider, asked(gpu_count=2), await offers(provider, wish))
    assert rental.rate.verdict == "dearer"
    assert rental.rate.message == "billed $2.064/h, dearer than the confirmed $1.720/h"


async def test_several_nodes_are_rented_as_a_cluster(rest: RunPodREST, runpod: Emulator) -> None:
    order = candidates(await rest.offers(count=2, product="cluster"), BIG)
    rental = await rent(rest, asked(gpu_count=2), order, nodes=2)
    assert rental.cluster is not None
    assert rental.cluster.nodes == 2
    assert rental.rate.confirmed == pytest.approx(0.49 * 4)
    assert len(runpod.account.pods) == 2


async def test_without_a_candidate_nothing_is_asked(rest: RunPodREST, runpod: Emulator) -> None:
    with pytest.raises(NoCapacity, match="no candidate"):
        await rent(rest, asked(), ())
    assert runpod.requests == []
