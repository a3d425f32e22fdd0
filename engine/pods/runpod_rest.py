"""RunPod through its REST API v2, over httpx: the default backend. Import it late.

One pooled client, one place where requests leave, one where refusals become errors.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any, NoReturn, TypeVar

import httpx
from pydantic import BaseModel, SecretStr, ValidationError

from engine.errors import NoSuchPod, Outcome, ProviderDown, ProviderError
from engine.pods import runpod_wire as wire
from engine.pods.patience import Patience
from engine.pods.provider import Cluster, CreateRequest, Offer, Product, Rented, Volume
from engine.pods.runpod_account import Veil, api_url, checked_id
from engine.pods.runpod_errors import STATUS_PAGE, refusal

M = TypeVar("M", bound=BaseModel)


class RunPodREST:
    """The provider protocol on REST v2.

    Args:
        key: The account's API key.
        url: Where the API is; None is RunPod's, or what the environment says.
        patience: Time-outs and repetitions.
    """

    def __init__(self, key: SecretStr, *, url: str | None = None, patience: Patience | None = None) -> None:
        self._patience = patience or Patience()
        self._veil = Veil(key)
        self._http = httpx.AsyncClient(
            base_url=f"{url or api_url()}/v2",
            headers={"Authorization": f"Bearer {key.get_secret_value()}", "User-Agent": "podium"},
            timeout=httpx.Timeout(self._patience.read_timeout, connect=min(10, self._patience.read_timeout)),
        )

    async def offers(self, *, count: int = 1, product: Product = "pod") -> tuple[Offer, ...]:
        """The catalog, asked once a cloud: stock is a cloud's own."""
        found: list[Offer] = []
        for name, cloud in wire.CLOUDS.items():
            asked: dict[str, str | int] = {"include": "AVAILABILITY", "product": product.upper()}
            asked |= {"count": count, "cloud": name}
            catalog = await self._read("/catalog/gpus", wire.CatalogWire, "reading the catalog", asked)
            found += catalog.offers(cloud)
        return tuple(found)

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
        found = await self._find(f"/pods/{checked_id(pod_id)}", wire.PodWire, f"looking at pod {pod_id}")
        return found.rented() if found else None

    async def list(self) -> tuple[Rented, ...]:
        """Every pod, the nodes of clusters included."""
        asked = {"includeClusterPods": "true"}
        found = await self._read("/pods", wire.PodsWire, "listing the pods", asked)
        return tuple(pod.rented() for pod in found.pods)

    async def stop(self, pod_id: str) -> Rented:
        """Release the GPUs."""
        return await self._act(pod_id, "stop", ("stopped",))

    async def start(self, pod_id: str) -> Rented:
        """Start a stopped pod."""
        return await self._act(pod_id, "start", ("provisioning", "starting", "running"))

    async def terminate(self, pod_id: str) -> None:
        """End the pod, and see that it is gone."""

        async def look() -> Rented | None:
            pod = await self.get(pod_id)
            return None if pod is None or pod.gone else pod

        await self._delete(f"/pods/{checked_id(pod_id)}", f"pod {pod_id}", look)

    async def create_cluster(self, request: CreateRequest, nodes: int) -> Cluster:
        """Rent several like pods, or adopt the cluster of that name."""

        async def find() -> Sequence[Cluster]:
            return [cluster for cluster in await self.clusters() if cluster.name == request.name]

        async def send() -> Cluster:
            body, doing = wire.cluster_body(request, nodes), f"creating cluster {request.name}"
            hide = request.environment.values()
            answer = await self._send("POST", "/clusters", doing, body=body, hide=hide)
            return _parsed(answer, wire.ClusterWire, doing).cluster()

        return await self._patience.create(
            f"cluster {request.name}", find, send, lambda cluster: self.terminate_cluster(cluster.id)
        )

    async def cluster(self, cluster_id: str) -> Cluster | None:
        """The cluster now, with its pods."""
        path, doing = f"/clusters/{checked_id(cluster_id)}", f"looking at cluster {cluster_id}"
        found = await self._find(path, wire.ClusterWire, doing)
        pods = await self._find(f"{path}/pods", wire.PodsWire, doing) if found else None
        return found.cluster(tuple(pod.rented() for pod in pods.pods) if pods else ()) if found else None

    async def clusters(self) -> tuple[Cluster, ...]:
        """Every cluster, without its pods."""
        found = await self._read("/clusters", wire.ClustersWire, "listing the clusters")
        return tuple(item.cluster() for item in found.clusters)

    async def terminate_cluster(self, cluster_id: str) -> None:
        """End a cluster, and see that it and all its pods are gone."""

        async def look() -> object | None:
            left = [pod for pod in await self.list() if pod.cluster_id == cluster_id and not pod.gone]
            return left or await self.cluster(cluster_id)

        await self._delete(f"/clusters/{checked_id(cluster_id)}", f"cluster {cluster_id}", look)

    async def volumes(self) -> tuple[Volume, ...]:
        """Every network volume."""
        found = await self._read("/network-volumes", wire.VolumesWire, "listing the volumes")
        return tuple(item.volume() for item in found.network_volumes)

    async def create_volume(self, name: str, size_gb: int, data_center: str) -> Volume:
        """Rent a network volume, or adopt the one of that name in that data centre."""

        async def find() -> Sequence[Volume]:
            there = [item for item in await self.volumes() if item.data_center == data_center]
            return [item for item in there if item.name == name]

        async def send() -> Volume:
            body = {"name": name, "size": size_gb, "dataCenter": data_center}
            answer = await self._send("POST", "/network-volumes", f"creating volume {name}", body=body)
            return _parsed(answer, wire.VolumeWire, f"creating volume {name}").volume()

        return await self._patience.create(
            f"volume {name}", find, send, lambda volume: self.delete_volume(volume.id)
        )

    async def delete_volume(self, volume_id: str) -> None:
        """Delete a network volume, and see that it is gone."""
        path, doing = f"/network-volumes/{checked_id(volume_id)}", f"looking at volume {volume_id}"
        await self._delete(path, f"volume {volume_id}", lambda: self._find(path, wire.VolumeWire, doing))

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def _pods_named(self, name: str) -> Sequence[Rented]:
        """The pods of that name that exist, oldest first."""
        pods = [pod for pod in await self.list() if pod.name == name and not pod.gone and not pod.cluster_id]
        return sorted(pods, key=lambda pod: (pod.created_at is None, pod.created_at, pod.id))

    async def _create_pod(self, request: CreateRequest) -> Rented:
        doing = f"creating pod {request.name}"
        body, hide = wire.pod_body(request), request.environment.values()
        answer = await self._send("POST", "/pods", doing, body=body, hide=hide)
        return _parsed(answer, wire.PodWire, doing).rented()

    async def _act(self, pod_id: str, action: str, wanted: Sequence[Any]) -> Rented:
        path, doing = f"/pods/{checked_id(pod_id)}/action", f"asking pod {pod_id} to {action}"
        send = partial(self._send, "POST", path, doing, body={"action": action})
        return await self._patience.settle(send, partial(self.get, pod_id), wanted)

    async def _delete(self, path: str, what: str, look: Any) -> None:
        await self._patience.end(what, partial(self._send, "DELETE", path, f"ending {what}"), look)

    async def _read(
        self, path: str, model: type[M], doing: str, asked: Mapping[str, str | int] | None = None
    ) -> M:
        """A read, repeated until it is answered."""

        async def once() -> M:
            return _parsed(await self._send("GET", path, doing, asked=asked), model, doing)

        return await self._patience.repeat(once)

    async def _find(self, path: str, model: type[M], doing: str) -> M | None:
        """A read of something that may not be there."""
        try:
            return await self._read(path, model, doing)
        except NoSuchPod:
            return None

    async def _send(
        self,
        method: str,
        path: str,
        doing: str,
        *,
        asked: Mapping[str, str | int] | None = None,
        body: Mapping[str, Any] | None = None,
        hide: Iterable[str] = (),
    ) -> Any:
        """One request; its answer as JSON, or None where it has no body.

        What went wrong is raised outside of the handlers: httpx's exceptions hold the request.
        """
        failure: ProviderError
        try:
            response = await self._http.request(
                method, path, params=asked, json=body, timeout=self._timeout(method, path)
            )
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as error:
            failure = _unreachable(doing, error, "unsent")
        except httpx.HTTPError as error:
            failure = _unreachable(doing, error, "unknown")
        else:
            if response.is_success:
                return _json(response, doing) if response.content else None
            detail = self._veil(_detail(response), also=hide)
            failure = refusal(response.status_code, detail, doing, response.headers.get("Retry-After"))
        raise failure

    def _timeout(self, method: str, path: str) -> httpx.Timeout:
        """Renting takes the provider longer than reading."""
        creates = method == "POST" and not path.endswith("/action")
        whole = self._patience.create_timeout if creates else self._patience.read_timeout
        return httpx.Timeout(whole, connect=min(10, whole))


