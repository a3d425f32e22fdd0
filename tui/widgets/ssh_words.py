"""How one gets to a run's machine by hand. Pure."""

from __future__ import annotations

import shlex
from collections.abc import Mapping

from engine.records import Job


def ssh_command(job: Job, shell: Mapping[str, object] | None = None) -> str:
    """The command that opens a shell there; empty where nobody names a host.

    Args:
        job: The run, whose spec may name its machine.
        shell: Where its rented machine is.
    """
    pod = shell or _first(job.config.get("pod"))
    host = pod.get("host") if isinstance(pod, Mapping) else None
    if not isinstance(pod, Mapping) or not isinstance(host, str) or not host:
        return ""
    user, port, key = pod.get("user"), pod.get("port"), pod.get("key")
    words = ["ssh"]
    words += ["-p", str(port)] if port and port != 22 else []
    words += ["-i", str(key)] if key else []
    words.append(f"{user}@{host}" if user else host)
    return shlex.join(words)


def _first(pod: object) -> object:
    """A pod as the spec has it; of several machines the first, `[ssh://][user@]host[:port]`, as if alone."""
    hosts = pod.get("hosts") if isinstance(pod, Mapping) else None
    if not isinstance(pod, Mapping) or not isinstance(hosts, (list, tuple)) or not hosts:
        return pod
    user, _, place = str(hosts[0]).removeprefix("ssh://").rpartition("@")
    name, colon, port = place.rpartition(":")
    if not colon or place.endswith("]"):
        name, port = place, ""
    return {**pod, "host": name.strip("[]"), "user": user, "port": int(port) if port.isdecimal() else None}
