"""The guard as the real first process of a pod, against the emulator: nobody is connected in any of this."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from engine.job.events import EventType
from engine.job.folder import JobFolder, read_json, write_json
from engine.job.spec import JobSpec
from engine.pods.boot import boot
from engine.supervisor.process import end_leftovers
from tests import standin
from tests.emulators.runpod import Clock, Emulator, Fault
from tests.emulators.runpod.container import Container, until_gone
from tests.processes import events_of, gone, until

BRISK = {"tick": 0.05, "note": 0.1, "proof": 0.5, "retry": 0.05, "longest_retry": 0.2, "leave": 2, "again": 2}
SUPERVISOR = Path(__file__).parents[2] / "supervisor" / "brisk.py"
ROOT = Path(__file__).parents[3]
JOB = "a-job"

Rent = Callable[..., "Pod"]


class Pod:
    """A machine with Podium's folder on it, and the job that the test brings there."""

    def __init__(self, emulator: Emulator, folder: Path, spec: JobSpec, **changes: Any) -> None:
        self.emulator, self.root, self.spec = emulator, folder / "podium", spec
        rate, environment = changes.pop("rate", 1.0), changes.pop("environment", None)
        url, cluster = changes.pop("url", emulator.url), changes.pop("cluster", None)
        timing = {**BRISK, **changes.pop("timing", {})}
        started = boot(
            spec,
            job_id=JOB,
            cost_per_hour=rate,
            root=str(self.root),
            provider_url=url,
            timing=timing,
            **changes,
        )
        env = {**started.env}
        if volume := VOLUMES.get(folder.name):
            env["PODIUM_POD"] = _with(env["PODIUM_POD"], volume=volume)
        asked = {"name": "podium-a-job", "image": "i", "gpu": {"id": "NVIDIA L40S", "count": 1}}
        asked |= {"args": started.args, "env": env, "cloud": "SECURE"}
        self.pod = emulator.account.rent(asked, cluster, 0 if cluster else None)
        self.machine = Container(emulator, self.pod, folder, environment=environment)
        self.job = JobFolder(self.root / "jobs" / JOB)
        self.supervisor: subprocess.Popen[bytes] | None = None

    def state(self) -> dict[str, Any]:
        return read_json(self.root / "guard" / "guard.json")

    def bring(self, trainer: list[str], python: str = sys.executable) -> None:
        """What an SSH session does: the folder, and a supervisor that is nobody's child."""
        self.job.create()
        pod = {"provider": "runpod", "cost_per_hour": 1.0}
        write_json(
            self.job.spec, {"name": "t", "limits": self.spec.limits.model_dump(mode="json"), "pod": pod}
        )
        options: dict[str, Any] = {"trainer": trainer, "slot": None, "timing": {}}
        self.supervisor = subprocess.Popen(
            [python, str(SUPERVISOR), str(self.job.path), json.dumps(options)],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )

    def events(self, type: EventType) -> list[dict[str, Any]]:
        return [dict(event.data) for event in events_of(self.job.events) if event.type == type]

    def close(self) -> None:
        self.machine.end()
        if self.supervisor is not None:
            self.supervisor.kill()
            self.supervisor.wait()
        end_leftovers(self.job, None, None, grace=0)


VOLUMES: dict[str, str] = {"persistent": "persistent", "network": "network"}
"""A test's pod that has a volume is in a folder of that name."""


def _with(text: str, **changes: Any) -> str:
    return base64.b64encode(json.dumps({**json.loads(base64.b64decode(text)), **changes}).encode()).decode()


@pytest.fixture
def runpod() -> Iterator[Emulator]:
    """Pods run from the start: their clock has nothing to do with the guard's."""
    with Emulator(clock=Clock()) as emulator:
        yield emulator
    assert emulator.violations == []


