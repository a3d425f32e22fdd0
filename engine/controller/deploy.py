"""A checkpoint into use: merged and pushed to the Hub, and from there behind an endpoint that was asked.

Merging needs what training needs, so that it is done by a process of its own, which is handed the token of
the Hub and nothing else that is secret.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from engine.errors import BadInput, Missing, PodError, ProviderError
from engine.job.folder import JobFolder
from engine.pods.serverless import IMAGE, EndpointWire, Pool, Serverless, Wanted, fitting
from engine.records import Checkpoint, Job

COLD_START: Final = 1200.0
"""How long a first worker may take to fetch image and model and to answer, seconds."""

_ROOM: Final = 1.3
"""Weights and what serving them takes besides, as a multiple of their bytes."""
_LEAST_GB: Final = 4.0
_REPO: Final = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
_SECRETS: Final = re.compile(r"KEY|TOKEN|SECRET|PASSWORD|CREDENTIAL", re.IGNORECASE)

Told = Callable[[str], None]
"""Told what is being done, one line each."""


@dataclass(frozen=True, slots=True)
class Published:
    """A model on the Hub.

    Args:
        repo: `owner/name`.
        url: The commit's address.
        size_bytes: What the model's files take.
    """

    repo: str
    url: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Quote:
    """What an endpoint would cost, before it is made.

    Args:
        pool: Where its workers would run.
        memory_gb: What the model needs.
        workers: How many run at most.
        idle_seconds: How long a worker waits for the next request.
    """

    pool: Pool
    memory_gb: float
    workers: int
    idle_seconds: int

    @property
    def sentence(self) -> str:
        """The price in words."""
        rate, most = self.pool.price_per_hour, self.pool.price_per_hour * self.workers
        return (
            f"{self.pool.gpus[0]} ({self.pool.id}): ${rate:.2f} an hour while a worker runs, billed by the "
            f"second; at most {self.workers} at once, ${most:.2f} an hour. Nothing while nobody asks, after "
            f"{self.idle_seconds} s at rest"
        )


@dataclass(frozen=True, slots=True)
class Served:
    """An endpoint that has answered.

    Args:
        endpoint_id: RunPod's.
        url: Where it is asked, the way OpenAI's clients ask.
        answer: What it said to the first question.
    """

    endpoint_id: str
    url: str
    answer: str


async def publish(
    folder: JobFolder, checkpoint: Path, repo: str, *, private: bool = True, told: Told = lambda line: None
) -> Published:
    """Merge a checkpoint where it is an adapter, and push it to the Hub.

    Args:
        folder: The job's folder on this machine.
        checkpoint: The checkpoint's folder, every file of it there.
        repo: `owner/name`; made where there is none.
        private: Is a new repository for its owner alone?
        told: Told what is being done.

    Raises:
        BadInput: The repository's name is none.
        Missing: What merging needs is not installed, or there is no token.
        PodError: It could not be merged or pushed.
    """
    _check(repo)
    options = [] if private else ["--public"]
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "engine.trainer.publish", str(folder.path), str(checkpoint), repo, *options),
        env=_environment(),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        limit=1 << 20,
    )
    last, said = "", dict[str, Any]()
    try:
        assert process.stdout is not None
        async for raw in process.stdout:
            last = raw.decode(errors="replace").strip() or last
            # What libraries print at their end may come after it.
            said = _last(last) or said
            if not _last(last):
                told(last)
        await process.wait()
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
    if "url" not in said:
        what = str(said.get("error") or last or f"the process ended with {process.returncode}")
        raise PodError(f"{repo}: not pushed: {what}", str(said.get("advice") or ""))
    return Published(repo, str(said["url"]), int(said.get("bytes") or 0))


def _check(repo: str) -> None:
    if not _REPO.fullmatch(repo):
        raise BadInput(f"{repo!r} is no repository", "Give owner/name.")
    for package in ("torch", "transformers", "huggingface_hub"):
        if find_spec(package) is None:
            raise Missing(f"{package} is not installed here", "pip install 'podium[train]'")
    if not os.environ.get("HF_TOKEN"):
        raise Missing("HF_TOKEN is not set", "Make a token that may write, and set it.")


def _environment() -> dict[str, str]:
    """This process's variables without secrets, but for the Hub's token."""
    kept = {name: value for name, value in os.environ.items() if not _SECRETS.search(name)}
    return {**kept, "HF_TOKEN": os.environ["HF_TOKEN"], "PYTHONUNBUFFERED": "1"}


def _last(line: str) -> dict[str, Any]:
    """What the line says as the last word of `engine.trainer.publish`; empty where it is none."""
    try:
        value = json.loads(line)
    except ValueError:
        return {}
    return value if isinstance(value, dict) and value.keys() & {"url", "error"} else {}


def cloud() -> Serverless:
    """The account of this machine's user; nothing is sent yet.

    Raises:
        Unauthorized: There is no usable key.
    """
    from engine.pods.runpod_account import api_key

    return Serverless(api_key())


async def quote(
    cloud: Serverless, size_bytes: int, *, gpu: str | None = None, workers: int = 1, idle_seconds: int = 10
) -> Quote:
    """What serving a model of that size would cost, on the cheapest GPU in stock that holds it.

    Raises:
        NoCapacity: None does.
    """
    memory = max(_LEAST_GB, size_bytes / 1e9 * _ROOM)
    return Quote(fitting(await cloud.pools(), memory, gpu), memory, workers, idle_seconds)


async def serve(
    cloud: Serverless,
    job: Job,
    repo: str,
    price: Quote,
    *,
    image: str = IMAGE,
    within: float = COLD_START,
    told: Told = lambda line: None,
) -> Served:
    """Make an endpoint for a model of the Hub, ask it something, and believe it only when it has answered.

    One that does not answer is withdrawn, so that a broken one can't bill.

    Args:
        cloud: The account's endpoints.
        job: The run that the model came from.
        repo: The model on the Hub.
        price: What was agreed to.
        image: The worker.
        within: How long the first answer may take, seconds.
        told: Told what is being done.

    Raises:
        ProviderError: It could not be made, or did not answer.
    """
    made = await cloud.make(
        Wanted(
            name=f"podium-{_plain(repo)}",
            pool=price.pool.id,
            environment=_worker(job, repo),
            workers=price.workers,
            idle_seconds=price.idle_seconds,
            disk_gb=max(30, round(price.memory_gb * 2) + 20),
            image=image,
        )
    )
    told(f"endpoint {made.id} is there; waiting for its first worker and its answer")
    try:
        answer = await cloud.ask(made, question(job), within=within)
    except BaseException as error:
        await _give_up(cloud, made, error)
        raise
    return Served(made.id, f"https://api.runpod.ai/v2/{made.id}/openai/v1", answer)


async def _give_up(cloud: Serverless, made: EndpointWire, error: BaseException) -> None:
    """Withdraw what did not answer; if even that fails, say so with what went wrong first."""
    try:
        await asyncio.shield(cloud.withdraw(made.id))
    except ProviderError as left:
        if isinstance(error, ProviderError):
            error.advice = f"{error.advice} Endpoint {made.id} could not be withdrawn: {left}".strip()


def question(job: Job) -> dict[str, Any]:
    """What is asked first, in the shape that the model was trained on."""
    sampling = {"max_tokens": 24, "temperature": 0.0}
    if job.method in ("cpt", None):
        return {"prompt": "The", "sampling_params": sampling}
    return {
        "messages": [{"role": "user", "content": "Say in one sentence who you are."}],
        "sampling_params": sampling,
    }


def _worker(job: Job, repo: str) -> dict[str, str]:
    """The worker's environment."""
    training = job.config.get("training")
    length = training.get("max_length") if isinstance(training, Mapping) else None
    environment = {"MODEL_NAME": repo, "OPENAI_SERVED_MODEL_NAME_OVERRIDE": repo}
    if token := os.environ.get("HF_TOKEN"):
        environment["HF_TOKEN"] = token
    if isinstance(length, int) and length > 0:
        environment["MAX_MODEL_LEN"] = str(length)
    return environment


def _plain(repo: str) -> str:
    """A repository's name as a part of an endpoint's."""
    return re.sub(r"[^a-z0-9]+", "-", repo.lower()).strip("-")[:60]


def size_of(job: Job, checkpoint: Checkpoint) -> int:
    """Bytes that the served model will take, at two a parameter; of unknown ones, the checkpoint's."""
    parameters = job.metadata.get("parameters")
    total = parameters.get("total") if isinstance(parameters, Mapping) else None
    if isinstance(total, (int, float)) and total > 0:
        return int(total * 2)
    return checkpoint.size_bytes or 0
