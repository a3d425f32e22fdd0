"""How many processes train, on which of how many machines, and the command that starts this one's.

One process is started as it is. Several are started by torchrun's launcher (`engine.trainer.launch`): one a
GPU, or as many as `distributed.processes` says. On more than one machine `node.json` in the job's folder
says which one this is, and where all of them meet:

    {"node": 1, "nodes": 2, "address": "10.0.0.5", "port": 29500}

`node` counts from 0; `address` and `port` are node 0's, reachable from the others, the port free on node 0.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from typing import Any

from engine.job.folder import JobFolder, read_json

_PATIENCE = 10.0
"""Seconds until a hung nvidia-smi is given up."""


class BadNode(ValueError):
    """`node.json` is missing where it is needed, or says what can't be."""


@dataclass(frozen=True, slots=True)
class Node:
    """One of the machines of a job.

    Args:
        node: Which one, from 0.
        nodes: How many there are.
        address: Node 0's, as the others reach it.
        port: Where the processes of all nodes meet.
    """

    node: int = 0
    nodes: int = 1
    address: str = "127.0.0.1"
    port: int = 0

    @classmethod
    def read(cls, folder: JobFolder) -> Node:
        """This machine's place among those of the job.

        Raises:
            BadNode: The spec wants more than one machine, and nothing usable says which one this is.
        """
        wanted = _whole(_section(folder).get("nodes"), 1)
        given = read_json(folder.node)
        if not given:
            if wanted > 1:
                raise BadNode(f"{folder.node.name} is missing: which of the {wanted} machines is this?")
            return cls()
        found = cls(
            _whole(given.get("node"), -1),
            _whole(given.get("nodes"), wanted),
            str(given.get("address") or ""),
            _whole(given.get("port"), 0),
        )
        if not 0 <= found.node < found.nodes:
            raise BadNode(f"{folder.node.name}: node {found.node} is none of {found.nodes}")
        if found.nodes > 1 and not (found.address and 0 < found.port < 65536):
            raise BadNode(f"{folder.node.name}: address and port must say where node 0 is met")
        return found


def command(folder: JobFolder) -> tuple[str, ...]:
    """The command of our own trainer, in this very interpreter, with its way of finding modules.

    A script has a runner in its place, once: how many processes it wants is its own affair.

    Raises:
        BadNode: See `Node.read`.
    """
    python = (sys.executable, *(("-P",) if sys.flags.safe_path else ()), "-m")
    if read_json(folder.spec).get("method") == "script":
        return (*python, "engine.script")
    node = Node.read(folder)
    processes = _whole(_section(folder).get("processes"), 0) or max(1, gpus())
    if processes == 1 and node.nodes == 1:
        return (*python, "engine.trainer")
    place = ("--processes", str(processes), "--node", str(node.node), "--nodes", str(node.nodes))
    met = ("--address", node.address, "--port", str(node.port))
    return (*python, "engine.trainer.launch", *place, *met)


def gpus() -> int:
    """The GPUs that a process here would see; 0 without the driver's tool."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return len([name for name in visible.split(",") if name.strip() not in ("", "-1")])
    if (tool := shutil.which("nvidia-smi")) is None:
        return 0
    try:
        shown = subprocess.run(
            [tool, "-L"], capture_output=True, check=False, timeout=_PATIENCE, stdin=subprocess.DEVNULL
        )
    except (OSError, subprocess.TimeoutExpired):
        return 0
    return sum(line.startswith(b"GPU ") for line in shown.stdout.splitlines())


def _section(folder: JobFolder) -> dict[str, Any]:
    section = read_json(folder.spec).get("distributed")
    return section if isinstance(section, dict) else {}


def _whole(value: Any, otherwise: int) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) else otherwise
