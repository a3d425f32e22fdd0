"""What GPUs can be rented now, a line each for the launch dialog. For the desk."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Final, Literal

from engine.analysis.format import dollars
from tui.draft import Draft
from tui.launch_answers import Gpu

if TYPE_CHECKING:
    from engine.pods.provider import Offer

Wanted = tuple[int, Literal["pod", "cluster"]]
"""GPUs a machine, and whether it is one of several machines: stock depends on both."""

_GONE: Final = "none"
_DEAREST: Final = float("inf")


def wanted(draft: Draft) -> Wanted:
    """What a draft asks the catalog for; 1 where what was typed is no number."""
    count, nodes = (_number(draft.text(name)) for name in ("gpu_count", "nodes"))
    return count, "cluster" if nodes > 1 else "pod"


def _number(text: str) -> int:
    return max(1, int(text)) if text.strip().isdecimal() and len(text) < 4 else 1


def gpus(offers: Iterable[Offer], clouds: Sequence[str]) -> tuple[Gpu, ...]:
    """A line a GPU, the cheapest in stock first, what is out of stock last; prices are of one GPU.

    Args:
        offers: The catalog.
        clouds: Those that will do.
    """
    found: dict[str, list[Offer]] = {}
    for offer in offers:
        if offer.cloud in clouds and offer.price_per_hour > 0:
            found.setdefault(offer.gpu_name, []).append(offer)
    ordered = sorted(found.items(), key=lambda item: (_cheapest(item[1]), item[0]))
    return tuple(Gpu(name, _about(several)) for name, several in ordered)


def _cheapest(offers: Sequence[Offer]) -> float:
    return min((offer.price_per_hour for offer in offers if offer.stock != _GONE), default=_DEAREST)


def _about(offers: Sequence[Offer]) -> str:
    prices = [
        f"{dollars(offer.price_per_hour)}/h {offer.cloud}, {_stock(offer)}"
        for offer in sorted(offers, key=lambda offer: offer.price_per_hour)
    ]
    return f"{offers[0].memory_gb:g} GB  {' · '.join(prices)}"


def _stock(offer: Offer) -> str:
    words = {_GONE: "out of stock", "unknown": "stock unknown"}
    return words.get(offer.stock, f"{offer.stock} stock")
