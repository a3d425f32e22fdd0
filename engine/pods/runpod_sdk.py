"""RunPod through its own SDK, which speaks GraphQL: the second backend.

The SDK takes seconds to import and blocks while it waits, so that it is imported at the first call, in
the thread that makes it. It knows no clusters, no GPU use, no start times and no place of a pod. It puts
what it is given into its queries unescaped: here all of it is escaped or checked first.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from importlib.util import find_spec
from typing import Any

from pydantic import SecretStr

from engine.errors import BadRequest, Missing, NoSuchPod, ProviderDown, ProviderError, Unauthorized
from engine.pods import runpod_graphql as wire
from engine.pods.patience import Patience
from engine.pods.provider import (
    Cluster,
    CreateRequest,
    Offer,
    PodStatus,
    Product,
    Rented,
    Volume,
)
from engine.pods.runpod_account import GET_A_KEY, Veil, api_url, checked_id
from engine.pods.runpod_errors import STATUS_PAGE, query_refusal

_LOADING = threading.Lock()


class RunPodSDK:
    """The provider protocol on the `runpod` package.

    Args:
        key: The account's API key. The SDK keeps one for the whole process: ours is the last one set.
        patience: Repetitions; the SDK's own time-out is 30 s a query.

    Raises:
        Missing: The SDK is not installed.
    """

    def __init__(self, key: SecretStr, *, patience: Patience | None = None) -> None:
        if find_spec("runpod") is None:
            raise Missing("the runpod SDK is not installed", "pip install 'podium[runpod]', or use REST.")
        api_url()
        self._key = key
        self._patience = patience or Patience()
        self._veil = Veil(key)

    async def offers(self, *, count: int = 1, product: Product = "pod") -> tuple[Offer, ...]:
        """The catalog; data centres are not known."""
        if product != "pod":
            raise _not_here("price clusters")
        query = wire.OFFERS % {"count": count}
        found: tuple[Offer, ...] = await self._read(
            "reading the catalog", lambda sdk: tuple(wire.offers(_graphql(sdk, query)["gpuTypes"]))
        )
        return found

    async def create(self, request: CreateRequest) -> Rented:
        """Rent a pod, or adopt the one of that name."""
        return await self._patience.create(
            f"pod {request.name}",
            partial(self._pods_named, request.name),
            partial(self._create_pod, request),
            lambda pod: self.terminate(pod.id),
        )

    async def get(self, pod_id: str) -> Rented | None:
        """The pod now; None if there is none."""
        identifier = checked_id(pod_id)
        try:
            found: Rented | None = await self._read(
                f"looking at pod {pod_id}", lambda sdk: wire.rented(sdk.get_pod(identifier))
            )
        except NoSuchPod:
            return None
        return found

    async def list(self) -> tuple[Rented, ...]:
        """Every pod."""
        found: tuple[Rented, ...] = await self._read(
            "listing the pods", lambda sdk: tuple(filter(None, map(wire.rented, sdk.get_pods())))
        )
        return found

    async def stop(self, pod_id: str) -> Rented:
        """Release the GPUs."""
        return await self._act(pod_id, "stop", ("stopped",), lambda sdk: sdk.stop_pod(checked_id(pod_id)))

    async def start(self, pod_id: str) -> Rented:
        """Start a stopped pod, with as many GPUs as it had."""
        pod = await self.get(pod_id)
        count = pod.gpu_count if pod and pod.gpu_count else 1
        wanted: tuple[PodStatus, ...] = ("provisioning", "starting", "running")
        return await self._act(pod_id, "start", wanted, lambda sdk: sdk.resume_pod(checked_id(pod_id), count))

    async def terminate(self, pod_id: str) -> None:
        """End the pod, and see that it is gone."""
        identifier = checked_id(pod_id)

        async def send() -> None:
            await self._call(f"ending pod {pod_id}", lambda sdk: sdk.terminate_pod(identifier))

        async def look() -> Rented | None:
            pod = await self.get(pod_id)
            return None if pod is None or pod.gone else pod

        await self._patience.end(f"pod {pod_id}", send, look)

    async def create_cluster(self, request: CreateRequest, nodes: int) -> Cluster:
        """Not with the SDK."""
        raise _not_here("rent clusters")

    async def cluster(self, cluster_id: str) -> Cluster | None:
        """Not with the SDK."""
        raise _not_here("see clusters")

    async def clusters(self) -> tuple[Cluster, ...]:
        """Not with the SDK."""
        raise _not_here("see clusters")

    async def terminate_cluster(self, cluster_id: str) -> None:
        """Not with the SDK."""
        raise _not_here("end clusters")

    async def volumes(self) -> tuple[Volume, ...]:
        """Every network volume."""
        found: tuple[Volume, ...] = await self._read(
            "listing the volumes", lambda sdk: tuple(map(wire.volume, sdk.get_user()["networkVolumes"]))
        )
        return found

    async def create_volume(self, name: str, size_gb: int, data_center: str) -> Volume:
        """Not with the SDK."""
        raise _not_here("rent volumes")

    async def delete_volume(self, volume_id: str) -> None:
        """Not with the SDK."""
        raise _not_here("delete volumes")

    async def close(self) -> None:
        """Nothing is held."""

    async def _pods_named(self, name: str) -> Sequence[Rented]:
        return [pod for pod in await self.list() if pod.name == name and not pod.gone]

    async def _create_pod(self, request: CreateRequest) -> Rented:
        """Ask once; what the answer leaves out is looked up, but not waited for."""
        wanted, hide = wire.arguments(request), request.environment.values()
        doing = f"creating pod {request.name}"
        answer = await self._call(doing, lambda sdk: sdk.create_pod(**wanted), hide, creates=True)
        if not answer or not answer.get("id"):
            raise ProviderDown(f"RunPod, {doing}: an answer without an id", STATUS_PAGE, outcome="unknown")
        made = Rented(id=answer["id"], name=request.name, status="provisioning", gpu_count=request.gpu_count)
        try:
            made = await self.get(made.id) or made
        except ProviderError:
            pass  # the id is what counts; the rest comes with the next look
        return replace(made, gpu_id=request.gpu_id, cloud=request.cloud)

    async def _act(
        self, pod_id: str, action: str, wanted: Sequence[PodStatus], work: Callable[[Any], Any]
    ) -> Rented:
        send = partial(self._call, f"asking pod {pod_id} to {action}", work)
        return await self._patience.settle(send, partial(self.get, pod_id), wanted)

    async def _read(self, doing: str, work: Callable[[Any], Any]) -> Any:
        """A query, repeated until it is answered."""
        return await self._patience.repeat(partial(self._call, doing, work))

    async def _call(
        self, doing: str, work: Callable[[Any], Any], hide: Iterable[str] = (), *, creates: bool = False
    ) -> Any:
        """One call of the SDK, in a thread; a call that takes too long counts as unanswered."""
        await asyncio.to_thread(_load)
        limit = self._patience.create_timeout if creates else self._patience.read_timeout
        try:
            async with asyncio.timeout(limit):
                answer, failure = await asyncio.to_thread(self._blocking, doing, work, tuple(hide))
        except TimeoutError:
            answer, failure = None, _unanswered(doing, "no answer in time")
        if failure is not None:
            raise failure
        return answer

    def _blocking(
        self, doing: str, work: Callable[[Any], Any], hide: Sequence[str]
    ) -> tuple[Any, ProviderError | None]:
        """The call itself; errors are handed back, for the SDK's own hold the query with all its values."""
        sdk = _load()
        import requests

        sdk.api_key = self._key.get_secret_value()
        try:
            return work(sdk), None
        except sdk.error.AuthenticationError as error:
            what = f"RunPod, {doing}: {self._veil(str(error), also=hide)}"
            return None, Unauthorized(what, GET_A_KEY)
        except sdk.error.QueryError as error:
            return None, query_refusal(self._veil(str(error), also=hide), doing)
        except (requests.exceptions.JSONDecodeError, KeyError, TypeError):
            return None, _unanswered(doing, "an answer that makes no sense")
        except requests.RequestException as error:
            unsent = isinstance(error, requests.ConnectTimeout) or "NewConnectionError" in repr(error)
            return None, _unanswered(doing, "no connection" if unsent else "no answer", unsent=unsent)
        except ValueError as error:
            words = self._veil(str(error), also=hide)
            return None, BadRequest(
                f"RunPod, {doing}: {words}", "Correct the job's pod section.", certain=False
            )


def _load() -> Any:
    """The SDK; the first call takes seconds."""
    with _LOADING:
        import runpod

        return runpod


def _graphql(sdk: Any, query: str) -> Any:
    from runpod.api.graphql import run_graphql_query

    return run_graphql_query(query)["data"]


def _unanswered(doing: str, why: str, *, unsent: bool = False) -> ProviderDown:
    return ProviderDown(f"RunPod, {doing}: {why}", STATUS_PAGE, outcome="unsent" if unsent else "unknown")


def _not_here(doing: str) -> BadRequest:
    return BadRequest(f"the runpod SDK can't {doing}", "Use the REST backend.")
