"""The emulator's REST v2: routes, and the account's things in the description's words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.emulators.runpod.account import DATA_CENTERS, GPUS, Account, Pod, Refusal, iso

if TYPE_CHECKING:
    from tests.emulators.runpod.server import Request

ACTIONS = {
    "PROVISIONING": ["stop", "terminate"],
    "STARTING": ["stop", "terminate"],
    "RUNNING": ["stop", "restart", "terminate"],
    "EXITED": ["start", "terminate"],
    "ERROR": ["start", "terminate"],
    "TERMINATED": [],
}
Result = tuple[int, Any]


def handle(
    account: Account, request: Request, only: Pod | None, pods_may_terminate: bool, may_end_clusters: bool
) -> Result:
    """Carry out a request; `only` is the one pod that its key is good for."""
    _, _, room, *rest = request.path.split("/")
    if only is not None:
        ends = request.method == "DELETE" or (request.body or {}).get("action") == "terminate"
        own = room == "clusters" and rest == [only.cluster] and request.method == "DELETE"
        if own and may_end_clusters:
            return _clusters(account, request, rest)
        if room != "pods" or rest[:1] != [only.id] or (ends and not pods_may_terminate):
            raise Refusal(403, "access denied")
    rooms = {"pods": _pods, "clusters": _clusters, "network-volumes": _volumes, "catalog": _catalog}
    if room not in rooms:
        raise Refusal(404, "resource not found")
    return rooms[room](account, request, rest)


def _pods(account: Account, request: Request, rest: list[str]) -> Result:
    if not rest and request.method == "POST":
        return 201, pod(account, account.rent(request.body))
    if not rest:
        everything = request.query.get("includeClusterPods") == "true"
        there = [item for item in account.pods.values() if account.there(item)]
        return 200, {"pods": [pod(account, item) for item in there if everything or not item.cluster]}
    found = account.pod(rest[0])
    if request.method == "DELETE":
        account.terminate(found)
        return 204, None
    if rest[1:] == ["action"]:
        action = request.body["action"]
        if action == "terminate":
            account.terminate(found)
            return 204, None
        {"start": account.start, "stop": account.stop}[action](found)
    return 200, pod(account, found)


def _clusters(account: Account, request: Request, rest: list[str]) -> Result:
    if not rest and request.method == "POST":
        return 201, _cluster(account, account.rent_cluster(request.body))
    if not rest:
        return 200, {"clusters": [_cluster(account, item) for item in account.clusters.values()]}
    found = account.cluster(rest[0])
    if request.method == "DELETE":
        account.terminate_cluster(rest[0])
        return 204, None
    if rest[1:] == ["pods"]:
        # In no order of rank: nothing says that there is one.
        return 200, {"pods": [pod(account, item) for item in reversed(account.nodes(rest[0]))]}
    return 200, _cluster(account, found)


def _volumes(account: Account, request: Request, rest: list[str]) -> Result:
    if not rest and request.method == "POST":
        return 201, account.rent_volume(request.body)
    if not rest:
        return 200, {"networkVolumes": list(account.volumes.values())}
    found = account.volume(rest[0])
    if request.method == "DELETE":
        del account.volumes[rest[0]]
        return 204, None
    return 200, found


def _catalog(account: Account, request: Request, rest: list[str]) -> Result:
    if rest != ["gpus"]:
        raise Refusal(404, "resource not found")
    if "include" in request.query and "product" not in request.query:
        raise Refusal(400, "product is required with include=AVAILABILITY")
    count, cloud = int(request.query.get("count", 1)), request.query.get("cloud", "SECURE")
    return 200, {"gpus": [_gpu(account, gpu, count, cloud, "include" in request.query) for gpu in GPUS]}


def _gpu(account: Account, gpu: dict[str, Any], count: int, cloud: str, stocked: bool) -> dict[str, Any]:
    shown = {
        "id": gpu["id"],
        "name": gpu["name"],
        "pool": None,
        "manufacturer": gpu["id"].split()[0],
        "memory": gpu["memory"],
        "secure": gpu["secure"] > 0,
        "community": gpu["community"] > 0,
        "price": {"secure": gpu["secure"], "community": gpu["community"]},
        "maxCount": {"secure": gpu["max"][0], "community": gpu["max"][1]},
    }
    if stocked:
        level = account.stock.get((gpu["id"], cloud), "NONE")
        shown["availability"] = level if count <= gpu["max"][cloud == "COMMUNITY"] else "NONE"
        if shown["availability"] != "NONE":
            shown["dataCenters"] = [
                {"id": item, "name": item, "availability": level} for item in DATA_CENTERS
            ]
    return shown


def pod(account: Account, item: Pod) -> dict[str, Any]:
    """A pod as GET shows it."""
    status, spec, address = account.status(item), item.spec, account.address(item)
    shown = {
        "id": item.id,
        "name": spec["name"],
        "status": status,
        "actions": ACTIONS[status],
        "image": spec["image"],
        "args": spec.get("args", ""),
        "disk": spec.get("disk", 10),
        "mounts": spec.get("mounts", {}),
        "ports": spec.get("ports", []),
        "env": spec.get("env", {}),
        "registry": spec.get("registry"),
        "cloud": spec["cloud"],
        "dataCenterId": item.place,
        "cudaVersion": "12.8",
        "ssh": {"proxy": _endpoint("ssh.runpod.io", 22, f"{item.id}-64411eb2"), "direct": None},
        "template": None,
        "cost": item.rate if account.billing(item) else 0.0,
        "locked": item.locked,
        "globalNetworking": {"enabled": False},
        "runtime": _runtime(account, item) if status == "RUNNING" else None,
        "createdAt": iso(item.created),
        "startedAt": iso(item.started + item.stages.running) if status == "RUNNING" else None,
    }
    if address:
        shown["ssh"]["direct"] = _endpoint(*address, "root")
    if account.gpus(item):
        shown["gpu"] = {"id": spec["gpu"]["id"], "count": account.gpus(item)}
    if item.cluster:
        shown["cluster"] = {"id": item.cluster, "rank": item.rank if status == "RUNNING" else None}
        if status == "RUNNING":
            shown["cluster"]["ip"] = f"10.65.0.{2 + (item.rank or 0)}"
    return shown


def _endpoint(host: str, port: int, user: str) -> dict[str, Any]:
    command = f"ssh {user}@{host} -p {port}"
    return {"host": host, "port": port, "username": user, "command": command}


def _runtime(account: Account, item: Pod) -> dict[str, Any]:
    address = account.address(item)
    ports = [{"private": 22, "public": address[1], "type": "tcp", "ip": address[0]}] if address else []
    return {
        "uptime": int(account.clock.now() - item.started - item.stages.running),
        "gpus": [{"util": 90, "memoryUtil": 50}] * account.gpus(item),
        "cpu": {"util": 10},
        "memory": {"util": 20},
        "ports": ports,
    }


def _cluster(account: Account, item: dict[str, Any]) -> dict[str, Any]:
    nodes = account.nodes(item["id"])
    states = [account.status(node) for node in nodes]
    return {
        **{key: item[key] for key in ("id", "name", "type", "compute")},
        "dataCenterId": nodes[0].place if nodes else "EU-RO-1",
        "pods": {"total": len(nodes), "byStatus": {state: states.count(state) for state in set(states)}},
        "createdAt": iso(item["created"]),
    }
