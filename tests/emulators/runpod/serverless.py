"""Serverless endpoints of the emulator: the account's, and the workers that answer."""

from __future__ import annotations

import re
from typing import Any

from tests.emulators.runpod.account import Refusal, iso
from tests.emulators.runpod.server import Answer, Emulator, Request

POOLS = {
    "NVIDIA RTX A4000": ("AMPERE_16", 0.58),
    "NVIDIA GeForce RTX 4090": ("ADA_24", 1.10),
    "NVIDIA RTX A6000": ("AMPERE_48", 1.22),
    "NVIDIA L40S": ("ADA_48_PRO", 1.90),
    "NVIDIA A100 80GB PCIe": ("AMPERE_80", 2.72),
}


class ServerlessEmulator(Emulator):
    """An account that can have endpoints; `says` is what their workers answer.

    A worker needs `cold` looks at a job's status before it has come up.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.endpoints: dict[str, dict[str, Any]] = {}
        self.cold = 2
        self.says: Any = [{"choices": [{"tokens": ["It is green."]}]}]
        self.fails = ""
        self.elsewhere = ""
        """Where the endpoints claim to answer, if not here."""
        self._looks: dict[str, int] = {}

    def _perform(self, request: Request) -> Answer:
        try:
            if request.path.startswith("/v2/serverless"):
                self._authorize(request)
                self._check(request)
                status, body = self._serverless(request, request.path.split("/")[3:])
                return Answer(status, body, "application/json" if body is not None else None)
            if request.path.startswith("/worker/"):
                self._authorize(request)
                return Answer(200, self._work(request))
        except Refusal as refusal:
            return self._refused(request, refusal)
        answer = super()._perform(request)
        if request.path == "/v2/catalog/gpus" and request.query.get("product") == "SERVERLESS":
            for gpu in answer.body["gpus"]:
                if gpu["id"] in POOLS:
                    gpu["pool"], gpu["price"]["serverless"] = POOLS[gpu["id"]]
        return answer

    def _serverless(self, request: Request, rest: list[str]) -> tuple[int, Any]:
        if not rest and request.method == "POST":
            return 201, self._made(request.body)
        if not rest:
            return 200, {"endpoints": list(self.endpoints.values())}
        if rest[0] not in self.endpoints:
            raise Refusal(404, "endpoint not found")
        if request.method == "DELETE":
            del self.endpoints[rest[0]]
            return 204, None
        return 200, self.endpoints[rest[0]]

    def _made(self, body: dict[str, Any]) -> dict[str, Any]:
        known = {pool for pool, _ in POOLS.values()}
        if not set(body["gpu"]["pools"]) <= known:
            raise Refusal(400, "unknown pool")
        name = f"ep{len(self.endpoints) + 1}"
        base = f"{self.elsewhere or self.url}/worker/{name}"
        names = {"run": "run", "runSync": "runsync", "status": "status/{job_id}", "stream": "stream/{job_id}"}
        names |= {"cancel": "cancel/{job_id}", "retry": "retry/{job_id}", "purgeQueue": "purge-queue"}
        self.endpoints[name] = {
            **{key: body[key] for key in ("name", "type", "image", "disk", "env", "workers", "scaling")},
            "id": name,
            "requestUrls": {key: f"{base}/{path}" for key, path in (names | {"health": "health"}).items()},
            "args": "",
            "ports": [],
            "registry": None,
            "gpu": {**body["gpu"], "allowedCudaVersions": [], "minCudaVersion": None},
            "dataCenterIds": [],
            "networkVolumes": [],
            "timeout": 300000,
            "flashboot": body.get("flashboot", "OFF"),
            "createdAt": iso(self.account.clock.now()),
        }
        return self.endpoints[name]

    def _work(self, request: Request) -> dict[str, Any]:
        name = request.path.split("/")[2]
        if name not in self.endpoints:
            raise Refusal(404, "endpoint not found")
        if request.method == "POST":
            self._looks["job-1"] = 0
        self._looks["job-1"] += 1
        if not re.search(r"/(runsync|status/job-1)$", request.path):
            raise Refusal(404, "no such job")
        if self._looks["job-1"] <= self.cold:
            return {"id": "job-1", "status": "IN_QUEUE"}
        if self.fails:
            return {"id": "job-1", "status": "FAILED", "error": self.fails}
        return {"id": "job-1", "status": "COMPLETED", "output": self.says}