@pytest.fixture
def rent(runpod: Emulator, tmp_path: Path) -> Iterator[Rent]:
    made: list[Pod] = []

    def rent(volume: str = "pod", limits: dict[str, Any] | None = None, **changes: Any) -> Pod:
        spec = JobSpec.model_validate(
            {
                "name": "t",
                "model": {"name": "m"},
                "dataset": {"path": "d"},
                "limits": {"retrieve_minutes": 0, **(limits or {})},
                "pod": {"provider": "runpod"},
            }
        )
        made.append(Pod(runpod, tmp_path / volume, spec, **changes))
        runpod.account.clock.advance(60)
        made[-1].machine.start()
        return made[-1]

    yield rent
    for pod in made:
        pod.close()


def proven(pod: Pod) -> None:
    until(lambda: pod.state().get("proven_at") is not None, pod.machine.log())


def test_the_first_process_proves_that_it_can_end_the_pod_and_does_no_harm_by_it(rent: Rent) -> None:
    pod = rent()
    proven(pod)
    first = pod.state()["proven_at"]
    until(lambda: pod.state()["proven_at"] > first, "it is proven again and again")
    assert pod.pod.events == ["created"]
    assert pod.state()["rate"] == pod.pod.rate
    assert pod.machine.guard() is not None


def test_a_pod_that_never_gets_a_job_ends_itself(rent: Rent) -> None:
    pod = rent(grace_minutes=1 / 60)
    until(until_gone(pod.machine), "ended")
    assert pod.pod.events[-1] == "terminated"


def test_what_still_arrives_keeps_the_pod_waiting(rent: Rent) -> None:
    pod = rent(grace_minutes=1.5 / 60)
    data = pod.root / "data" / "x.part"
    until(lambda: data.parent.parent.exists(), "the guard's folder")
    data.parent.mkdir(exist_ok=True)
    until_time = time.monotonic() + 2.5
    while time.monotonic() < until_time:
        with data.open("ab") as file:
            file.write(b"x")
        time.sleep(0.2)
    assert pod.pod.events == ["created"]
    until(until_gone(pod.machine), "ended once nothing came any more")


@pytest.mark.parametrize(
    ("volume", "end"), [("pod", "terminated"), ("persistent", "stopped"), ("network", "terminated")]
)
def test_after_the_run_there_is_time_to_fetch_and_then_the_pod_ends(
    rent: Rent, volume: str, end: str
) -> None:
    """A volume of the pod's own is kept by stopping; one that outlives it, or none, needs no pod."""
    pod = rent(volume, {"retrieve_minutes": 2 / 60})
    proven(pod)
    pod.bring(standin.argv(steps=5, every=5))
    until(pod.job.exit.exists, "the job ends")
    assert pod.pod.events == ["created"]
    until(until_gone(pod.machine), "the pod ends")
    assert pod.pod.events[-1] == end
    (told,) = [data for data in pod.events(EventType.ALERT) if data["alert"] == "pod_ends"]
    assert "fetching are over" in told["message"]
    assert told["how"] == {"stopped": "stop", "terminated": "terminate"}[end]
    assert read_json(pod.job.exit)["status"] == "completed"


def test_what_has_been_fetched_need_not_be_kept(rent: Rent) -> None:
    pod = rent("persistent", {"retrieve_minutes": 60})
    proven(pod)
    pod.bring(standin.argv(steps=5, every=5))
    until(pod.job.exit.exists, "the job ends")
    (pod.root / "guard" / "kept").touch()
    until(until_gone(pod.machine), "the pod ends")
    assert pod.pod.events[-1] == "terminated"


def test_while_something_is_fetched_the_pod_stays(rent: Rent) -> None:
    pod = rent("persistent", {"retrieve_minutes": 1.5 / 60})
    proven(pod)
    pod.bring(standin.argv(steps=2, every=5))
    until(pod.job.exit.exists, "the job ends")
    began = time.monotonic()
    while time.monotonic() < began + 3:
        (pod.root / "guard" / "fetching").touch()
        time.sleep(0.2)
    assert pod.pod.events == ["created"]
    until(until_gone(pod.machine), "the pod ends")


