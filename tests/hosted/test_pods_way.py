"""From a launch to a hosted run with nobody's laptop in between: its token, reports and end."""

from __future__ import annotations

import asyncio
from pathlib import Path

from engine.controller import Controller
from engine.controller.pods import Pods
from engine.home import Home
from engine.job.events import Status
from engine.store.supabase import SupabaseStore
from tests import standin
from tests.controller.test_reporting import spec_on
from tests.hosted.conftest import Cloud
from tests.processes import events_of


async def test_a_run_reports_itself_with_a_token_that_is_worthless_afterwards(
    cloud: Cloud, home: Path, tmp_path: Path
) -> None:
    here = Home(home)
    here.create()
    # The laptop's own way there is shut: whatever arrives came from the run.
    store = SupabaseStore(here.database, cloud.sign_in(), live=False)
    controller = Controller(store, here, Pods(here, standin.argv(steps=8)))
    try:
        job = await controller.launch(spec_on(tmp_path))
        [ended] = await asyncio.wait_for(controller.settle([job.id]), 60)
        assert ended.status == Status.COMPLETED and not controller.trouble
        told = [event.seq for event in events_of(here.job(job.id).events)]
        found = cloud.rows("SELECT seq FROM training_events WHERE job_id = %s ORDER BY seq", job.id)
        assert [seq for (seq,) in found] == told
        query = "SELECT status, current_step FROM local_training_jobs WHERE id = %s"
        assert cloud.rows(query, job.id) == [("completed", 8)]
        query = "SELECT revoked_at IS NOT NULL FROM training_job_tokens WHERE job_id = %s"
        assert cloud.rows(query, job.id) == [(True,)]
    finally:
        await controller.close()
        store.close()


async def test_a_run_starts_while_the_hosted_store_is_down_and_its_events_come_by_the_laptop(
    cloud: Cloud, home: Path, tmp_path: Path
) -> None:
    here = Home(home)
    here.create()
    store = SupabaseStore(here.database, cloud.sign_in(), live=False)
    controller = Controller(store, here, Pods(here, standin.argv(steps=3)))
    try:
        with cloud.gateway.failing(503):
            job = await controller.launch(spec_on(tmp_path))
            assert "does not report by itself" in controller.trouble
            [ended] = await asyncio.wait_for(controller.settle([job.id]), 60)
        assert ended.status == Status.COMPLETED
        store.sync()
        assert store.state.standing == "synced"
        found = cloud.rows("SELECT seq FROM training_events WHERE job_id = %s ORDER BY seq", job.id)
        assert [seq for (seq,) in found] == [event.seq for event in events_of(here.job(job.id).events)]
    finally:
        await controller.close()
        store.close()
