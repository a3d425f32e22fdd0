"""Serverless endpoints on RunPod: a model of the Hub behind vLLM, paid by the second that a worker runs.

An endpoint without a running worker costs nothing: it has no worker at rest here, and few at most.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, SecretStr
from pydantic.alias_generators import to_camel

from engine.errors import NoCapacity, ProviderDown, ProviderError
from engine.pods.patience import Patience
from engine.pods.runpod_account import api_url, checked_id
from engine.pods.runpod_rest import RunPodREST, _parsed

IMAGE: Final = "runpod/worker-v1-vllm:v2.7.0stable-cuda12.1.0"
"""The worker that serves a model of the Hub with vLLM."""

_DOMAIN: Final = "runpod.ai"
"""Where endpoints answer; the account's key goes nowhere else."""
_ENDED: Final = ("COMPLETED", "FAILED", "CANCELLED", "TIMED_OUT")


class _Wire(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="ignore")


class _Price(_Wire):
    serverless: float | None = None


class _Gpu(_Wire):
    id: str
    name: str
    pool: str | None = None
    memory: float
    price: _Price
    manufacturer: str | None = None
    availability: str | None = None


class _Gpus(_Wire):
    gpus: list[_Gpu]


class _Urls(_Wire):
    run_sync: str | None = None
    status: str | None = None


class EndpointWire(_Wire):
    """An endpoint as the provider tells it."""

    id: str
    name: str
    request_urls: _Urls | None = None


class _Endpoints(_Wire):
    endpoints: list[EndpointWire]


class _Reply(_Wire):
    id: str | None = None
    status: str
    output: Any = None
    error: Any = None


@dataclass(frozen=True, slots=True)
class Pool:
    """GPUs that serverless workers run on.

    Args:
        id: RunPod's name of the pool.
        gpus: What is in it.
        memory_gb: The least that one of them has.
        price_per_hour: Dollars for one GPU while a worker runs; the dearest of them.
        stock: The best of them: `NONE`, `LOW`, `MEDIUM`, `HIGH`.
    """

    id: str
    gpus: tuple[str, ...]
    memory_gb: float
    price_per_hour: float
    stock: str


@dataclass(frozen=True, slots=True)
class Wanted:
    """An endpoint to make.

    Args:
        name: Unique: an endpoint of that name is adopted, not made twice.
        pool: Where its workers run.
        environment: What the worker is told; its values never appear in an error.
        workers: How many run at most; none runs while nobody asks.
        idle_seconds: How long a worker waits for the next request, and is paid.
        disk_gb: A worker's disk: image and model.
        image: The worker.
    """

    name: str
    pool: str
    environment: dict[str, str]
    workers: int = 1
    idle_seconds: int = 10
    disk_gb: int = 50
    image: str = IMAGE