def test_the_cap_saves_a_checkpoint_leaves_time_to_fetch_and_ends_the_pod(rent: Rent) -> None:
    """$ 0.0015 at the billed $ 0.86 an hour pay for 6 s, the last two of them for fetching."""
    pod = rent(limits={"max_cost_usd": 0.0015, "retrieve_minutes": 2 / 60}, rate=0.1)
    proven(pod)
    pod.bring(standin.argv(steps=100_000, delay=0.02, every=100_000))
    until(pod.job.exit.exists, "the run ends")
    assert pod.pod.events == ["created"]
    assert "max_cost_usd of $0.0015 at $0.86/h" in read_json(pod.job.exit)["error"]
    assert pod.events(EventType.CHECKPOINT)
    assert "save_limit" in [data["alert"] for data in pod.events(EventType.ALERT)]
    until(until_gone(pod.machine), "the pod ends")


@pytest.mark.parametrize("who", ["trainer", "supervisor", "frozen supervisor", "guard"])
def test_whoever_is_killed_the_pod_ends(rent: Rent, who: str) -> None:
    pod = rent(limits={"max_hours": 4 / 3600, "retrieve_minutes": 1 / 60})
    proven(pod)
    pod.bring(standin.argv(steps=100_000, delay=0.02, every=50))
    until(lambda: pod.events(EventType.TRAIN), "training")
    guard = pod.machine.guard()
    assert guard is not None
    assert pod.supervisor is not None
    if who == "trainer":
        lines = [line for line in pod.job.log.read_text().splitlines() if " pid " in line]
        os.kill(int(lines[-1].split()[-1]), signal.SIGKILL)
    elif who == "supervisor":
        pod.supervisor.kill()
        pod.supervisor.wait()
    elif who == "frozen supervisor":
        pod.supervisor.send_signal(signal.SIGSTOP)
    else:
        os.kill(guard, signal.SIGKILL)
        until(lambda: pod.machine.guard() not in (None, guard), "another guard")
    until(until_gone(pod.machine), "the pod ends")
    assert "supervisor" in who or read_json(pod.job.exit)["status"] == "cancelled"


def test_a_supervisor_and_a_trainer_that_are_frozen_do_not_bill_for_ever(rent: Rent) -> None:
    """Without any other limit: four times the stall."""
    pod = rent(limits={"stall_minutes": 0.5 / 60})
    proven(pod)
    pod.bring(standin.argv(steps=100_000, delay=0.02, every=50))
    until(lambda: pod.events(EventType.TRAIN), "training")
    assert pod.supervisor is not None
    pod.supervisor.send_signal(signal.SIGSTOP)
    lines = [line for line in pod.job.log.read_text().splitlines() if " pid " in line]
    os.kill(int(lines[-1].split()[-1]), signal.SIGSTOP)
    until(until_gone(pod.machine), "the pod ends")
    (told,) = [data for data in pod.events(EventType.ALERT) if data["alert"] == "pod_ends"]
    assert "not even a heartbeat" in told["message"]


def test_a_guard_that_is_killed_goes_on_with_the_same_clock(rent: Rent) -> None:
    pod = rent()
    until(lambda: pod.state().get("seconds", 0) > 2, "two seconds")
    guard, before = pod.machine.guard(), pod.state()["seconds"]
    assert guard is not None
    os.kill(guard, signal.SIGKILL)
    until(lambda: pod.state()["pid"] != guard, "another guard")
    assert pod.state()["seconds"] >= before


def test_a_provider_that_is_down_is_asked_until_the_pod_is_gone(rent: Rent, runpod: Emulator) -> None:
    """Ten minutes of it, at three hundred times the speed."""
    pod = rent(grace_minutes=1 / 60, timing={"retry": 0.01, "longest_retry": 0.3})
    proven(pod)
    runpod.down = True
    until(lambda: "503" in pod.state().get("trouble", ""), "in vain")
    time.sleep(2)
    assert pod.pod.events == ["created"]
    runpod.down = False
    until(until_gone(pod.machine), "ended at last")


