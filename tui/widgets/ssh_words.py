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
    pod = shell or job.config.get("pod")
    host = pod.get("host") if isinstance(pod, Mapping) else None
    if not isinstance(pod, Mapping) or not isinstance(host, str) or not host:
        return ""
    user, port, key = pod.get("user"), pod.get("port"), pod.get("key")
    words = ["ssh"]
    words += ["-p", str(port)] if port and port != 22 else []
    words += ["-i", str(key)] if key else []
    words.append(f"{user}@{host}" if user else host)
    return shlex.join(words)