def _unreachable(doing: str, error: httpx.HTTPError, outcome: Outcome) -> ProviderDown:
    """The error for a request that got no answer."""
    words = {
        "ConnectTimeout": "no connection in time",
        "ReadTimeout": "no answer in time",
        "ConnectError": "no connection",
    }
    why = words.get(type(error).__name__, "the connection broke")
    return ProviderDown(f"RunPod, {doing}: {why}", f"Check the network. {STATUS_PAGE}", outcome=outcome)


def _json(response: httpx.Response, doing: str) -> Any:
    try:
        return response.json()
    except ValueError:
        return _not_understood(doing)


def _parsed(answer: Any, model: type[M], doing: str) -> M:
    """The answer as a model; to a write that is not understood, the answer counts as lost."""
    try:
        return model.model_validate(answer)
    except ValidationError:
        pass  # raised below: pydantic's error quotes the answer, and that holds the pod's environment
    return _not_understood(doing)


def _not_understood(doing: str) -> NoReturn:
    raise ProviderDown(f"RunPod, {doing}: an answer that makes no sense", STATUS_PAGE, outcome="unknown")


def _detail(response: httpx.Response) -> str:
    """What an error says, in whatever form it came."""
    try:
        return wire.ProblemWire.model_validate_json(response.content).text
    except ValidationError:
        return response.reason_phrase