def test_the_answers_that_mean_no_are_told_and_the_pod_is_still_ended(rent: Rent, runpod: Emulator) -> None:
    pod = rent(grace_minutes=1 / 60)
    proven(pod)
    for status in (401, 403, 404, 429, 500):
        runpod.fault(r"DELETE|/action", Fault(status), times=2)
    until(until_gone(pod.machine), "ended")


def test_a_key_that_may_only_stop_stops(rent: Rent, runpod: Emulator) -> None:
    runpod.pods_may_terminate = False
    pod = rent(grace_minutes=1 / 60)
    until(until_gone(pod.machine), "ended")
    assert pod.pod.events[-1] == "stopped"


@pytest.mark.parametrize("status", [401, 403, 404])
def test_without_the_proof_nothing_is_trained(rent: Rent, runpod: Emulator, status: int) -> None:
    runpod.fault(r"GET /v2/pods/", Fault(status), times=10_000)
    pod = rent(limits={"retrieve_minutes": 5})
    until(lambda: str(status) in str(pod.state().get("refused")), "refused")
    pod.bring(standin.argv(steps=5))
    until(pod.job.exit.exists, "the job ends")
    ending = read_json(pod.job.exit)
    assert ending["status"] == "failed"
    assert "can't end itself: the p" in ending["error"]
    assert str(status) in ending["error"]
    assert pod.events(EventType.TRAIN) == []


def test_a_proof_that_takes_a_while_is_waited_for(rent: Rent, runpod: Emulator) -> None:
    runpod.down = True
    pod = rent(limits={"retrieve_minutes": 5})
    until(lambda: pod.state(), "the guard")
    pod.bring(standin.argv(steps=5))
    time.sleep(1)
    assert pod.events(EventType.TRAIN) == []
    runpod.down = False
    until(pod.job.exit.exists, "the job ends")
    assert read_json(pod.job.exit)["status"] == "completed"


def test_without_a_guard_nothing_is_trained_on_a_rented_pod(rent: Rent) -> None:
    pod = rent()
    proven(pod)
    pod.machine.end()
    (pod.root / "guard" / "guard.json").unlink()
    pod.bring(standin.argv(steps=5))
    until(pod.job.exit.exists, "the job ends")
    assert "guard is dead" in read_json(pod.job.exit)["error"]


def test_heartbeats_say_when_the_guard_was_last_proven(rent: Rent) -> None:
    pod = rent(limits={"max_hours": 1})
    proven(pod)
    pod.bring(standin.argv(steps=100, delay=0.02))
    until(lambda: pod.events(EventType.HEARTBEAT), "a heartbeat")
    guard = pod.events(EventType.HEARTBEAT)[-1]["guard"]
    assert 0 <= guard["proven_s"] < 30
    assert guard["max_hours"] == 1
    assert guard["hours"] > 0


RUNPODCTL = """#!/bin/sh
echo "$@" >>{calls}
"""


@pytest.fixture
def runpodctl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The vendor's tool, and what it was asked."""
    tools, calls = tmp_path / "vendor", tmp_path / "calls"
    tools.mkdir()
    (tools / "runpodctl").write_text(RUNPODCTL.format(calls=calls))
    (tools / "runpodctl").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}:{os.environ['PATH']}")
    return calls


def test_where_the_api_refuses_the_pods_key_the_vendors_tool_is_the_way(
    rent: Rent, runpod: Emulator, runpodctl: Path
) -> None:
    runpod.fault(r"/v2/pods/", Fault(403), times=10_000)
    pod = rent(grace_minutes=1 / 60)
    proven(pod)
    until(lambda: f"pod delete {pod.pod.id}" in runpodctl.read_text(), "the tool is told to end it")
    assert f"pod get {pod.pod.id}" in runpodctl.read_text()


