"""Bringing a job to a machine that has nothing of ours: bundle, Python, data, supervisor."""

from __future__ import annotations

import asyncio
import getpass
import gzip
import hashlib
import io
import os
import re
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import pytest

from engine.errors import PodError
from engine.home import Home
from engine.job.events import Phase
from engine.job.folder import JobFolder, write_json
from engine.pods import ssh_start
from engine.pods.bundle import NEEDED, SHIPPED, bundle
from engine.pods.remote.environment import fits
from engine.pods.ssh import SSHPod
from engine.supervisor.locks import holder
from engine.supervisor.process import start_of
from tests import standin, test_ship
from tests.emulators.sshd import Server
from tests.pods.ssh.conftest import Connect
from tests.processes import until

ROOT = Path(__file__).parents[3]
on_loopback = pytest.mark.skipif(
    getpass.getuser() != "root", reason="sshd on loopback lets only root in here"
)

JOB = "a-job"


@pytest.fixture
def job(here: Home) -> JobFolder:
    folder = here.job(JOB)
    folder.create()
    folder.dataset.write_bytes(b'{"prompt": "a", "completion": "b"}\n' * 1000)
    write_json(folder.spec, {"name": "test", "limits": {"max_restarts": 0}})
    return folder


@pytest.fixture
def there(server: Server) -> JobFolder:
    return JobFolder(server.root / "jobs" / JOB)


def trainer(**options: Any) -> list[str]:
    return standin.argv(**{"steps": 20, "delay": 0.01, **options})


async def ended(folder: JobFolder) -> None:
    await asyncio.to_thread(until, folder.exit.exists, "exit.json")


@on_loopback
async def test_a_job_starts_on_a_bare_machine_and_needs_no_connection(
    connect: Connect, server: Server, job: JobFolder, there: JobFolder
) -> None:
    told: list[tuple[Phase, str]] = []

    async def tell(job_id: str, phase: Phase, text: str) -> None:
        told.append((phase, text))

    pod = connect(trainer=trainer(delay=0.05), told=tell)
    await pod.start(JOB)
    assert await pod.alive(JOB)
    await pod.close()
    server.stop()
    await ended(there)
    assert '"completed"' in there.exit.read_text()
    assert there.dataset.read_bytes() == job.dataset.read_bytes()
    assert told[0] == (Phase.UPLOAD, "")
    assert told[-1] == (Phase.UPLOAD, "100 %")


