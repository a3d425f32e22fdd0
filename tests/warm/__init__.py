"""Real trainer processes without the seconds that loading torch takes: forked from one that has loaded it.

`path/` on PYTHONPATH makes every `python -m engine.trainer FOLDER` ask the nursery for a process: the same
code, environment, folder, output and exit status. A process that is to fail is told where by `faults`.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from engine.job.folder import JobFolder

_HERE = Path(__file__).parent


class Nursery:
    """A process that has loaded what trainers need, and forks them."""

    def __init__(self, address: str) -> None:
        self.address = address

    @property
    def environment(self) -> dict[str, str]:
        """What a process needs in its environment so that the trainers below it come from here."""
        path = os.pathsep.join([str(_HERE / "path"), *filter(None, [os.environ.get("PYTHONPATH")])])
        return {"PODIUM_TEST_NURSERY": self.address, "PYTHONPATH": path}

    def train(
        self, folder: JobFolder, attempt: int = 1, faults: Mapping[str, Any] | None = None, uid: int = 0
    ) -> subprocess.CompletedProcess[str]:
        """One attempt at a job, to its end."""
        environment = {**os.environ, **self.environment, "PODIUM_ATTEMPT": str(attempt)}
        if faults is not None:
            environment["PODIUM_TEST_FAULTS"] = json.dumps({str(attempt): faults})
        if uid:
            environment["PODIUM_TEST_UID"] = str(uid)
        return subprocess.run(
            [sys.executable, "-m", "engine.trainer", str(folder.path)],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=240,
            check=False,
        )


@contextmanager
def nursery() -> Iterator[Nursery]:
    """A nursery, ready when it is handed out, and ended afterwards."""
    # The path of a socket may have a hundred characters, and pytest's folders have more.
    place = Path(tempfile.mkdtemp(prefix="podium-"))
    address = str(place / "nursery")
    process = subprocess.Popen([sys.executable, "-m", "tests.warm.nursery", address], cwd=_HERE.parents[1])
    try:
        deadline = time.monotonic() + 240
        while not _answers(address):
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.05)
        yield Nursery(address)
    finally:
        process.kill()
        process.wait()
        shutil.rmtree(place)


def _answers(address: str) -> bool:
    with socket.socket(socket.AF_UNIX) as connection:
        return connection.connect_ex(address) == 0
