"""The script itself: started without a shell, in its own copy of what was synced, ended by SIGTERM."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import FrameType
from typing import Any

from engine.errors import TrainingError
from engine.script.environment import without_ours


class Command:
    """A running script.

    Args:
        script: The spec's section.
        work: Where it is started.
        programs: Folders whose programs come first.
        resume: Its newest checkpoint, if there is one.

    Raises:
        TrainingError: It can't be started.
    """

    def __init__(
        self, script: Mapping[str, Any], work: Path, programs: list[Path], resume: Path | None
    ) -> None:
        argv = [str(part) for part in script.get("command", [])]
        environment = without_ours(os.environ) | {
            "PYTHONUNBUFFERED": "1",
            **{str(name): str(value) for name, value in dict(script.get("variables") or {}).items()},
        }
        path = os.pathsep.join([*map(str, programs), environment.get("PATH", os.defpath)])
        environment["PATH"] = path
        variable = str(script.get("resume_variable") or "PODIUM_RESUME_FROM")
        environment.pop(variable, None)
        if resume is not None:
            environment[variable] = str(resume)
        try:
            self._process = subprocess.Popen(
                [_program(argv[0], work, path), *argv[1:]],
                cwd=work,
                stdin=subprocess.DEVNULL,
                env=environment,
            )
        except (OSError, ValueError, IndexError) as error:
            reason = error.strerror if isinstance(error, OSError) else str(error)
            advice = "Is it installed there, or among what script.sync brings?"
            raise TrainingError(
                "missing", f"{argv[0] if argv else 'script.command'}: can't be started ({reason})", advice
            ) from None

    def poll(self) -> int | None:
        """Its exit status, negative for a signal; None while it runs."""
        return self._process.poll()

    def wait(self, seconds: float) -> int | None:
        """Wait for its end, at most so long."""
        try:
            return self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return None

    def ask_to_leave(self) -> None:
        """SIGTERM."""
        self._process.send_signal(signal.SIGTERM)


class Asked:
    """Has SIGTERM asked this process to leave? It is handed on to the script."""

    def __init__(self) -> None:
        self.leave = False
        self.command: Command | None = None
        signal.signal(signal.SIGTERM, self._remember)

    def _remember(self, number: int, frame: FrameType | None) -> None:
        self.leave = True
        if self.command is not None:
            self.command.ask_to_leave()


def _program(name: str, work: Path, path: str) -> str:
    """The program that a name means: from the working folder if it says so, else along the path."""
    if "/" in name:
        return name if name.startswith("/") else str(work / name)
    if (found := shutil.which(name, path=path)) is not None:
        return found
    # Machines that have Python as `python3` alone.
    return sys.executable if name in ("python", "python3") else name
