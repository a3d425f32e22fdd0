"""What a supervisor writes just before it leaves is heard before anybody thinks of starting another."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from engine.job.events import Status
from engine.job.folder import read_json
from engine.pods.ssh import SSHPod
from tests.controller.nodes.conftest import Hosts
from tests.controller.nodes.test_ssh_hosts import LONG, Laptop, comes, laptop, settled

__all__ = ["laptop"]


async def test_a_pause_whose_last_words_come_late_is_no_death(
    laptop: Laptop, hosts: Hosts, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    controller = await laptop.open(**LONG)
    job = await controller.launch(hosts.spec(data))
    there = hosts.job(0, job.id)
    await comes(lambda: laptop.store.job(job.id).status == Status.RUNNING, "running")
    whole = SSHPod.alive

    async def asked_too_early(self: SSHPod, job_id: str) -> bool:
        if self is self_of_first and there.events.read_text().count('"paused"') == 0:
            # The files were at their ends a moment ago; the answer comes when it has left.
            there.request("pause")
            while await whole(self, job_id):  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        return await whole(self, job_id)

    self_of_first: Any = controller._pods.of(job).head  # type: ignore[attr-defined]
    monkeypatch.setattr(SSHPod, "alive", asked_too_early)
    monkeypatch.setattr("engine.stream.JobStream._over", _dead)
    assert await settled(controller, job.id) == Status.PAUSED
    assert read_json(there.memory)["attempt"] == 1


async def _dead(self: Any) -> bool:
    return not await self._pod.alive(self._job_id)
