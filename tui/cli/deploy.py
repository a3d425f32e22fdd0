"""`podium deploy`: a checkpoint merged and pushed to the Hub, and served; `podium endpoints`: what serves."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from engine.errors import BadInput
from tui.cli.options import job_argument, json_option
from tui.cli.output import emit, interactive, line, one_line, table
from tui.cli.pull import Meter
from tui.cli.workplace import carry_out, opened, up_to_date

if TYPE_CHECKING:
    from engine.controller import Controller
    from engine.controller.deploy import Published, Quote, Served
    from engine.records import Checkpoint, Job


@click.command()
@job_argument
@click.argument("repo", metavar="OWNER/NAME")
@click.option(
    "--checkpoint", "which", metavar="best|last|STEP", default="best", show_default=True, help="Which one."
)
@click.option("--public", is_flag=True, help="Let everybody see a repository that is made for it.")
@click.option("--serverless", is_flag=True, help="Also serve it on RunPod: vLLM, paid while it works.")
@click.option("--gpu", metavar="NAME", help="Which GPU or pool serves it; else the cheapest that fits.")
@click.option("--workers", type=click.IntRange(1, 20), default=1, show_default=True, help="At most.")
@click.option(
    "--idle-seconds", type=click.IntRange(1, 3600), default=10, show_default=True,
    help="How long a worker waits for the next request, and is paid.",
)  # fmt: skip
@click.option("--image", metavar="IMAGE", help="Another worker than ours for --serverless.")
@click.option("--yes", is_flag=True, help="Do not ask whether the price is right.")
@json_option
def deploy(**given: Any) -> None:
    """Merge a checkpoint, push it to the Hub, and serve it if asked; the price is shown first."""
    if given["serverless"] and not given["yes"] and not interactive():
        raise BadInput("serving costs money, and there is no terminal to ask on", "Give --yes.")
    with up_to_date() as store:
        job = store.find(given["job"])

        async def work(controller: Controller) -> tuple[Checkpoint, Published, Served | None]:
            return await _deployed(controller, job, given)

        checkpoint, published, served = carry_out(store, work)
    if given["as_json"]:
        emit(
            "deployed",
            {
                "job_id": job.id, "step": checkpoint.step, "repo": published.repo, "url": published.url,
                "endpoint_id": served.endpoint_id if served else None,
                "endpoint_url": served.url if served else None,
                "answer": served.answer if served else None,
            },
        )  # fmt: skip
        return
    line(one_line(f"{job.name}: checkpoint {checkpoint.step} is at {published.url}"))
    if served:
        line(one_line(f"Endpoint {served.endpoint_id} answers at {served.url}: {served.answer}"))
        line(f"podium endpoints --end {served.endpoint_id} takes it away.")


async def _deployed(
    controller: Controller, job: Job, given: dict[str, Any]
) -> tuple[Checkpoint, Published, Served | None]:
    from engine.controller import deploy as into_use
    from engine.pods.serverless import IMAGE

    def told(text: str) -> None:
        if not given["as_json"]:
            line(one_line(text), err=True, dim=True)

    meter = Meter(not given["as_json"] and interactive())
    checkpoint, path = await controller.pull(job.id, given["which"], meter)
    if not given["serverless"]:
        return checkpoint, await _published(controller, job, path, given, told), None
    cloud = into_use.cloud()
    try:
        price = await into_use.quote(
            cloud, into_use.size_of(job, checkpoint),
            gpu=given["gpu"], workers=given["workers"], idle_seconds=given["idle_seconds"],
        )  # fmt: skip
        _agree(price, given)
        published = await _published(controller, job, path, given, told)
        image = given["image"] or IMAGE
        return checkpoint, published, await into_use.serve(
            cloud, job, published.repo, price, image=image, told=told
        )  # fmt: skip
    finally:
        await cloud.close()


async def _published(
    controller: Controller, job: Job, path: Path, given: dict[str, Any], told: Any
) -> Published:
    from engine.controller.deploy import publish
    from engine.job.folder import JobFolder

    folder = JobFolder(controller.log_path(job).parent)
    return await publish(folder, path, given["repo"], private=not given["public"], told=told)


def _agree(price: Quote, given: dict[str, Any]) -> None:
    line(one_line(f"{price.sentence}."), err=True)
    if not given["yes"]:
        click.confirm("Deploy it?", abort=True, err=True)


@click.command()
@click.option("--end", metavar="ID", help="Delete this endpoint, and see that it is gone.")
@json_option
def endpoints(end: str | None, as_json: bool) -> None:
    """List the RunPod account's serverless endpoints."""

    async def work() -> list[dict[str, str]]:
        from engine.controller.deploy import cloud

        account = cloud()
        try:
            if end is not None:
                await account.withdraw(end)
            return [{"id": item.id, "name": item.name} for item in await account.endpoints()]
        finally:
            await account.close()

    with opened():
        found = asyncio.run(work())
    if as_json:
        emit("endpoints", found)
    elif found:
        table(("id", "name"), [(item["id"], item["name"]) for item in found])
    else:
        line("The account has no serverless endpoint.")
