"""What to rent and what it may cost: the order of candidates, the worst bill, and the rate that came true."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from engine.errors import BadInput, NoCapacity
from engine.pods.provider import Cloud, Offer, Stock

_SCARCITY: dict[Stock, int] = {"high": 0, "medium": 1, "low": 2, "unknown": 3, "none": 4}


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What may be rented.

    Args:
        gpus: Names or ids in order of preference; empty is `auto`, the cheapest that fits.
        count: GPUs a machine.
        memory_gb: What one GPU must hold, by the estimate; None if unknown.
        clouds: Which clouds will do.
        data_centers: Where; empty is anywhere. A network volume binds to its own.
        max_price: Dollars an hour for all GPUs of a machine.
    """

    gpus: tuple[str, ...] = ()
    count: int = 1
    memory_gb: float | None = None
    clouds: tuple[Cloud, ...] = ("secure", "community")
    data_centers: tuple[str, ...] = ()
    max_price: float | None = None


def candidates(offers: Sequence[Offer], wish: Wish) -> tuple[Offer, ...]:
    """The offers to try, best first.

    Named GPUs keep the order they were named in. Within one, and for `auto`, the cheapest comes first,
    then the better stocked, then the bigger. `auto` takes NVIDIA alone, for the images are CUDA's.

    Raises:
        BadInput: A named GPU is not in the catalog.
        NoCapacity: Nothing fits and is in stock now; the message has the nearest miss.
    """
    ranks = _ranks(offers, wish.gpus)
    known = [offer for offer in offers if _eligible(offer, wish, ranks)]
    fitting = [offer for offer in known if _fits(offer, wish)]
    stocked = [offer for offer in fitting if offer.stock != "none"]
    if not stocked:
        raise _none_left(known, fitting, wish)
    return tuple(sorted(stocked, key=lambda offer: (ranks.get(offer.gpu_id, 0), *_order(offer))))


def worst_cost(
    price_per_hour: float, *, max_hours: float | None, max_cost_usd: float | None, extra_minutes: float = 0
) -> float | None:
    """The most that a job can cost with its limits kept, in dollars; None if nothing bounds it.

    Args:
        price_per_hour: Dollars for all machines together.
        extra_minutes: Billed beside `max_hours`: booting, and the window for fetching.
    """
    bounds = [max_cost_usd] if max_cost_usd is not None else []
    if max_hours is not None:
        bounds.append(price_per_hour * (max_hours + extra_minutes / 60))
    return min(bounds, default=None)


@dataclass(frozen=True, slots=True)
class RateCheck:
    """The rate that was confirmed beside the one that is billed, in dollars an hour."""

    confirmed: float
    billed: float | None
    verdict: Literal["as confirmed", "cheaper", "dearer", "unknown"]

    @property
    def message(self) -> str:
        """One line for the user."""
        if self.billed is None:
            return f"the billed rate is not known yet; ${self.confirmed:.3f}/h was confirmed"
        if self.verdict == "as confirmed":
            return f"billed ${self.billed:.3f}/h, as confirmed"
        return f"billed ${self.billed:.3f}/h, {self.verdict} than the confirmed ${self.confirmed:.3f}/h"


def check_rate(confirmed: float, billed: float | None, tolerance: float = 0.01) -> RateCheck:
    """Compare the two rates; a difference within `tolerance`, a share of the confirmed one, is none.

    A billed rate of 0 is not known yet: a pod that isn't running costs nothing.
    """
    if not billed or billed < 0:
        return RateCheck(confirmed, None, "unknown")
    if abs(billed - confirmed) <= tolerance * confirmed + 1e-9:
        return RateCheck(confirmed, billed, "as confirmed")
    return RateCheck(confirmed, billed, "dearer" if billed > confirmed else "cheaper")


def _ranks(offers: Iterable[Offer], names: Sequence[str]) -> dict[str, int]:
    """GPU id -> its place among the named ones; empty for `auto`."""
    ids = {key.casefold(): offer.gpu_id for offer in offers for key in (offer.gpu_id, offer.gpu_name)}
    ranks: dict[str, int] = {}
    for place, name in enumerate(names):
        if name.casefold() not in ids:
            raise BadInput(f"gpu: no provider knows {name!r}{_nearest(name, offers)}", "Or say `gpu: auto`.")
        ranks.setdefault(ids[name.casefold()], place)
    return ranks


def _nearest(name: str, offers: Iterable[Offer]) -> str:
    """« (did you mean …?)» with the nearest names of the catalog."""
    names = {offer.gpu_name.casefold(): offer.gpu_name for offer in offers}
    close = difflib.get_close_matches(name.casefold(), names, n=3, cutoff=0.4)
    return f" (did you mean {' or '.join(names[item] for item in close)}?)" if close else ""


def _eligible(offer: Offer, wish: Wish, ranks: dict[str, int]) -> bool:
    """Is it of the wished kind and place at all?"""
    here = not wish.data_centers or not offer.data_centers or set(wish.data_centers) & set(offer.data_centers)
    named = offer.gpu_id in ranks if wish.gpus else offer.manufacturer == "NVIDIA"
    return bool(named and here and offer.cloud in wish.clouds and offer.price_per_hour > 0)


def _fits(offer: Offer, wish: Wish) -> bool:
    """Is it big enough, and cheap enough? Memory is only asked of `auto`: who names a GPU wants that one."""
    roomy = bool(wish.gpus) or wish.memory_gb is None or offer.memory_gb >= wish.memory_gb
    price = offer.price_per_hour * wish.count
    cheap = wish.max_price is None or price <= wish.max_price
    return roomy and cheap and offer.max_count >= wish.count


def _order(offer: Offer) -> tuple[float, int, float, str, str]:
    return offer.price_per_hour, _SCARCITY[offer.stock], -offer.memory_gb, offer.gpu_id, offer.cloud


def _none_left(known: Sequence[Offer], fitting: Sequence[Offer], wish: Wish) -> NoCapacity:
    """Why there is nothing to rent, with the nearest miss."""
    if fitting:
        cheapest = min(fitting, key=_order)
        what = f"{cheapest.gpu_name} at ${cheapest.price_per_hour:.2f}/h fits, but is out of stock"
        what += f", as are {len(fitting) - 1} others" if len(fitting) > 1 else ""
        return NoCapacity(what, "Try again later, or allow another cloud, data centre or GPU.")
    need = [f"{wish.memory_gb:.0f} GB a GPU"] if wish.memory_gb is not None and not wish.gpus else []
    need += [f"{wish.count} GPUs a machine"] if wish.count > 1 else []
    need += [f"at most ${wish.max_price:.2f}/h"] if wish.max_price is not None else []
    biggest = max((offer.memory_gb for offer in known), default=0)
    has = f"; the biggest GPU there has {biggest:.0f} GB" if biggest else ""
    return NoCapacity(
        f"no GPU on offer has {' and '.join(need) or 'a price'}{has}",
        "Ask for less: a smaller batch, max_length, LoRA or 4 bits; or allow more: clouds, places, price.",
    )
