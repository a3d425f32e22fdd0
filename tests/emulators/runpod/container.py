"""What runs in a pod of the emulator: its start command, as RunPod runs it, with the pod's own key.

The container is a session of processes in a folder of its own; ending the pod kills it, as the provider does.
"""

from __future__ import annotations

import base64
import contextlib
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from tests.emulators.runpod.account import Pod
from tests.emulators.runpod.server import Emulator

IMAGE_START = "#!/bin/sh\nexec sleep 100000\n"
"""What an image does by itself, without an sshd."""


class Container:
    """What runs in one pod.

    Args:
        emulator: Where the pod is rented.
        pod: Which.
        folder: Its file system; what the start command puts into /tmp is there.
        image_start: What the image's own start script does.
        environment: More variables, such as those of faketime.
    """

    def __init__(
        self,
        emulator: Emulator,
        pod: Pod,
        folder: Path,
        *,
        image_start: str = IMAGE_START,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.pod, self.folder, self._emulator = pod, folder, emulator
        folder.mkdir(parents=True, exist_ok=True)
        self.start_script = folder / "image-start.sh"
        self.start_script.write_text(image_start)
        self.start_script.chmod(0o755)
        self._environment = dict(environment or {})
        self.process: subprocess.Popen[bytes] | None = None
        emulator.account.watchers.append(self._told)

    def start(self) -> None:
        """Run the start command; `/tmp` is not the container's own here, so it gets one."""
        args = self.pod.spec["args"].replace(*self._own_tmp)
        environment = {
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "HOME": str(self.folder),
            **self._given(),
            "RUNPOD_POD_ID": self.pod.id,
            "RUNPOD_API_KEY": self.pod.key,
            "PODIUM_RESTART_SECONDS": "0.2",
            **self._environment,
        }
        with (self.folder / "boot.log").open("ab") as log:
            self.process = subprocess.Popen(
                shlex.split(args),
                cwd=self.folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    @property
    def _own_tmp(self) -> tuple[str, str]:
        return "/tmp/podium", f"{self.folder}/podium"

    def _given(self) -> dict[str, str]:
        """The pod's environment; the start script's paths are the container's."""
        given = dict(self.pod.spec["env"])
        script = base64.b64decode(given["PODIUM_START"]).decode().replace(*self._own_tmp)
        return {
            **given,
            "PODIUM_START": base64.b64encode(script.encode()).decode(),
            "PODIUM_IMAGE_START": str(self.start_script),
        }

    def log(self) -> str:
        """What its processes said."""
        return (self.folder / "boot.log").read_text(errors="replace")

    def processes(self) -> dict[int, str]:
        """What lives in it: process id -> command line."""
        found, session = {}, self.process.pid if self.process else -1
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                with contextlib.suppress(OSError, IndexError):
                    fields = (entry / "stat").read_text(errors="replace").rpartition(")")[2].split()
                    if int(fields[3]) == session and fields[0] not in "ZX":
                        command = (entry / "cmdline").read_bytes().replace(b"\0", b" ")
                        found[int(entry.name)] = command.decode(errors="replace")
        return found

    def guard(self) -> int | None:
        """The process id of the guard that lives now."""
        return next((pid for pid, command in self.processes().items() if "podium-guard.zip" in command), None)

    def end(self) -> None:
        """Kill all of it."""
        for pid in self.processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def _told(self, event: str, pod: Pod) -> None:
        if pod is self.pod and event in ("stopped", "terminated"):
            self.end()


def until_gone(container: Container) -> Callable[[], bool]:
    """Has the pod ended, and all that was in it?"""
    return lambda: container.pod.events[-1] in ("stopped", "terminated") and not container.processes()
