"""The order of candidates, the worst bill, the rate that came true."""

from __future__ import annotations

from typing import get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.errors import BadInput, NoCapacity
from engine.pods.prices import Wish, candidates, check_rate, worst_cost
from engine.pods.provider import Cloud, Offer, Stock


def offer(
    name: str, memory: float, price: float, stock: Stock = "high", cloud: Cloud = "secure", **more: object
) -> Offer:
    values = {"gpu_id": f"NVIDIA {name}", "gpu_name": name, "memory_gb": memory, "price_per_hour": price}
    return Offer(**{**values, "stock": stock, "cloud": cloud, "max_count": 8, **more})  # type: ignore[arg-type]


SHELF = (
    offer("H100", 80, 2.69),
    offer("A6000", 48, 0.49, "low"),
    offer("A6000", 48, 0.33, "none", "community"),
    offer("L40S", 48, 0.49, "high"),
    offer("4090", 24, 0.34, "medium", "community", data_centers=("EU-RO-1",)),
    offer("4090", 24, 0.69, data_centers=("US-KS-2",)),
    offer("MI300X", 192, 0.10, manufacturer="AMD"),
    offer("Ghost", 80, 0.0),
)


def names(wish: Wish) -> list[str]:
    return [f"{item.gpu_name}/{item.cloud}" for item in candidates(SHELF, wish)]


def test_auto_is_the_cheapest_in_stock_that_fits_then_the_better_stocked() -> None:
    assert names(Wish(memory_gb=40)) == ["L40S/secure", "A6000/secure", "H100/secure"]
    assert names(Wish(memory_gb=48.0)) == ["L40S/secure", "A6000/secure", "H100/secure"]
    assert names(Wish(memory_gb=48.1)) == ["H100/secure"]


def test_auto_without_an_estimate_is_the_cheapest_at_all() -> None:
    assert names(Wish())[0] == "4090/community"


def test_auto_takes_no_gpu_that_the_images_can_not_use_and_none_without_a_price() -> None:
    assert not {"MI300X/secure", "Ghost/secure"} & set(names(Wish()))


def test_named_gpus_are_tried_in_the_order_they_were_named_whatever_they_cost() -> None:
    wish = Wish(gpus=("h100", "NVIDIA 4090"), memory_gb=40)
    assert names(wish) == ["H100/secure", "4090/community", "4090/secure"]


def test_a_gpu_may_be_named_that_auto_would_not_take() -> None:
    assert names(Wish(gpus=("MI300X",))) == ["MI300X/secure"]


def test_cloud_place_price_and_count_narrow_the_choice() -> None:
    assert names(Wish(clouds=("community",))) == ["4090/community"]
    assert names(Wish(gpus=("4090",), data_centers=("US-KS-2",))) == ["4090/secure"]
    assert names(Wish(max_price=0.40)) == ["4090/community"]
    assert names(Wish(max_price=0.70, count=2)) == ["4090/community"]
    with pytest.raises(NoCapacity, match="9 GPUs a machine"):
        candidates(SHELF, Wish(count=9))


def test_an_unknown_gpu_is_named_with_its_nearest() -> None:
    with pytest.raises(BadInput, match=r"'A600'.*did you mean A6000"):
        candidates(SHELF, Wish(gpus=("A600",)))


def test_what_fits_but_is_sold_out_is_told_with_its_price() -> None:
    with pytest.raises(NoCapacity, match=r"A6000 at \$0.33/h fits, but is out of stock"):
        candidates(SHELF, Wish(gpus=("A6000",), clouds=("community",)))


def test_what_is_too_big_for_all_is_told_with_the_biggest() -> None:
    with pytest.raises(NoCapacity, match="100 GB a GPU; the biggest GPU there has 80 GB"):
        candidates(SHELF, Wish(memory_gb=100))


def test_an_empty_catalog_is_no_traceback() -> None:
    with pytest.raises(NoCapacity):
        candidates((), Wish())


shelves = st.lists(
    st.builds(
        offer,
        st.sampled_from("abcdef"),
        st.sampled_from([16, 24, 48, 80]),
        st.sampled_from([0.0, 0.2, 0.5, 1.0]),
        st.sampled_from(get_args(Stock)),
        st.sampled_from(get_args(Cloud)),
    ),
    max_size=12,
)


@settings(deadline=None)
@given(shelves, st.sampled_from([None, 20, 40, 100]))
def test_candidates_are_all_that_fit_and_are_in_stock_by_price(
    shelf: list[Offer], memory: float | None
) -> None:
    fit = [x for x in shelf if x.stock != "none" and x.price_per_hour > 0 and x.memory_gb >= (memory or 0)]
    try:
        found = candidates(shelf, Wish(memory_gb=memory))
    except NoCapacity:
        assert fit == []
        return
    assert fit
    assert sorted(found, key=repr) == sorted(fit, key=repr)
    assert [x.price_per_hour for x in found] == sorted(x.price_per_hour for x in fit)
    assert found == candidates(shelf[::-1], Wish(memory_gb=memory))


@pytest.mark.parametrize(
    ("hours", "cap", "extra", "worst"),
    [
        (10, None, 0, 20),
        (10, None, 30, 21),
        (10, 5, 30, 5),
        (1, 50, 0, 2),
        (None, 7, 30, 7),
        (None, None, 30, None),
        (10, 0, 0, 0),
    ],
)
def test_the_worst_cost_is_the_tightest_of_the_limits(
    hours: float | None, cap: float | None, extra: float, worst: float | None
) -> None:
    assert worst_cost(2.0, max_hours=hours, max_cost_usd=cap, extra_minutes=extra) == worst


@pytest.mark.parametrize(
    ("confirmed", "billed", "verdict"),
    [
        (0.69, 0.69, "as confirmed"),
        (0.69, 0.6901, "as confirmed"),
        (0.69, 0.70, "dearer"),
        (0.69, 0.34, "cheaper"),
        (0.69, 0.0, "unknown"),
        (0.69, None, "unknown"),
        (0.69, -1.0, "unknown"),
        (0.0, 0.1, "dearer"),
    ],
)
def test_the_billed_rate_is_held_against_the_confirmed_one(
    confirmed: float, billed: float | None, verdict: str
) -> None:
    check = check_rate(confirmed, billed)
    assert check.verdict == verdict
    assert f"{confirmed:.3f}" in check.message or verdict == "as confirmed"
