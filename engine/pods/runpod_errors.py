"""RunPod's refusals as our errors, each with what to do about it."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from engine.errors import (
    BadRequest,
    Conflict,
    Forbidden,
    NoBalance,
    NoCapacity,
    NoSuchPod,
    ProviderDown,
    ProviderError,
    RateLimited,
    Unauthorized,
)
from engine.pods.runpod_account import GET_A_KEY

STATUS_PAGE = "Nothing here is lost: see RunPod's status page, and try again in some minutes."
_NEXT_GPU = "Try another GPU, cloud or data centre, or try again later."
_MORE_RIGHTS = "Give the API key more rights in RunPod's console, or ask for something else."
_MORE_FUNDS = "Add funds in RunPod's console under Billing. Nothing was rented."
_WHAT_THERE_IS = "`podium pods` shows what there is."
_WHICH_STATE = "`podium pods` shows the state that it is in."
_UNDECIDED = {504, 522, 524}
"""Somebody between us and RunPod gave up waiting for it: it may have gone on."""
_NO_CAPACITY = re.compile(
    r"no longer any instances|instances? (?:currently )?available|not enough free gpus|no (?:free )?capacity|"
    r"out of (?:capacity|stock)|(?:capacity|stock) (?:is )?(?:exhausted|unavailable)|could not be placed|"
    r"does not have the resources|no resources|insufficient (?:capacity|resources)",
    re.IGNORECASE,
)
_NO_BALANCE = re.compile(
    r"balance|insufficient (?:funds|credits?)|not enough (?:funds|credits?|money)|add (?:funds|credits?)|"
    r"spend(?:ing)? limit",
    re.IGNORECASE,
)
_NOT_THERE = re.compile(r"not found|does not exist|no such", re.IGNORECASE)
_NOT_ALLOWED = re.compile(
    r"unauthori[sz]ed|forbidden|permission|access denied|cannot access|not allowed", re.IGNORECASE
)
_NOT_UNDERSTOOD = re.compile(
    r"syntax error|cannot query|unknown (?:arg|type)|expected (?:type|value)|cannot represent|invalid", re.I
)
_NOT_NOW = re.compile(
    r"already|not (?:running|stopped|valid)|cannot be (?:stopped|started)|current state", re.I
)
_THEIR_FAULT = re.compile(
    r"something went wrong|try again|internal|time[d -]*out|unavailable|upstream|server error", re.IGNORECASE
)


def is_capacity(detail: str) -> bool:
    """Does a refusal say, in words, that there is no such machine free?"""
    return bool(_NO_CAPACITY.search(detail))


def refusal(status: int, detail: str, doing: str, retry_after: str | None = None) -> ProviderError:
    """The error for an HTTP status.

    Args:
        status: Any that isn't a success.
        detail: RunPod's own words, fit to be shown.
        doing: What was asked, such as `creating pod podium-7`.
        retry_after: The header of that name.
    """
    what = f"RunPod, {doing}: {detail or 'no explanation'} ({status})"
    if status == 400 and is_capacity(detail):
        return NoCapacity(what, _NEXT_GPU)
    if status == 400:
        return BadRequest(what, "Or it is a lack of capacity: RunPod says both with 400.", certain=False)
    if status == 401:
        return Unauthorized(what, GET_A_KEY)
    if status == 402:
        return NoBalance(what, _MORE_FUNDS)
    if status == 403:
        return Forbidden(what, _MORE_RIGHTS)
    if status == 404:
        return NoSuchPod(what, _WHAT_THERE_IS)
    if status == 409:
        return Conflict(what, _WHICH_STATE)
    if status == 429:
        wait = seconds(retry_after)
        return RateLimited(what, f"Wait {wait:.0f} s, and see what else uses this API key.", retry_after=wait)
    if status >= 500:
        return ProviderDown(what, STATUS_PAGE, outcome="unknown" if status in _UNDECIDED else "failed")
    if status == 410:
        return BadRequest(what, "RunPod has retired this interface: use the REST backend, or a newer Podium.")
    return BadRequest(what, "Correct the job's pod section; if nothing is wrong there, please report this.")


def query_refusal(message: str, doing: str) -> ProviderError:
    """The error for a GraphQL error, which has words and no status."""
    what = f"RunPod, {doing}: {message or 'no explanation'}"
    if is_capacity(message):
        return NoCapacity(what, _NEXT_GPU)
    if _NO_BALANCE.search(message):
        return NoBalance(what, _MORE_FUNDS)
    if _NOT_THERE.search(message):
        return NoSuchPod(what, _WHAT_THERE_IS)
    if _NOT_ALLOWED.search(message):
        return Forbidden(what, _MORE_RIGHTS)
    if _NOT_UNDERSTOOD.search(message):
        return BadRequest(what, "RunPod does not understand the request; the REST backend may do.")
    if _NOT_NOW.search(message):
        return Conflict(what, _WHICH_STATE)
    if _THEIR_FAULT.search(message):
        return ProviderDown(what, STATUS_PAGE, outcome="failed")
    return BadRequest(what, _NEXT_GPU, certain=False)


def seconds(retry_after: str | None, default: float = 5) -> float:
    """A Retry-After header in seconds; RunPod sends whole seconds, what lies between may send a date."""
    text = (retry_after or "").strip()
    if text.isdecimal():
        return float(text[:9])
    try:
        return max(0.0, (parsedate_to_datetime(text) - datetime.now(UTC)).total_seconds())
    except (TypeError, ValueError):
        return default