class Serverless(RunPodREST):
    """The account's endpoints.

    Args:
        key: The account's API key.
        url: Where the API is; None is RunPod's, or what the environment says.
        patience: Time-outs and repetitions.
    """

    def __init__(self, key: SecretStr, *, url: str | None = None, patience: Patience | None = None) -> None:
        super().__init__(key, url=url, patience=patience)
        self._local = urlsplit(url or api_url()).hostname in ("127.0.0.1", "localhost", "::1")

    async def pools(self) -> tuple[Pool, ...]:
        """The pools with a price, the cheapest first."""
        asked: dict[str, str | int] = {"include": "AVAILABILITY", "product": "SERVERLESS", "count": 1}
        found = await self._read("/catalog/gpus", _Gpus, "reading the serverless catalog", asked)
        members: dict[str, list[_Gpu]] = {}
        for gpu in found.gpus:
            if gpu.pool and gpu.price.serverless:
                members.setdefault(gpu.pool, []).append(gpu)
        pools = [_pool(name, gpus) for name, gpus in members.items()]
        return tuple(sorted(pools, key=lambda pool: (pool.price_per_hour, pool.id)))

    async def make(self, wanted: Wanted) -> EndpointWire:
        """Make an endpoint, or adopt the one of that name."""
        return await self._patience.create(
            f"endpoint {wanted.name}",
            partial(self._named, wanted.name),
            partial(self._make, wanted),
            lambda made: self.withdraw(made.id),
        )

    async def endpoints(self) -> tuple[EndpointWire, ...]:
        """All of the account's."""
        return tuple((await self._read("/serverless", _Endpoints, "listing the endpoints")).endpoints)

    async def withdraw(self, endpoint_id: str) -> None:
        """Delete an endpoint, and see that it is gone."""
        path, doing = f"/serverless/{checked_id(endpoint_id)}", f"looking at endpoint {endpoint_id}"
        await self._delete(path, f"endpoint {endpoint_id}", lambda: self._find(path, EndpointWire, doing))

    async def ask(self, endpoint: EndpointWire, input: dict[str, Any], *, within: float) -> str:
        """Send a request, wait for the worker to come up and answer, and return its text.

        Raises:
            ProviderError: It failed, or did not answer in time, or with nothing.
        """
        urls = endpoint.request_urls
        if urls is None or urls.run_sync is None or urls.status is None:
            raise ProviderDown(f"endpoint {endpoint.id}: it does not say where it answers")
        deadline, clock = self._patience.clock() + within, self._patience.clock
        reply = await self._talk("POST", urls.run_sync, endpoint.id, {"input": input})
        while reply.status not in _ENDED and reply.id:
            if clock() > deadline:
                raise NoCapacity(
                    f"endpoint {endpoint.id}: no answer within {within / 60:.0f} minutes ({reply.status})",
                    "Ask it later, or take another GPU: no worker may be free.",
                )
            await self._patience.sleep(2)
            address = urls.status.replace("{job_id}", checked_id(reply.id))
            reply = await self._talk("GET", address, endpoint.id, None)
        said = text_of(reply.output).strip()
        if reply.status != "COMPLETED" or not said:
            why = self._veil(str(reply.error or reply.output or "an empty answer"))
            raise ProviderError(
                f"endpoint {endpoint.id}: {reply.status.lower()}: {why}", "Its logs are in RunPod's console."
            )
        return said

    async def _named(self, name: str) -> Sequence[EndpointWire]:
        # RunPod may add a word of its own to a name, such as -fb.
        return [
            item for item in await self.endpoints() if item.name == name or item.name.startswith(f"{name} ")
        ]

    async def _make(self, wanted: Wanted) -> EndpointWire:
        body = {
            "name": wanted.name,
            "type": "QUEUE",
            "image": wanted.image,
            "disk": wanted.disk_gb,
            "env": wanted.environment,
            "gpu": {"pools": [wanted.pool], "count": 1},
            "workers": {"min": 0, "max": wanted.workers, "idleTimeout": wanted.idle_seconds},
            "scaling": {"type": "QUEUE_DELAY", "queueDelay": 4},
            "flashboot": "FLASHBOOT",
        }
        doing, hide = f"creating endpoint {wanted.name}", wanted.environment.values()
        answer = await self._send("POST", "/serverless", doing, body=body, hide=hide)
        return _parsed(answer, EndpointWire, doing)

    async def _talk(self, method: str, url: str, endpoint_id: str, body: dict[str, Any] | None) -> _Reply:
        """One request to an endpoint itself; the key goes to RunPod alone."""
        parts = urlsplit(url)
        host = parts.hostname or ""
        theirs = parts.scheme == "https" and (host == _DOMAIN or host.endswith(f".{_DOMAIN}"))
        here = self._local and host in ("127.0.0.1", "localhost", "::1")
        doing = f"asking endpoint {endpoint_id}"
        if not (theirs or here):
            raise ProviderDown(f"RunPod, {doing}: it answers at {host[:60]!r}, which is not RunPod's")

        async def once() -> _Reply:
            return _parsed(await self._send(method, url, doing, body=body), _Reply, doing)

        # A request may be asked twice: all it costs is the second answer.
        return await self._patience.repeat(once)


def text_of(output: Any, depth: int = 0) -> str:
    """The text in a worker's answer, whichever of vLLM's shapes it has."""
    if isinstance(output, str):
        return output
    if depth > 8:
        return ""
    if isinstance(output, list):
        return "".join(text_of(item, depth + 1) for item in output)
    if isinstance(output, dict):
        for key in ("choices", "message", "content", "text", "tokens"):
            if key in output:
                return text_of(output[key], depth + 1)
    return ""


def fitting(pools: Sequence[Pool], memory_gb: float, gpu: str | None = None) -> Pool:
    """The cheapest pool in stock whose GPUs hold a model, or the one that holds a named GPU.

    Raises:
        NoCapacity: There is none.
    """
    named = [pool for pool in pools if gpu is None or _answers(pool, gpu)]
    large = [pool for pool in named if pool.memory_gb >= memory_gb]
    stocked = [pool for pool in large if pool.stock != "NONE"]
    if not stocked:
        what = f"{memory_gb:.0f} GB" + (f" in {gpu}" if gpu else "")
        why = "is free now" if large else "is large enough" if named else "bears that name"
        known = ", ".join(f"{pool.id} ({', '.join(pool.gpus[:2])})" for pool in pools[:6])
        raise NoCapacity(f"no serverless GPU with {what} {why}", f"There are: {known or 'none'}.")
    return stocked[0]


def _answers(pool: Pool, gpu: str) -> bool:
    wanted = gpu.casefold()
    return wanted == pool.id.casefold() or any(wanted in name.casefold() for name in pool.gpus)


def _pool(name: str, gpus: Sequence[_Gpu]) -> Pool:
    order = ("NONE", "LOW", "MEDIUM", "HIGH")
    stocks = [gpu.availability for gpu in gpus if gpu.availability in order]
    return Pool(
        name,
        tuple(gpu.name for gpu in gpus),
        min(gpu.memory for gpu in gpus),
        max(gpu.price.serverless or 0.0 for gpu in gpus),
        max(stocks, key=order.index, default="NONE"),
    )
