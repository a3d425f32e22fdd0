"""Renting: one candidate after the other, until one is had or the rest is pointless."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from engine.errors import BadRequest, Forbidden, NoCapacity, ProviderError
from engine.pods.prices import RateCheck, check_rate
from engine.pods.provider import Cluster, CreateRequest, Offer, Provider, Rented


@dataclass(frozen=True, slots=True, kw_only=True)
class Rental:
    """What was had.

    Args:
        pods: One pod, or none yet where a cluster's are still being placed.
        cluster: The cluster; None for a single pod.
        offer: The candidate that was taken; None if something was adopted that none of them is.
        rate: The rate of the offer, times GPUs and nodes, beside the one that is billed.
        refused: The candidates before it, with what was said.
    """

    pods: tuple[Rented, ...]
    cluster: Cluster | None
    offer: Offer | None
    rate: RateCheck
    refused: tuple[tuple[Offer, str], ...] = ()


async def rent(
    provider: Provider,
    request: CreateRequest,
    offers: Sequence[Offer],
    *,
    nodes: int = 1,
    trying: Callable[[Offer], None] = lambda offer: None,
) -> Rental:
    """Try the offers in order, and rent the first that is to be had.

    Args:
        request: All but the GPU and the cloud, which come from the offers.
        offers: The candidates, best first, as `prices.candidates` orders them.
        trying: Told of each candidate before it is asked for.

    Raises:
        NoCapacity: None is to be had now.
        BadRequest: All are refused for what is no lack of capacity: it is the request.
        ProviderError: What no other candidate would change: no balance, no key, an answer that is lost.
    """
    refusals: list[tuple[Offer, ProviderError]] = []
    for offer in offers:
        trying(offer)
        asked = replace(request, gpu_id=offer.gpu_id, cloud=offer.cloud)
        try:
            pods, cluster = await _create(provider, asked, nodes)
        except (NoCapacity, Forbidden) as error:
            refusals.append((offer, error))
        except BadRequest as error:
            if error.certain:
                raise
            refusals.append((offer, error))
        else:
            refused = tuple((item, error.what) for item, error in refusals)
            return _rental(pods, cluster, offers, offer, asked.gpu_count * nodes, refused)
    raise _refused(request, refusals)


async def _create(
    provider: Provider, request: CreateRequest, nodes: int
) -> tuple[tuple[Rented, ...], Cluster | None]:
    if nodes == 1:
        return (await provider.create(request),), None
    cluster = await provider.create_cluster(request, nodes)
    return cluster.pods, cluster


def _rental(
    pods: tuple[Rented, ...],
    cluster: Cluster | None,
    offers: Sequence[Offer],
    asked: Offer,
    gpus: int,
    refused: tuple[tuple[Offer, str], ...],
) -> Rental:
    """What was had: an adopted pod may be of another candidate than the one that was asked for."""
    had = cluster.gpu_id if cluster else pods[0].gpu_id
    cloud = None if cluster else pods[0].cloud
    order = [asked, *offers]
    like = [item for item in order if had in (None, item.gpu_id) and cloud in (None, item.cloud)]
    offer = like[0] if like else None
    billed = cluster.price_per_hour if cluster else pods[0].price_per_hour
    rate = check_rate((offer or asked).price_per_hour * gpus, billed)
    return Rental(pods=pods, cluster=cluster, offer=offer, rate=rate, refused=refused)


def _refused(request: CreateRequest, refusals: Sequence[tuple[Offer, ProviderError]]) -> ProviderError:
    """The error when no candidate is left.

    RunPod says 400 both for a lack of capacity and for a request that breaks a rule. If every
    candidate got one, and not one of them spoke of capacity, then it is the request.
    """
    if not refusals:
        return NoCapacity(
            f"{request.name}: there is no candidate to rent", "Allow more GPUs, clouds or places."
        )
    last = refusals[-1][1]
    if all(isinstance(error, BadRequest) for _, error in refusals):
        return BadRequest(
            f"{last.what}; all {len(refusals)} candidates said so", "Correct the job's pod section."
        )
    if all(isinstance(error, Forbidden) for _, error in refusals):
        return Forbidden(last.what, last.advice)
    tried = ", ".join(dict.fromkeys(f"{offer.gpu_name} ({offer.cloud})" for offer, _ in refusals))
    return NoCapacity(
        f"{request.name}: none to be had of {tried}. The last answer: {last.what}",
        "Try again later, or allow more GPUs, clouds or data centres.",
    )