@on_loopback
async def test_starting_again_sends_nothing_and_starts_nothing_twice(
    connect: Connect, server: Server, job: JobFolder, there: JobFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    pod = connect(trainer=trainer(delay=0.2))
    await pod.start(JOB)
    pid = holder(there.lock)
    sent: list[object] = []
    monkeypatch.setattr(ssh_start.Starter, "_send", lambda *what: sent.append(what))
    (unpacked,) = (server.root / "bundles").iterdir()
    written = unpacked.stat().st_mtime_ns
    await pod.start(JOB)
    # The step in which another app starts it at the same moment.
    await pod._starter.start(str(server.root), JOB, job, str(there.path))
    assert holder(there.lock) == pid
    assert sent == []
    assert unpacked.stat().st_mtime_ns == written
    await pod.request(JOB, "stop")
    await ended(there)
    assert not await pod.alive(JOB)


@on_loopback
async def test_data_that_another_job_brought_is_not_sent_again_and_a_torn_upload_is_mended(
    connect: Connect, server: Server, here: Home, job: JobFolder, there: JobFolder
) -> None:
    sha = hashlib.sha256(job.dataset.read_bytes()).hexdigest()
    part = server.root / "data" / f"{sha}.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(b"\0" * job.dataset.stat().st_size)  # as long as it should be, and wrong
    pod = connect(trainer=trainer())
    await pod.start(JOB)
    assert there.dataset.read_bytes() == job.dataset.read_bytes()
    other = here.job("other")
    other.create()
    other.dataset.write_bytes(job.dataset.read_bytes())
    write_json(other.spec, {"name": "other"})
    arrived = (server.root / "data" / sha).stat().st_mtime_ns
    await pod.start("other")
    assert (server.root / "data" / sha).stat().st_mtime_ns == arrived
    assert (server.root / "jobs" / "other" / "dataset.jsonl").read_bytes() == job.dataset.read_bytes()
    await ended(there)
    await ended(JobFolder(server.root / "jobs" / "other"))


@on_loopback
async def test_the_hubs_token_reaches_the_trainer_and_nothing_else(
    connect: Connect, server: Server, job: JobFolder, there: JobFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_plantedplantedplanted")
    monkeypatch.setenv("RUNPOD_API_KEY", "rpa_plantedplantedplanted")
    pod = connect(trainer=trainer(delay=0.3))
    await pod.start(JOB)
    pid = await asyncio.to_thread(until, lambda: holder(there.lock))
    assert pid is not None and start_of(pid)
    environment = environ(pid)
    assert b"HF_TOKEN=hf_planted" in environment
    assert b"rpa_planted" not in environment
    await pod.request(JOB, "stop")
    await ended(there)
    for path in (*server.root.rglob("*"), *here_files(job)):
        if path.is_file():
            assert b"plantedplanted" not in path.read_bytes(), path


def environ(pid: int) -> bytes:
    return Path(f"/proc/{pid}/environ").read_bytes()


def here_files(job: JobFolder) -> list[Path]:
    return list(job.path.rglob("*"))


@on_loopback
@pytest.mark.parametrize(
    ("script", "complaint"),
    [
        (None, "there is no /.*python. Install Python 3.11, or name one as pod.python"),
        ("cat >/dev/null; echo '{\"python\": [3, 8, 10]}'", "is Python 3.8, too old. Install Python 3.11"),
        ("cat >/dev/null; echo hello", "no answer that makes sense"),
        ("cat >/dev/null; echo 'disk on fire' >&2; exit 1", "disk on fire"),
    ],
)
async def test_what_a_machine_lacks_is_said(
    connect: Connect, job: JobFolder, tmp_path: Path, script: str | None, complaint: str
) -> None:
    python = tmp_path / "python"
    if script is not None:
        python.write_text(f"#!/bin/sh\n{script}\n")
        python.chmod(0o755)
    with pytest.raises(PodError, match=complaint):
        pod = connect(python=str(python))
        await pod._starter.start("/tmp", JOB, job, "/tmp/nowhere")


@on_loopback
async def test_a_supervisor_that_cannot_start_says_why(
    connect: Connect, server: Server, job: JobFolder, there: JobFolder
) -> None:
    there.path.mkdir(parents=True)
    there.lock.mkdir()
    with pytest.raises(PodError, match=r"supervisor.lock: Is a directory"):
        await connect(trainer=trainer())._starter.start(str(server.root), JOB, job, str(there.path))


def wheel(folder: Path, name: str, version: str) -> None:
    with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as archive:
        archive.writestr(f"{name}.py", f"VERSION = {version!r}\n")
        info = f"{name}-{version}.dist-info"
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")


async def environment(pod: SSHPod, root: Path, needed: dict[str, tuple[str, str]]) -> dict[str, Any]:
    request = {"root": str(root / "envs"), "needed": needed}
    answer: dict[str, Any] = await pod._calls.call("environment", request, timeout=300)
    return answer


@on_loopback
async def test_only_what_the_machine_lacks_is_installed_and_only_once(
    connect: Connect, server: Server, tmp_path: Path
) -> None:
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    wheel(wheels, "podium_test_package", "1.2.3")
    server.stop()
    server.environment |= {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(wheels)}
    server.start()
    pod = connect()
    satisfied = await environment(pod, server.root, {"pydantic": (">=2,<3", "2.0")})
    assert satisfied == {"python": sys.executable, "installed": []}
    needed = {"pydantic": (">=2,<3", "2.0"), "podium_test_package": (">=1,<2", "1.2.3")}
    made = await environment(pod, server.root, needed)
    assert made["installed"] == ["podium_test_package==1.2.3"]
    code = "import podium_test_package, pydantic; print(podium_test_package.VERSION, pydantic.__file__)"
    done = await pod.run([made["python"], "-c", code])
    import pydantic

    assert done.out.decode().split() == ["1.2.3", pydantic.__file__]
    # The wheel is gone: what was installed is used, not installed again.
    next(wheels.iterdir()).unlink()
    assert await environment(pod, server.root, needed) == made
    with pytest.raises(PodError, match=r"ERROR: .*podium_other==2"):
        await environment(pod, server.root, {"podium_other": (">=2", "2")})


def test_the_bundle_is_the_same_bytes_for_the_same_files() -> None:
    first = bundle(ROOT)
    bundle.cache_clear()
    second = bundle(ROOT)
    assert first == second
    assert hashlib.sha256(first.data).hexdigest() == first.sha256


def test_the_bundle_holds_what_ships_and_nothing_else() -> None:
    with tarfile.open(fileobj=io.BytesIO(bundle(ROOT).data)) as archive:
        names = archive.getnames()
        assert {(item.mtime, item.uid, item.isfile()) for item in archive} == {(0, 0, True)}
    assert {"engine/trainer/run.py", "engine/supervisor/__main__.py", "scorer/score.py"} <= set(names)
    assert [name for name in names if name.startswith("engine/job/templates/")]
    assert all(name.startswith(SHIPPED) for name in names)
    assert not [name for name in names if name.endswith(".pyc")]
    assert set(SHIPPED) == set(test_ship.SHIPPED)


@on_loopback
@pytest.mark.parametrize("name", ["../evil", "/tmp/evil", "a/../../evil", "link"])
async def test_an_archive_that_leads_outside_is_refused(connect: Connect, tmp_path: Path, name: str) -> None:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        item = tarfile.TarInfo(name)
        if name == "link":
            item.type, item.linkname = tarfile.SYMTYPE, "/etc"
        archive.addfile(item)
    data = gzip.compress(packed.getvalue())
    sha = hashlib.sha256(data).hexdigest()
    store = tmp_path / "store"
    with pytest.raises(PodError, match="which is no file inside it"):
        await connect()._calls.call("unpack", {"root": str(store), "sha256": sha, "bytes": len(data)}, data)
    assert await asyncio.to_thread(os.listdir, store) == []
    with pytest.raises(PodError, match="did not arrive as it was sent"):
        await connect()._calls.call("unpack", {"root": str(store), "sha256": "0" * 64, "bytes": 4}, b"data")


def test_what_the_trainer_needs_is_what_the_project_says() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    stated = [*project["optional-dependencies"]["train"], *project["dependencies"]]
    ranges = dict(re.fullmatch(r"([\w-]+)(.*)", line).groups() for line in stated)  # type: ignore[union-attr]
    pins = dict(
        re.findall(r"^([\w.-]+)==(\S+)$", (ROOT / "constraints.txt").read_text().lower(), re.MULTILINE)
    )
    for name, (wanted, pin) in NEEDED.items():
        assert (wanted, pin) == (ranges[name], pins[name])
        assert fits(pin, wanted)


@pytest.mark.parametrize(
    ("version", "wanted", "answer"),
    [
        ("2.8.0+cu128", ">=2.8", True),
        ("2.10", ">=2.8", True),
        ("2.7.1", ">=2.8", False),
        ("6.0", ">=5.20,<6", False),
        ("5.23.0", ">=5.20,<6", True),
        ("5.3", ">=5.20,<6", False),
        ("1.0", "==1.0.0", True),
    ],
)
def test_versions_are_compared_as_numbers(version: str, wanted: str, answer: bool) -> None:
    assert fits(version, wanted) is answer
