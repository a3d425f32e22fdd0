"""Putting a run's best checkpoint into use, for the desk: what it costs, and doing it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine.controller import deploy
from engine.job.folder import JobFolder
from tui.wishes import DeployBest

if TYPE_CHECKING:
    from engine.controller import Controller


async def price(controller: Controller, wish: DeployBest) -> str:
    """What serving it costs, as a question; the checkpoint is fetched for its size.

    Raises:
        PodiumError: There is no checkpoint, no key, or no GPU that holds it.
    """
    job = wish.job
    checkpoint, _ = await controller.pull(job.id, "best", lambda done, total: None)
    cloud = deploy.cloud()
    try:
        quote = await deploy.quote(cloud, deploy.size_of(job, checkpoint), gpu=wish.gpu)
    finally:
        await cloud.close()
    return f"Deploy {job.name}, checkpoint {checkpoint.step}, as a serverless endpoint?\n{quote.sentence}."


async def deployed(controller: Controller, wish: DeployBest) -> str:
    """Do it, and say where it is.

    Raises:
        PodiumError: It could not be done; nothing is left behind that bills.
    """
    job = wish.job
    checkpoint, path = await controller.pull(job.id, "best", lambda done, total: None)
    folder = JobFolder(controller.log_path(job).parent)
    if not wish.serverless:
        done = await deploy.publish(folder, path, wish.repo)
        return f"Checkpoint {checkpoint.step} of {job.name} is at {done.url}."
    cloud = deploy.cloud()
    try:
        quote = await deploy.quote(cloud, deploy.size_of(job, checkpoint), gpu=wish.gpu)
        done = await deploy.publish(folder, path, wish.repo)
        served = await deploy.serve(cloud, job, done.repo, quote)
    finally:
        await cloud.close()
    return f"Endpoint {served.endpoint_id} answers at {served.url}: {served.answer}"
