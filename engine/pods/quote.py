"""What a job would be rented and at what price: the numbers that a user confirms."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from engine.errors import BadInput
from engine.job.placement import LimitsSpec, RentSpec
from engine.job.spec import JobSpec
from engine.pods.prices import Wish, candidates, worst_cost
from engine.pods.provider import Cloud, Offer, Provider, Volume

AUTO: Final = "auto"
BOOT_MINUTES: Final = 20.0
"""What a pod may take until it is ready; it bills meanwhile."""
_TRIED: Final = 5
"""The most candidates of `auto`."""
_DEARER: Final = 2.0
"""How many times the cheapest price another candidate of `auto` may cost."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Quote:
    """What is to be confirmed.

    Args:
        offers: The candidates in the order in which they are tried.
        gpu_count: GPUs of a machine.
        nodes: Machines.
        memory_gb: What one GPU must hold, by the estimate; None where that is unknown.
        limits: What bounds the bill.
        volume: The network volume, if there is to be one.
    """

    offers: tuple[Offer, ...]
    gpu_count: int
    memory_gb: float | None
    limits: LimitsSpec
    volume: Volume | None = None
    nodes: int = 1

    @property
    def gpus(self) -> int:
        """GPUs of all machines."""
        return self.gpu_count * self.nodes

    @property
    def price_per_hour(self) -> float:
        """Dollars for the first candidate, all its GPUs in all machines."""
        return self.offers[0].price_per_hour * self.gpus

    @property
    def highest_price_per_hour(self) -> float:
        """Dollars for the dearest candidate, all its GPUs in all machines."""
        return max(offer.price_per_hour for offer in self.offers) * self.gpus

    @property
    def lowest_price_per_hour(self) -> float:
        """Dollars for the cheapest candidate, all its GPUs in all machines."""
        return min(offer.price_per_hour for offer in self.offers) * self.gpus

    @property
    def worst_cost(self) -> float | None:
        """The most that the job can cost in dollars, its limits kept; None if nothing bounds it."""
        return worst_cost(
            self.highest_price_per_hour,
            max_hours=self.limits.max_hours,
            max_cost_usd=self.limits.max_cost_usd,
            extra_minutes=BOOT_MINUTES + self.limits.retrieve_minutes,
        )


async def quote(provider: Provider, spec: JobSpec, memory_gb: float | None) -> Quote:
    """Ask for prices and stock, and say what would be rented; nothing is.

    Args:
        provider: Who rents out.
        spec: The job, for provider runpod.
        memory_gb: What one GPU must hold, by the estimate; None if unknown.

    Raises:
        BadInput: It is not known how much memory `auto` needs, or a GPU or volume does not exist.
        NoCapacity: Nothing fits and is in stock.
    """
    rent = spec.pod.rent or RentSpec()
    named = () if AUTO in rent.gpu else rent.gpu
    needed = rent.memory_gb or memory_gb
    if not named and needed is None:
        raise BadInput(
            "pod.rent.gpu is auto, but nothing here tells how much memory the model needs",
            "Name a GPU (--gpu H100), or say pod.rent.memory_gb.",
        )
    nodes = spec.distributed.nodes
    volume = await _volume(provider, rent.network_volume) if rent.network_volume else None
    wish = Wish(
        gpus=named,
        count=rent.gpu_count,
        memory_gb=needed,
        clouds=_clouds(rent, nodes),
        data_centers=(volume.data_center,) if volume else rent.data_centers,
        max_price=rent.max_price and rent.max_price / nodes,
    )
    offers = await provider.offers(count=wish.count, product="cluster" if nodes > 1 else "pod")
    found = candidates(offers, wish)
    return Quote(
        offers=found if named else _near(found),
        gpu_count=wish.count,
        memory_gb=needed,
        limits=spec.limits,
        volume=volume,
        nodes=nodes,
    )


def _clouds(rent: RentSpec, nodes: int) -> tuple[Cloud, ...]:
    """Clusters and network volumes are in the secure cloud alone.

    Raises:
        BadInput: One of them is wanted, and that cloud is not.
    """
    what = "several machines" if nodes > 1 else "a network volume" if rent.network_volume else ""
    if not what:
        return rent.clouds
    if "secure" not in rent.clouds:
        raise BadInput(f"pod.rent.clouds leaves out secure, and {what} can be had nowhere else", "Add it.")
    return ("secure",)


def _near(found: Sequence[Offer]) -> tuple[Offer, ...]:
    """Of the candidates of `auto` the first few, so that what is confirmed is not far from what is had."""
    most = found[0].price_per_hour * _DEARER
    return tuple(offer for offer in found if offer.price_per_hour <= most)[:_TRIED]


async def _volume(provider: Provider, wanted: str) -> Volume:
    there = await provider.volumes()
    for volume in there:
        if wanted in (volume.id, volume.name):
            return volume
    names = ", ".join(volume.name for volume in there) or "none"
    raise BadInput(f"pod.rent.network_volume: there is no volume {wanted!r}", f"The account has: {names}.")
