"""The process that has loaded torch and forks trainers: `python -m tests.warm.nursery ADDRESS`."""

from __future__ import annotations

import importlib
import json
import os
import pkgutil
import select
import signal
import socket
import sys
import traceback
from typing import Any


def main(address: str) -> None:
    """Serve until killed. Nothing here may start a thread: threads do not survive a fork."""
    _load()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(address)
        listening.listen()
        while True:
            connection, _ = listening.accept()
            with connection:
                if os.fork() == 0:
                    listening.close()
                    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                    _attend(connection)
                    os._exit(0)


def _load() -> None:
    """Everything that a trainer imports."""
    import engine.trainer
    from engine.trainer import loading

    loading.begin()
    for module in pkgutil.iter_modules(engine.trainer.__path__, "engine.trainer."):
        importlib.import_module(module.name)
    loading.end()


def _attend(connection: socket.socket) -> None:
    """One trainer: fork it, tell its process id and its end; it ends with the one who asked for it."""
    try:
        _, outputs, _, _ = socket.recv_fds(connection, 1, 2)
    except OSError:
        return
    if len(outputs) < 2:
        return
    line = connection.makefile().readline()
    pid = os.fork()
    if pid == 0:
        os._exit(_train(json.loads(line), outputs))
    connection.sendall(f"{pid}\n".encode())
    while (ended := os.waitpid(pid, os.WNOHANG)) == (0, 0):
        readable, _, _ = select.select([connection], [], [], 0.01)
        if readable and not connection.recv(1):
            os.kill(pid, signal.SIGKILL)
    connection.sendall(f"{os.waitstatus_to_exitcode(ended[1])}\n".encode())


def _train(request: dict[str, Any], outputs: list[int]) -> int:
    """What `python -m` would do with that module."""
    from tests.warm import faults

    module = request["module"] + (".__main__" if request["module"] == "engine.trainer" else "")

    for number, output in zip((1, 2), outputs, strict=True):
        os.dup2(output, number)
    # Those of the nursery know that they were something else.
    sys.stdout, sys.stderr = (os.fdopen(number, "w", buffering=1, closefd=False) for number in (1, 2))
    os.environ.clear()
    os.environ.update(request["environment"])
    os.chdir(request["folder"])
    try:
        faults.install()
        code = importlib.import_module(module).main(request["arguments"])
    except SystemExit as left:
        code = int(left.code or 0)
    # As the interpreter does with what nobody catches.
    except BaseException:  # noqa: BLE001
        traceback.print_exc()
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    return code


if __name__ == "__main__":
    main(sys.argv[1])
