"""How long to wait for a provider, how often to ask again, and when asking again is safe.

Reads may be repeated at will. A write may be repeated only when it is known not to have happened:
it never left, it was turned away (429), or what it should have made is not there. An answer that
got lost is none of these, so what became of the write is looked up.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type

from engine.errors import (
    AnswerLost,
    BadRequest,
    Conflict,
    NoSuchPod,
    NotGone,
    ProviderDown,
    ProviderError,
    RateLimited,
)
from engine.pods.provider import PodStatus, Rented

T = TypeVar("T")
Call = Callable[[], Awaitable[T]]


@dataclass(frozen=True, slots=True)
class Patience:
    """The plan; all times in seconds.

    Args:
        read_timeout: For one read, or one write that creates nothing.
        create_timeout: For one write that rents something.
        attempts: How often a call is made at most.
        backoff: The wait before the second attempt; it doubles from then on, with jitter.
        longest_backoff: What it doubles up to.
        longest_retry_after: A longer wait than this is not obeyed but reported.
        looks: The waits before each look for something whose creation was not answered.
        gone_polls: The waits before each look whether something has ended.
        polls: The waits between looks whether a pod is ready; the last one again and again.
        ready_within: How long a pod may take until it is.
        sleep: How to wait.
        clock: What is looked at for how long something takes.
    """

    read_timeout: float = 30
    create_timeout: float = 60
    attempts: int = 5
    backoff: float = 0.5
    longest_backoff: float = 15
    longest_retry_after: float = 120
    looks: Sequence[float] = (0, 2, 4, 8, 16)
    gone_polls: Sequence[float] = (0, 1, 2, 4, 8, 15, 30)
    polls: Sequence[float] = (0.5, 1, 2, 3, 5)
    ready_within: float = 1200
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    clock: Callable[[], float] = time.monotonic

    async def repeat(self, call: Call[T]) -> T:
        """Make a call that can safely be repeated, until it is answered or the attempts are used up."""
        retrying = AsyncRetrying(
            retry=retry_if_exception_type((ProviderDown, RateLimited)),
            wait=lambda state: self._wait(state.attempt_number, _failure(state)),
            stop=lambda state: self._enough(state.attempt_number, _failure(state)),
            sleep=self.sleep,
            reraise=True,
        )
        return await retrying(call)

    async def create(
        self, what: str, find: Call[Sequence[T]], send: Call[T], discard: Callable[[T], Awaitable[None]]
    ) -> T:
        """Make something that costs money, exactly once.

        Args:
            what: Its kind and unique name, for errors.
            find: What bears the name now, oldest first; a read.
            send: Ask for it, once.
            discard: Rid of one; used only for a double that a repeated request made after all.

        Raises:
            AnswerLost: It may exist, or come into being yet.
        """
        if there := await find():
            return there[0]
        attempt, repeated = 0, False
        while True:
            attempt += 1
            try:
                made = await send()
            except (RateLimited, ProviderDown) as error:
                failure: RateLimited | ProviderDown = error
            else:
                if repeated:
                    await self._discard_others(made, find, discard)
                return made
            if isinstance(failure, ProviderDown) and failure.outcome != "unsent":
                if found := await self._look(what, find, failure):
                    return found
                repeated = True
            if self._enough(attempt, failure):
                raise failure
            await self.sleep(self._wait(attempt, failure))

    async def settle(self, send: Call[T], look: Call[Rented | None], wanted: Sequence[PodStatus]) -> Rented:
        """Ask a pod to change its state, until it has; repeating that request is harmless.

        Raises:
            Conflict, BadRequest, ProviderDown: It refuses or fails, and the pod is not in a wanted state.
            NoSuchPod: It is gone.
        """
        refusal: ProviderError | None = None
        try:
            await self.repeat(send)
        except (BadRequest, Conflict, ProviderDown) as error:
            refusal = error
        pod = await look()
        if pod is None or pod.gone:
            raise NoSuchPod("the pod is gone", "`podium pods` shows what there is.")
        if refusal is not None and pod.status not in wanted:
            raise refusal
        return pod

    async def end(self, what: str, send: Call[None], look: Call[object | None]) -> None:
        """End something, and see that it is gone.

        Args:
            what: Its kind and id, for errors.
            send: Ask for it.
            look: What is left of it; None when nothing is.

        Raises:
            NotGone: It is still there.
        """
        try:
            await self.repeat(send)
        except NoSuchPod:
            pass  # gone already, or this is the second attempt; the look below decides
        for wait in self.gone_polls:
            if wait:
                await self.sleep(wait)
            if await look() is None:
                return
        raise NotGone(
            f"{what} was to end, and is still listed {sum(self.gone_polls):.0f} s later",
            "It may still bill. End it with `podium pods reap`, or in the provider's console.",
        )

    async def _look(self, what: str, find: Call[Sequence[T]], failure: ProviderDown) -> T | None:
        """Look for something that may have come into being; None if it may be asked for again."""
        seen = False
        for wait in self.looks:
            if wait:
                await self.sleep(wait)
            try:
                found = await find()
            except (ProviderDown, RateLimited):
                continue
            if found:
                return found[0]
            seen = True
        if seen and failure.outcome == "failed":
            return None
        raise AnswerLost(
            f"{what}: the provider never said whether it was rented, and it is not listed ({failure.what})",
            "Should it come, Podium ends it when it sees it. `podium pods` shows all that bills.",
        )

    async def _discard_others(
        self, made: T, find: Call[Sequence[T]], discard: Callable[[T], Awaitable[None]]
    ) -> None:
        """End what an attempt made that was reported as failed."""
        try:
            for other in await find():
                if _id(other) != _id(made):
                    await discard(other)
        except ProviderError:
            pass  # what was made must be handed over; a double left behind is shown as a stray

    def _wait(self, attempt: int, failure: BaseException | None) -> float:
        """Seconds before the next attempt."""
        if isinstance(failure, RateLimited):
            return failure.retry_after + random.uniform(0, self.backoff)
        ceiling = min(self.longest_backoff, self.backoff * 2 ** (attempt - 1))
        return random.uniform(ceiling / 2, ceiling)

    def _enough(self, attempt: int, failure: BaseException | None) -> bool:
        """Is this failure the last that we bear?"""
        too_long = isinstance(failure, RateLimited) and failure.retry_after > self.longest_retry_after
        return too_long or attempt >= self.attempts


def _failure(state: RetryCallState) -> BaseException | None:
    return state.outcome.exception() if state.outcome else None


def _id(thing: object) -> object:
    return getattr(thing, "id", thing)
