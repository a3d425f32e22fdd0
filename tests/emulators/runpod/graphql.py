"""The emulator's GraphQL, for the `runpod` SDK: parsed, validated and executed by graphql-core.

The schema has what the SDK's own queries and the catalog use, as far as the vendor documents it.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from graphql import GraphQLError, GraphQLSchema, build_schema, graphql_sync, parse

from tests.emulators.runpod.account import GPUS, Account, Pod, Refusal

SCHEMA = """
scalar Void
enum CloudTypeEnum { ALL COMMUNITY SECURE }
input PodFilter { podId: String! }
input GpuTypeFilter { id: String }
input GpuLowestPriceInput { gpuCount: Int! secureCloud: Boolean }
input EnvironmentVariableInput { key: String! value: String! }
input PodFindAndDeployOnDemandInput {
  name: String imageName: String cloudType: CloudTypeEnum startSsh: Boolean supportPublicIp: Boolean
  gpuTypeId: String gpuCount: Int volumeInGb: Int minVcpuCount: Int minMemoryInGb: Int
  allowedCudaVersions: [String] dataCenterId: String dockerArgs: String countryCode: String
  containerDiskInGb: Int ports: String volumeMountPath: String env: [EnvironmentVariableInput]
  templateId: String networkVolumeId: String
}
input PodStopInput { podId: String! }
input PodResumeInput { podId: String! gpuCount: Int! }
input PodTerminateInput { podId: String! }
type LowestPrice { minimumBidPrice: Float uninterruptablePrice: Float stockStatus: String }
type GpuType {
  id: String displayName: String manufacturer: String memoryInGb: Int cudaCores: Int maxGpuCount: Int
  secureCloud: Boolean communityCloud: Boolean securePrice: Float communityPrice: Float
  oneMonthPrice: Float threeMonthPrice: Float oneWeekPrice: Float communitySpotPrice: Float
  secureSpotPrice: Float
  lowestPrice(input: GpuLowestPriceInput): LowestPrice
}
type Port { ip: String isIpPublic: Boolean privatePort: Int publicPort: Int type: String }
type PodRuntime { ports: [Port] }
type Machine { podHostId: String gpuDisplayName: String }
type Pod {
  id: String containerDiskInGb: Int costPerHr: Float desiredStatus: String dockerArgs: String dockerId: String
  env: [String] gpuCount: Int imageName: String lastStatusChange: String machineId: String memoryInGb: Float
  name: String podType: String port: Int ports: String uptimeSeconds: Int vcpuCount: Float volumeInGb: Float
  volumeMountPath: String runtime: PodRuntime machine: Machine
}
type NetworkVolume { id: String name: String size: Int dataCenterId: String }
type User { id: String pubKey: String pods: [Pod] networkVolumes: [NetworkVolume] }
type Query { myself: User pod(input: PodFilter): Pod gpuTypes(input: GpuTypeFilter): [GpuType] }
type Mutation {
  podFindAndDeployOnDemand(input: PodFindAndDeployOnDemandInput): Pod
  podStop(input: PodStopInput!): Pod
  podResume(input: PodResumeInput!): Pod
  podTerminate(input: PodTerminateInput!): Void
}
"""


@cache
def schema() -> GraphQLSchema:
    return build_schema(SCHEMA)


def root_field(query: str) -> str:
    """What a query asks for first, `pods` rather than `myself`; empty if it does not parse."""
    try:
        field = parse(query).definitions[0].selection_set.selections[0]  # type: ignore[union-attr]
    except GraphQLError:
        return ""
    inner = field.selection_set.selections if field.selection_set else []
    return "pods" if any(item.name.value == "pods" for item in inner) else field.name.value


def execute(account: Account, query: str) -> dict[str, Any]:
    result = graphql_sync(schema(), query, Root(account))
    answer: dict[str, Any] = {"data": result.data}
    if result.errors:
        answer["errors"] = [{"message": error.message} for error in result.errors]
    return answer


class Root:
    """The resolvers: one method a field."""

    def __init__(self, account: Account) -> None:
        self.account = account

    def myself(self, info: Any) -> dict[str, Any]:
        there = [pod for pod in self.account.pods.values() if self.account.status(pod) != "TERMINATED"]
        volumes = [{**item, "dataCenterId": item["dataCenter"]} for item in self.account.volumes.values()]
        return {"id": "user_1", "pods": [self._pod(pod) for pod in there], "networkVolumes": volumes}

    def pod(self, info: Any, input: dict[str, str]) -> dict[str, Any] | None:
        found = self.account.pods.get(input["podId"])
        return self._pod(found) if found and self.account.there(found) else None

    def gpuTypes(self, info: Any, input: dict[str, str] | None = None) -> list[dict[str, Any]]:
        wanted = (input or {}).get("id")
        return [self._gpu(gpu) for gpu in GPUS if wanted in (None, gpu["id"])]

    def podFindAndDeployOnDemand(self, info: Any, input: dict[str, Any]) -> dict[str, Any]:
        return self._pod(_refusing(self.account.rent, _spec(input)))

    def podStop(self, info: Any, input: dict[str, str]) -> dict[str, Any]:
        pod = _refusing(self.account.pod, input["podId"])
        _refusing(self.account.stop, pod)
        return self._pod(pod)

    def podResume(self, info: Any, input: dict[str, Any]) -> dict[str, Any]:
        pod = _refusing(self.account.pod, input["podId"])
        _refusing(self.account.start, pod)
        return self._pod(pod)

    def podTerminate(self, info: Any, input: dict[str, str]) -> None:
        _refusing(self.account.terminate, _refusing(self.account.pod, input["podId"]))

    def _gpu(self, gpu: dict[str, Any]) -> dict[str, Any]:
        def lowest_price(info: Any, input: dict[str, Any]) -> dict[str, Any]:
            cloud = "SECURE" if input.get("secureCloud") else "COMMUNITY"
            level = self.account.stock.get((gpu["id"], cloud), "NONE")
            if level == "NONE" or input["gpuCount"] > gpu["max"][cloud == "COMMUNITY"]:
                return {"stockStatus": None, "uninterruptablePrice": None}
            return {"stockStatus": level.capitalize(), "uninterruptablePrice": gpu[cloud.lower()]}

        return {
            "id": gpu["id"],
            "displayName": gpu["name"],
            "manufacturer": gpu["id"].split()[0].capitalize(),
            "memoryInGb": gpu["memory"],
            "maxGpuCount": max(gpu["max"]),
            "secureCloud": gpu["secure"] > 0,
            "communityCloud": gpu["community"] > 0,
            "securePrice": gpu["secure"],
            "communityPrice": gpu["community"],
            "lowestPrice": lowest_price,
        }

    def _pod(self, pod: Pod) -> dict[str, Any]:
        status, address, spec = self.account.status(pod), self.account.address(pod), pod.spec
        wanted = status if status in ("EXITED", "TERMINATED") else "RUNNING"
        port = {"privatePort": 22, "type": "tcp", "isIpPublic": True}
        ports = [{**port, "ip": address[0], "publicPort": address[1]}] if address else []
        return {
            "id": pod.id,
            "name": spec["name"],
            "imageName": spec["image"],
            "desiredStatus": wanted,
            "costPerHr": pod.rate,
            "gpuCount": self.account.gpus(pod),
            "env": [f"{key}={value}" for key, value in spec.get("env", {}).items()],
            "containerDiskInGb": spec.get("disk"),
            "volumeMountPath": spec.get("mountPath"),
            "ports": ",".join(spec.get("ports", [])),
            "runtime": {"ports": ports} if status == "RUNNING" else None,
            "machine": {"gpuDisplayName": spec["gpu"]["id"].removeprefix("NVIDIA "), "podHostId": "host"},
            "uptimeSeconds": int(self.account.clock.now() - pod.started) if status == "RUNNING" else 0,
        }


def _spec(input: dict[str, Any]) -> dict[str, Any]:
    """The input as a body of REST v2."""
    path, mounts = input.get("volumeMountPath"), {}
    if input.get("networkVolumeId"):
        mounts = {"network": [{"volumeId": input["networkVolumeId"], "path": path}]}
    elif input.get("volumeInGb"):
        mounts = {"persistent": {"size": input["volumeInGb"], "path": path}}
    return {
        "name": input["name"],
        "image": input["imageName"],
        "gpu": {"id": input["gpuTypeId"], "count": input.get("gpuCount", 1)},
        "cloud": "SECURE" if input.get("cloudType") == "ALL" else input["cloudType"],
        "dataCenterIds": [input["dataCenterId"]] if input.get("dataCenterId") else [],
        "disk": input.get("containerDiskInGb"),
        "mounts": mounts,
        "ports": (input.get("ports") or "").split(","),
        "env": {item["key"]: item["value"] for item in input.get("env") or []},
        "args": input.get("dockerArgs") or "",
        "startSsh": bool(input.get("startSsh")),
    }


def _refusing(call: Any, *args: Any) -> Any:
    try:
        return call(*args)
    except Refusal as refusal:
        raise GraphQLError(refusal.detail) from None
