"""`python -m engine.trainer …` as a messenger: the nursery does the work, and this one ends as that did."""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
from pathlib import Path

MODULES = ("engine.trainer", "engine.trainer.preview", "engine.trainer.publish")


def _messenger(address: str, module: str, arguments: list[str]) -> None:
    pid = 0
    asked = []

    def forward(number: int, frame: object) -> None:
        asked.append(number)
        if pid:
            os.kill(pid, number)

    signal.signal(signal.SIGTERM, forward)
    # A rank is born with it blocked.
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(address)
    request = {
        "module": module,
        "arguments": arguments,
        "environment": dict(os.environ),
        "folder": str(Path.cwd()),
    }
    socket.send_fds(connection, [b"x"], [1, 2])
    connection.sendall(json.dumps(request).encode() + b"\n")
    answers = connection.makefile()
    pid = int(answers.readline())
    for number in asked:
        os.kill(pid, number)
    code = int(answers.readline() or -signal.SIGKILL)
    if code < 0:
        signal.signal(-code, signal.SIG_DFL) if code != -signal.SIGKILL else None
        os.kill(os.getpid(), -code)
    os._exit(code)


def _asked() -> list[str]:
    """The module that this interpreter is to run, and its arguments; nothing where it is not ours."""
    asked = sys.orig_argv[1:]
    at = asked.index("-m") + 1 if "-m" in asked else 0
    return asked[at:] if at and asked[at] in MODULES else []


if (_place := os.environ.get("PODIUM_TEST_NURSERY")) and (_work := _asked()):
    _messenger(_place, _work[0], _work[1:])
