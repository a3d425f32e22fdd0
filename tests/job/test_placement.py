"""Where a job runs, as a user writes it."""

from __future__ import annotations

from typing import Any

import pytest

from engine.errors import BadSpec
from engine.job.spec import JobSpec


def parse(**pod: Any) -> JobSpec:
    values = {"name": "a", "model": {"name": "m"}, "dataset": {"path": "d"}, "pod": pod}
    return JobSpec.parse(values, "test")


def test_an_ssh_machine_has_a_host_and_all_else_has_a_default() -> None:
    pod = parse(provider="ssh", host="My-GPU").pod
    assert (pod.user, pod.port, pod.key, pod.python, pod.folder) == (None, None, None, "python3", "~/.podium")


@pytest.mark.parametrize(
    ("pod", "mistake"),
    [
        ({"provider": "ssh"}, "pod: provider ssh needs a host"),
        ({"host": "gpu"}, "pod: host, hosts, user, port and key are for provider ssh"),
        ({"provider": "ssh", "host": "-oProxyCommand=id"}, "pod.host"),
        ({"provider": "ssh", "host": "a b"}, "pod.host"),
        ({"provider": "ssh", "host": "gpu", "user": "-l"}, "pod.user"),
        ({"provider": "ssh", "host": "gpu", "port": 70000}, "pod.port"),
        ({"provider": "ssh", "host": "gpu", "folder": "relative"}, "pod.folder"),
        ({"provider": "ssh", "host": "gpu", "folder": "/a\nb"}, "pod.folder"),
        ({"provider": "shh", "host": "gpu"}, "pod.provider"),
        ({"provider": "runpod", "host": "gpu"}, "pod: host, hosts, user, port and key are for provider ssh"),
        ({"provider": "ssh", "hosts": ["a", "a"]}, "pod: hosts names a machine twice"),
        ({"provider": "ssh", "hosts": ["a"], "host": "b"}, "pod: host is one machine and hosts are several"),
        ({"provider": "ssh", "hosts": ["a", "-oProxyCommand=id"]}, "pod.hosts"),
        ({"provider": "ssh", "hosts": ["a", "b/~/c"]}, "pod.hosts"),
        ({"hosts": ["a", "b"]}, "pod: host, hosts, user, port and key are for provider ssh"),
        ({"rent": {}}, "pod: the section rent is for provider runpod"),
        ({"provider": "runpod", "rent": {"gpu": []}}, "pod.rent: gpu and clouds name one at least"),
        ({"provider": "runpod", "rent": {"gpus": "H100"}}, "did you mean gpu?"),
    ],
)
def test_what_names_no_machine_is_a_mistake(pod: dict[str, Any], mistake: str) -> None:
    with pytest.raises(BadSpec) as raised:
        parse(**pod)
    assert mistake in str(raised.value)


def test_several_machines_are_as_many_nodes() -> None:
    hosts = ["a", "me@b", "ssh://me@[::1]:2222"]
    assert parse(provider="ssh", hosts=hosts).distributed.nodes == 3
    values = {"name": "a", "model": {"name": "m"}, "dataset": {"path": "d"}}
    pod = {"provider": "ssh", "hosts": hosts}
    with pytest.raises(BadSpec, match=r"distributed.nodes is 2, and pod.hosts names 3"):
        JobSpec.parse({**values, "pod": pod, "distributed": {"nodes": 2}}, "test")
    with pytest.raises(BadSpec, match=r"backend rest, not sdk"):
        rented = {"provider": "runpod", "rent": {"backend": "sdk"}}
        JobSpec.parse({**values, "pod": rented, "distributed": {"nodes": 2}}, "test")
    script = {"method": "script", "script": {"command": ["true"]}, "name": "a"}
    with pytest.raises(BadSpec, match="a script runs on one machine"):
        JobSpec.parse({**script, "pod": pod}, "test")


def test_what_is_rented_has_a_default_and_a_folder_that_survives_a_stop() -> None:
    pod = parse(provider="runpod").pod
    assert pod.rent is not None
    assert (pod.rent.gpu, pod.rent.gpu_count, pod.folder) == (("auto",), 1, "/workspace/podium")
    assert parse(provider="runpod", rent={"gpu": "H100 SXM"}).pod.rent.gpu == ("H100 SXM",)  # type: ignore[union-attr]
    assert parse(provider="runpod", folder="~/.podium").pod.folder == "~/.podium"