def test_a_machine_on_which_no_guard_can_live_is_ended_by_the_vendors_tool(
    rent: Rent, runpodctl: Path
) -> None:
    pod = rent(python="/bin/false", environment={"PODIUM_RESTART_SECONDS": "0"})
    until(lambda: runpodctl.exists() and f"pod stop {pod.pod.id}" in runpodctl.read_text(), "ended")


def test_one_pod_of_a_cluster_says_that_it_cannot_end_it_and_trains(rent: Rent) -> None:
    pod = rent(cluster="c1", limits={"retrieve_minutes": 5})
    until(lambda: pod.state().get("clustered"), "looked")
    pod.bring(standin.argv(steps=5))
    until(pod.job.exit.exists, "the job ends")
    assert read_json(pod.job.exit)["status"] == "completed"
    (told,) = [data for data in pod.events(EventType.ALERT) if data["alert"] == "guard"]
    assert "up to the laptop" in told["message"]
    # Its own rate is not the bill, which is that of all of them.
    assert pod.state()["rate"] is None


def test_the_first_pod_of_a_cluster_ends_all_of_it_where_it_may(rent: Rent, runpod: Emulator) -> None:
    runpod.pods_may_end_clusters = True
    runpod.account.clusters["c1"] = {"id": "c1"}
    pod = rent("none", cluster="c1", limits={"max_hours": 2 / 3600, "retrieve_minutes": 0})
    until(lambda: not runpod.account.clusters, "ended")
    assert pod.pod.terminated is not None
    assert "DELETE /v2/clusters/c1" in runpod.lines


def test_a_network_that_dies_during_the_run_changes_nothing_about_its_end(
    rent: Rent, runpod: Emulator
) -> None:
    with Wire(runpod.url) as wire:
        pod = rent(limits={"max_hours": 4 / 3600, "retrieve_minutes": 1 / 60}, url=wire.url)
        proven(pod)
        pod.bring(standin.argv(steps=100_000, delay=0.02, every=100_000))
        until(lambda: pod.events(EventType.TRAIN), "training")
        wire.cut()
        until(pod.job.exit.exists, "the run ends")
        assert pod.events(EventType.CHECKPOINT)
        until(lambda: "can't be reached" in pod.state().get("trouble", ""), "in vain")
        assert pod.pod.events == ["created"]
        wire.mend()
        until(until_gone(pod.machine), "the pod ends")
    secrets = [pod.pod.key.encode()]
    files = [path for path in pod.machine.folder.rglob("*") if path.is_file()]
    assert not [path for path in files for secret in secrets if secret in path.read_bytes()]


class Wire:
    """The way to a server, which can be cut: a relay on a port of its own."""

    def __init__(self, url: str) -> None:
        self._to = ("127.0.0.1", int(url.rpartition(":")[2]))
        self._server = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._server.getsockname()[1]}"
        self._whole = True
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> Wire:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.close()

    def cut(self) -> None:
        self._whole = False

    def mend(self) -> None:
        self._whole = True

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._server.accept()
                if not self._whole:
                    near.close()
                    continue
                far = socket.create_connection(self._to)
                for source, target in ((near, far), (far, near)):
                    threading.Thread(target=_pump, args=(source, target), daemon=True).start()


