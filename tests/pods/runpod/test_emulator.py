"""The emulator itself: its judge, its clock, its bill, and the keys of its pods."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.emulators.runpod import Account, Clock, Emulator, Fault, Stages
from tests.emulators.runpod.account import Refusal
from tests.emulators.runpod.contract import contract, path

BODY = {"name": "a", "image": "x", "gpu": {"id": "NVIDIA L40S", "count": 1}}


def call(
    emulator: Emulator, method: str, path: str, body: Any = None, key: str | None = None
) -> httpx.Response:
    headers = {"Authorization": f"Bearer {key or emulator.account.key}"}
    return httpx.request(method, emulator.url + path, json=body, headers=headers, timeout=20)


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/v2/pods", {**BODY, "gpuCount": 1}),
        ("POST", "/v2/pods", {key: BODY[key] for key in ("name", "gpu")}),
        ("POST", "/v2/pods", {**BODY, "env": {"A": 1}}),
        ("POST", "/v2/pods", {**BODY, "mounts": {"persistent": {"size": 5, "path": "/w"}}}),
        ("POST", "/v2/clusters", {"name": "a", "type": "TRAINING", "compute": {"podCount": 2}}),
        ("GET", "/v2/pods?includeClusterPods=maybe", None),
        ("GET", "/v2/pods?limit=1", None),
        ("GET", "/v2/machines", None),
    ],
)
def test_a_request_that_breaks_the_description_is_refused_and_recorded(
    method: str, path: str, body: Any
) -> None:
    _need_description()
    with Emulator() as emulator:
        answer = call(emulator, method, path, body)
        assert (answer.status_code, len(emulator.violations)) == (422, 1)
        assert answer.json()["errors"]
        assert emulator.account.pods == {}


def test_an_answer_that_breaks_the_description_is_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    _need_description()
    with Emulator() as emulator:
        monkeypatch.setattr("tests.emulators.runpod.rest._runtime", lambda *_: {"uptime": "long"})
        emulator.account.stages = lambda: Stages(0, 0, 0)
        call(emulator, "POST", "/v2/pods", BODY)
        assert [line.split(" -> ")[0] for line in emulator.violations] == ["POST /v2/pods"]
        assert "uptime" in emulator.violations[0]


def test_a_pod_goes_through_its_stages_by_the_clock() -> None:
    clock = Clock()
    account = Account(clock)
    pod = account.rent(dict(BODY, gpu=dict(BODY["gpu"]), ports=["22/tcp"]))  # type: ignore[call-overload]
    seen = []
    for _ in range(7):
        seen.append((account.status(pod), account.address(pod) is not None))
        clock.advance(5)
    assert seen == [
        ("PROVISIONING", False),
        ("STARTING", False),
        ("STARTING", False),
        ("RUNNING", False),
        ("RUNNING", False),
        ("RUNNING", True),
        ("RUNNING", True),
    ]


def test_the_bill_counts_what_runs_and_nothing_else() -> None:
    clock = Clock()
    account = Account(clock)
    pod = account.rent(dict(BODY, gpu={"id": "NVIDIA L40S", "count": 2}))
    clock.advance(3600)
    assert account.dollars() == pytest.approx(2 * 0.86)
    account.stop(pod)
    clock.advance(3600)
    assert account.dollars() == pytest.approx(2 * 0.86)
    account.start(pod)
    clock.advance(1800)
    account.terminate(pod)
    clock.advance(3600)
    assert account.dollars() == pytest.approx(3 * 0.86)


def test_a_clock_may_run_fast() -> None:
    import time

    clock = Clock(speed=1000)
    before = clock.now()
    time.sleep(0.02)
    assert clock.now() - before >= 20


def test_the_watchers_are_told_of_a_pod_s_life() -> None:
    account, seen = Account(Clock()), []
    account.watchers.append(lambda event, pod: seen.append(event))
    pod = account.rent(dict(BODY, gpu=dict(BODY["gpu"])))  # type: ignore[call-overload]
    account.stop(pod)
    account.start(pod)
    account.terminate(pod)
    account.terminate(pod)
    assert seen == ["created", "stopped", "started", "terminated"]


def test_a_pod_s_own_key_is_good_for_that_pod_only() -> None:
    with Emulator() as emulator:
        mine = emulator.account.pods[call(emulator, "POST", "/v2/pods", BODY).json()["id"]]
        other = call(emulator, "POST", "/v2/pods", BODY).json()["id"]
        assert call(emulator, "GET", "/v2/pods", key=mine.key).status_code == 403
        assert call(emulator, "DELETE", f"/v2/pods/{other}", key=mine.key).status_code == 403
        emulator.pods_may_terminate = False
        assert call(emulator, "DELETE", f"/v2/pods/{mine.id}", key=mine.key).status_code == 403
        action = f"/v2/pods/{mine.id}/action"
        assert call(emulator, "POST", action, {"action": "stop"}, mine.key).json()["status"] == "EXITED"
        emulator.pods_may_terminate = True
        assert call(emulator, "DELETE", f"/v2/pods/{mine.id}", key=mine.key).status_code == 204
        assert call(emulator, "GET", f"/v2/pods/{mine.id}").status_code == 404
        assert emulator.violations == []


def test_a_dropped_connection_is_a_reset_and_may_have_done_its_work() -> None:
    with Emulator() as emulator:
        for performed in (False, True):
            emulator.fault("POST /v2/pods", Fault(drop=True, performed=performed))
            with pytest.raises(httpx.TransportError):
                call(emulator, "POST", "/v2/pods", BODY)
            assert len(emulator.account.pods) == performed


def test_two_ways_to_mount_exclude_each_other() -> None:
    mounts = {"persistent": {"size": 10, "path": "/w"}, "network": [{"volumeId": "v", "path": "/w"}]}
    with pytest.raises(Refusal, match="mutually exclusive"):
        Account(Clock()).rent(dict(BODY, mounts=mounts))


def _need_description() -> None:
    if contract() is None:
        pytest.skip(f"RunPod's OpenAPI file is not at {path()}")
