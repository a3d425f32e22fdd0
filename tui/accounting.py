"""What the account rents, read from the provider for the pods panel. For the desk."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from engine.controller.account import Belonging, belongings, busy, unsaved
from engine.errors import ProviderError
from engine.home import Home
from engine.store.base import Store
from tui.account import Account, AccountPod
from tui.run_deeds import with_provider

if TYPE_CHECKING:
    from engine.pods.provider import Provider, Rented, Volume


async def account(store: Store, home: Home) -> Account:
    """Everything that is rented, the dearest first.

    Raises:
        ProviderError: There is no key, or it can't be told.
    """

    async def ask(provider: Provider) -> tuple[tuple[Rented, ...], tuple[Volume, ...]]:
        return await asyncio.gather(provider.list(), _volumes(provider))

    pods, volumes = await with_provider(ask)
    items = await asyncio.to_thread(belongings, store, home, pods, datetime.now(UTC))
    items.sort(key=lambda item: (-(item.pod.price_per_hour or 0.0), item.pod.name))
    shown = (f"{volume.name} ({volume.size_gb} GB, {volume.data_center})" for volume in volumes)
    return Account(pods=tuple(map(account_pod, items)), volumes=tuple(shown))


async def _volumes(provider: Provider) -> tuple[Volume, ...]:
    """What can't be told of volumes must not hide the pods, which cost more."""
    try:
        return await provider.volumes()
    except ProviderError:
        return ()


def account_pod(item: Belonging) -> AccountPod:
    """A pod as a value for the panel."""
    pod, job = item.pod, item.job
    return AccountPod(
        id=pod.id,
        name=pod.name,
        status=pod.status,
        gpus=f"{pod.gpu_count} × {pod.gpu_name}" if pod.gpu_name else "",
        per_hour=pod.price_per_hour,
        cost=item.cost,
        age_seconds=item.age_seconds,
        idle_seconds=item.idle_seconds,
        busy_percent=busy(pod),
        run=f"{job.name} ({job.status})" if job else "",
        reapable=item.reapable,
        losses=tuple(unsaved(item)),
    )
