"""Which command trains: one process as it is, several through torchrun's launcher, on one machine or more."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from engine.job.events import EventType
from engine.job.folder import JobFolder, read_json, write_json
from engine.supervisor.ranks import BadNode, Node, command
from engine.supervisor.supervisor import supervise


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> JobFolder:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    found = JobFolder(tmp_path / "job")
    found.create()
    write_json(found.spec, {"name": "test"})
    return found


def wants(folder: JobFolder, **distributed: Any) -> None:
    write_json(folder.spec, {"name": "test", "distributed": distributed})


def option(argv: tuple[str, ...], name: str) -> str:
    return argv[argv.index(f"--{name}") + 1]


def test_one_process_is_started_as_it_is(folder: JobFolder) -> None:
    assert command(folder) == (sys.executable, "-m", "engine.trainer")
    wants(folder, processes=1)
    assert command(folder)[-1] == "engine.trainer"


def test_processes_are_as_many_as_the_spec_or_the_gpus_say(
    folder: JobFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    wants(folder, processes=3)
    argv = command(folder)
    assert "engine.trainer.launch" in argv
    assert (option(argv, "processes"), option(argv, "nodes")) == ("3", "1")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,2,5,7")
    assert option(command(folder), "processes") == "3"
    wants(folder, processes=None)
    assert option(command(folder), "processes") == "4"


def test_a_node_file_says_which_machine_this_is(folder: JobFolder) -> None:
    wants(folder, nodes=2)
    write_json(folder.node, {"node": 1, "nodes": 2, "address": "10.0.0.5", "port": 29500})
    argv = command(folder)
    names = ("processes", "node", "nodes", "address", "port")
    assert [option(argv, name) for name in names] == ["1", "1", "2", "10.0.0.5", "29500"]


@pytest.mark.parametrize(
    ("file", "complaint"),
    [
        (None, "node.json is missing: which of the 2 machines is this?"),
        ({"node": 2, "address": "a", "port": 1}, "node.json: node 2 is none of 2"),
        ({"address": "a", "port": 1}, "node.json: node -1 is none of 2"),
        ({"node": 0, "port": 1}, "node.json: address and port must say where node 0 is met"),
        ({"node": 0, "address": "a", "port": 99999}, "node.json: address and port must say"),
        ({"node": True, "address": ["a"], "port": "1"}, "node.json: node -1 is none of 2"),
    ],
)
def test_a_machine_that_does_not_know_its_place_is_refused(
    folder: JobFolder, file: dict[str, Any] | None, complaint: str
) -> None:
    wants(folder, nodes=2)
    if file is not None:
        write_json(folder.node, file)
    with pytest.raises(BadNode, match=complaint):
        Node.read(folder)


def test_the_job_fails_at_once_where_the_place_is_unknown(folder: JobFolder) -> None:
    wants(folder, nodes=2)
    assert supervise(folder.path) == 0
    told = read_json(folder.exit)
    assert (told["status"], told["attempt"]) == ("failed", 1)
    assert told["error"] == "node.json is missing: which of the 2 machines is this?"
    assert EventType.RECOVERY.value not in folder.events.read_text()