def _pump(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(1 << 16):
            target.sendall(data)
    for each in (source, target):
        with contextlib.suppress(OSError):
            each.shutdown(socket.SHUT_RDWR)


def test_a_dead_network_keeps_the_guard_trying(rent: Rent, runpod: Emulator) -> None:
    """Nobody listens there: as good as no network at all."""
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        pod = rent(grace_minutes=1 / 60, url=f"http://127.0.0.1:{nobody.getsockname()[1]}")
        until(lambda: "can't be reached" in pod.state().get("trouble", ""), "in vain")
        first = pod.state()["seconds"]
        until(lambda: pod.state()["seconds"] > first + 1, "it goes on trying")
        assert pod.machine.guard() is not None
        assert pod.pod.events == ["created"]


SHIFTED = """#!{python}
import datetime, runpy, sys, time
shift = datetime.timedelta(hours={hours})
real, clock = datetime.datetime, time.time
class Shifted(real):
    @classmethod
    def now(cls, tz=None):
        return real.now(tz) + shift
datetime.datetime = Shifted
time.time = lambda: clock() + shift.total_seconds()
time.time_ns = lambda: int(time.time() * 1e9)
sys.argv = [word for word in sys.argv[1:] if word != "-I"]
sys.path[0] = sys.argv[0] if sys.argv[0].endswith(".zip") else ""
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@pytest.mark.parametrize("hours", [-7, 5])
def test_a_clock_that_is_hours_off_does_not_matter(rent: Rent, tmp_path: Path, hours: int) -> None:
    """The guard's and the supervisor's; for events it is what it is."""
    python = tmp_path / "shifted"
    python.write_text(SHIFTED.format(python=sys.executable, hours=hours))
    python.chmod(0o755)
    pod = rent(limits={"max_hours": 2 / 3600, "retrieve_minutes": 1 / 60}, python=str(python))
    proven(pod)
    pod.bring(standin.argv(steps=100_000, delay=0.02, every=50), str(python))
    until(lambda: pod.events(EventType.TRAIN), "training, not ended at once")
    until(pod.job.exit.exists, "the run ends")
    assert 0 < read_json(pod.job.exit)["seconds"] < 60
    beats = [event for event in events_of(pod.job.events) if event.type == EventType.HEARTBEAT]
    assert abs((beats[-1].ts - datetime.now(UTC)).total_seconds() - 3600 * hours) < 600
    until(until_gone(pod.machine), "the pod ends")


def test_a_stop_from_outside_lets_the_trainer_save(rent: Rent) -> None:
    pod = rent()
    proven(pod)
    pod.bring(standin.argv(steps=100_000, delay=0.02, every=100_000))
    until(lambda: pod.events(EventType.TRAIN), "training")
    assert pod.machine.process is not None
    os.kill(pod.machine.process.pid, signal.SIGTERM)
    until(lambda: pod.events(EventType.CHECKPOINT), "a checkpoint", 15)
    assert pod.supervisor is not None
    until(lambda: pod.supervisor.poll() is not None, "the supervisor left")  # type: ignore[union-attr]
    with contextlib.suppress(ProcessLookupError):
        until(lambda: gone(pod.machine.process.pid), "process 1 left")  # type: ignore[union-attr]


def test_without_a_start_script_of_the_image_ours_brings_sshd_up_with_our_key(
    rent: Rent, tmp_path: Path
) -> None:
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in ("sshd", "ssh-keygen"):
        (tools / name).write_text(f"#!/bin/sh\ntouch {tools}/{name}.ran\n")
        (tools / name).chmod(0o755)
    key = "ssh-ed25519 AAAA laptop"
    pod = rent(
        image_start="/no/such/start",
        environment={"PATH": f"{tools}:{os.environ['PATH']}", "PUBLIC_KEY": key, "PODIUM_IMAGE_START": "/no"},
    )
    proven(pod)
    assert (pod.machine.folder / ".ssh" / "authorized_keys").read_text() == f"{key}\n"
    assert {path.name for path in tools.glob("*.ran")} == {"sshd.ran", "ssh-keygen.ran"}


def test_after_a_stop_the_pod_waits_for_its_job_again(rent: Rent) -> None:
    pod = rent("persistent", {"retrieve_minutes": 1 / 60})
    proven(pod)
    pod.bring(standin.argv(steps=5, every=5))
    until(until_gone(pod.machine), "stopped after the run")
    before = pod.state()["seconds"]
    pod.emulator.account.start(pod.pod)
    pod.emulator.account.clock.advance(60)
    pod.machine.start()
    until(lambda: pod.machine.guard() and pod.state()["pid"] == pod.machine.guard(), "the guard")
    until(lambda: pod.state()["seconds"] > before + 2, "it waits")
    assert pod.pod.events[-1] == "started"
