"""Where a command finds its jobs: the store, brought up to date with what local jobs have written."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

from engine.home import Home
from engine.records import Job
from engine.store.base import Store
from tui.cli.output import interactive, line, one_line

if TYPE_CHECKING:
    from engine.controller import Controller
    from engine.store.sqlite import SQLiteStore

T = TypeVar("T")


@contextmanager
def opened() -> Iterator[Store]:
    """The store; closed at the end. A hosted one is brought in step before and after.

    Raises:
        BadInput: The home can't be made or written to.
        StoreError: The store can't be read.
    """
    from engine.store.opening import open_store

    store = open_store(Home.default(), live=False)
    try:
        _first_sync(store)
        if store.standing:
            line(one_line(f"{store.standing} This is what was known here."), err=True)
        yield store
        if not store.standing:
            store.sync()
    finally:
        store.close()


def _first_sync(store: SQLiteStore) -> None:
    """Bring it in step; what takes a while is told, to who sits there."""
    told = time.monotonic()

    def tell(_: frozenset[str]) -> None:
        nonlocal told
        if store.standing and time.monotonic() - told >= 1:
            told = time.monotonic()
            line(one_line(store.standing), err=True)

    cancel = store.subscribe(tell) if interactive() else lambda: None
    try:
        store.sync()
    finally:
        cancel()


@contextmanager
def up_to_date() -> Iterator[Store]:
    """The store, after all that the live local jobs have written by now was taken in."""
    from engine.stream import catch_up

    with opened() as store:
        catch_up(store, Home.default())
        yield store


def carry_out(store: Store, deed: Callable[[Controller], Awaitable[T]]) -> T:
    """Let a controller do something, and let go of it; jobs go on."""
    from engine.controller import Controller

    async def work() -> T:
        controller = Controller(store, Home.default())
        try:
            return await deed(controller)
        finally:
            await controller.close()
            if controller.met:
                line(one_line(f"{controller.met}."), err=True)

    return asyncio.run(work())


def find_all(store: Store, names: Sequence[str]) -> list[Job]:
    """The jobs that a user means, each once, in their order.

    Raises:
        NoSuchJob: One of the names has none or several, before anything is done to any of them.
    """
    return list({job.id: job for job in map(store.find, names)}.values())
