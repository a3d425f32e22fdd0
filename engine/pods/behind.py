"""The machines behind a rented pod: over SSH, where they were last reached, with the job's own key."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from engine.home import Home
from engine.pods.placements import Placement, Placements, Seat
from engine.pods.ssh import SSHPod
from engine.pods.ssh_address import SSHAddress
from engine.pods.ssh_group import SSHGroup
from engine.pods.ssh_start import Told

Machines = SSHPod | SSHGroup
"""One machine, or several that train one job."""


class Behind:
    """Connects to what a placement names, and to it anew where it has moved.

    Args:
        home: Where job folders, or their mirrors, are.
        placements: Where the job's key is.
        told: Told what is being done for a job that starts.
        options: More for the SSH machines.
    """

    def __init__(self, home: Home, placements: Placements, told: Told, options: Mapping[str, Any]) -> None:
        self._home, self._placements = home, placements
        self._told, self._options = told, options
        self._where: list[SSHAddress] = []
        self.machines: Machines | None = None
        """Those that were reached last."""

    async def of(self, placement: Placement) -> Machines:
        """The machines where they are known to be."""
        assert placement.address is not None
        seats = placement.seats or (
            Seat(pod_id=placement.pod_id or placement.name, address=placement.address),
        )
        key = str(self._placements.key(placement.job_id))
        wanted = [SSHAddress(seat.address.host, seat.address.user, seat.address.port, key) for seat in seats]
        if self.machines is None or wanted != self._where:
            await self.close()
            made = [self._machine(placement, seat, at) for seat, at in zip(seats, wanted, strict=True)]
            self._where = wanted
            self.machines = self._group(placement, made) if placement.nodes > 1 else made[0]
        return self.machines

    def _group(self, placement: Placement, machines: list[SSHPod]) -> SSHGroup:
        address, port = placement.meeting
        there = address or placement.seats[0].private_ip
        return SSHGroup(machines, self._home, address=there, port=port)

    def _machine(self, placement: Placement, seat: Seat, address: SSHAddress) -> SSHPod:
        python, root = placement.pod.python, placement.pod.folder
        return SSHPod(
            seat.pod_id, address, self._home, python=python, root=root, told=self._told, **self._options
        )

    @property
    def trouble(self) -> str:
        """Which of several machines nothing is heard of, one line; empty when all is well."""
        return self.machines.trouble if isinstance(self.machines, SSHGroup) else ""

    async def close(self) -> None:
        """Let go of the connections."""
        machines, self.machines = self.machines, None
        if machines is not None:
            await machines.close()
