"""What a job rents, as the provider knows it: one pod, or a cluster looked at and ended as if it were one."""

from __future__ import annotations

from collections.abc import Callable

from engine.errors import NotGone
from engine.pods.placements import Placement, Seat
from engine.pods.provider import Provider, Rented


class Tenancy:
    """Asks the provider for what bears a job's name or id.

    Args:
        provider: Who rents out.
        name: What the pod, or the cluster, is called.
        nodes: Machines; more than one are a cluster.
    """

    def __init__(self, provider: Callable[[], Provider], name: str, nodes: int) -> None:
        self._provider, self._name, self._nodes = provider, name, nodes

    async def look(self, identifier: str) -> Rented | None:
        """What has that id now; None if there is none."""
        if self._nodes == 1:
            return await self._provider().get(identifier)
        cluster = await self._provider().cluster(identifier)
        return cluster.as_pod() if cluster else None

    async def listed(self, identifier: str) -> Rented | None:
        """What the account has all the same: who gives it up on one wrong answer lets it bill."""
        if self._nodes > 1:
            there = any(cluster.id == identifier for cluster in await self._provider().clusters())
            return await self.look(identifier) if there else None
        pods = (pod for pod in await self._provider().list() if pod.id == identifier and not pod.gone)
        return next(pods, None)

    async def named(self) -> Rented | None:
        """What bears the job's name; of a cluster all its pods are looked at."""
        if self._nodes > 1:
            ids = [found.id for found in await self._provider().clusters() if found.name == self._name]
            return await self.look(ids[0]) if ids else None
        there = [pod for pod in await self._provider().list() if pod.name == self._name and not pod.gone]
        return there[0] if there else None

    async def terminate(self, identifier: str) -> None:
        """End it, and return when the provider confirms that all of it is gone.

        Raises:
            NotGone: It is still listed, although it is said not to be known.
        """
        end = self._provider().terminate if self._nodes == 1 else self._provider().terminate_cluster
        await end(identifier)
        if await self.listed(identifier) is not None:
            what = f"{self._name} ({identifier}) is said to be gone, and is still listed"
            raise NotGone(
                what, "It may still bill. End it with `podium pods reap`, or in the provider's console."
            )


def seated(placement: Placement, pod: Rented) -> tuple[Seat, ...]:
    """Where each of several machines is now, in order of rank; one that is missing is where it was."""
    if placement.nodes == 1:
        return ()
    before = {seat.pod_id: seat for seat in placement.seats}
    found = {
        each.rank: Seat(pod_id=each.id, address=each.ssh, private_ip=each.private_ip)
        for each in pod.members
        if each.ssh
    }
    order = list(before.values()) or [found[rank] for rank in range(placement.nodes)]
    now = {seat.pod_id: seat for seat in found.values()}
    return tuple(now.get(seat.pod_id, seat) for seat in order)
