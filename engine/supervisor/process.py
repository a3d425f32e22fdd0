"""The trainer as a process: it is started in a group of its own, and never outlives its supervisor."""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Final

from engine.job.folder import JobFolder

MARK: Final = "PODIUM_JOB_FOLDER"
"""The variable by which every process of a trainer is known, whichever group it went to."""
_PR_SET_PDEATHSIG: Final = 1


class Trainer:
    """A running trainer.

    Args:
        argv: Its command; the job's folder is added as the last argument.
        folder: The job's folder.
        attempt: Which start it is; `PODIUM_ATTEMPT` in its environment.

    Raises:
        OSError: It can't be started.
    """

    def __init__(self, argv: Sequence[str], folder: JobFolder, attempt: int) -> None:
        environment = {
            **os.environ,
            **allocator(os.environ, gpu=shutil.which("nvidia-smi") is not None),
            MARK: str(folder.path),
            "PODIUM_ATTEMPT": str(attempt),
            "PYTHONUNBUFFERED": "1",
        }
        log = _open_log(folder.log)
        try:
            self.log_start = os.fstat(log).st_size
            """Where in the log its own output begins."""
            self._process = subprocess.Popen(
                [*argv, str(folder.path)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=environment,
                process_group=0,
                preexec_fn=_tied_to_parent(),
            )
        finally:
            os.close(log)
        self.pid = self._process.pid
        self.start = start_of(self.pid)
        """When the kernel started it, as the kernel says it; None if it is gone already."""

    def poll(self) -> int | None:
        """Its exit status if it has ended, negative for a signal; the rest of its group is killed then."""
        code = self._process.poll()
        if code is not None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, signal.SIGKILL)
        return code

    def ask_to_leave(self) -> None:
        """SIGTERM: save and exit. To the trainer alone: its workers must live until it has saved."""
        self._process.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL to the whole group."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)


def allocator(environment: Mapping[str, str], gpu: bool) -> dict[str, str]:
    """Variables that keep GPU memory from falling to pieces where lengths vary; the user's own settings stay.

    Args:
        environment: The variables that there are.
        gpu: Is there one of NVIDIA's?
    """
    given = any(environment.get(name) for name in ("PYTORCH_ALLOC_CONF", "PYTORCH_CUDA_ALLOC_CONF"))
    return {"PYTORCH_ALLOC_CONF": "expandable_segments:True"} if gpu and not given else {}


def end_leftovers(folder: JobFolder, pid: int | None, start: str | None, grace: float) -> int:
    """End what is left of a trainer, and say how many processes that were.

    Where there is a /proc they are known by their mark, elsewhere by process id and start time.

    Args:
        folder: The job's folder.
        pid: The trainer's process id, if it was written down; it alone is asked to save.
        start: When it was started, by `start_of`; another process that got the same id is let alone.
        grace: Seconds between SIGTERM and SIGKILL; 0 is no SIGTERM.
    """
    trainer = pid if pid is not None and start is not None and start_of(pid) == start else None
    known = {trainer} if trainer is not None else set()
    found = _marked(folder.path) if _has_proc() else known
    if not found:
        return 0
    deadline = time.monotonic() + grace
    # Its workers get no SIGTERM: they must live until the trainer has saved.
    asked = known & found or found
    if grace > 0:
        _signal(asked, signal.SIGTERM)
    while time.monotonic() < deadline and any(map(_lives, asked)):
        time.sleep(0.05)
    rest = _marked(folder.path) if _has_proc() else set(filter(_lives, found))
    _signal(rest, signal.SIGKILL)
    while time.monotonic() < deadline + 5 and any(map(_lives, rest)):
        time.sleep(0.02)
    return len(found)


def start_of(pid: int) -> str | None:
    """When a process was started, in the kernel's own words; None for one that is gone, or a zombie."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return None if Path("/proc/self/stat").exists() else _start_by_ps(pid)
    except OSError:
        return None
    # The command, in parentheses, may hold anything.
    fields = stat.rpartition(")")[2].split()
    return None if fields[0] in "ZX" else fields[19]


def _start_by_ps(pid: int) -> str | None:
    command = ["ps", "-o", "lstart=", "-p", str(pid)]
    shown = subprocess.run(command, capture_output=True, check=False, text=True)
    return shown.stdout.strip() or None


def _has_proc() -> bool:
    return Path("/proc/self/environ").exists()


def _marked(folder: Path) -> set[int]:
    """The processes that bear this job's mark; not this one."""
    mark = f"{MARK}={folder}".encode()
    found = set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            with contextlib.suppress(OSError):
                if mark in (entry / "environ").read_bytes().split(b"\0"):
                    found.add(int(entry.name))
    return found


def _lives(pid: int) -> bool:
    return start_of(pid) is not None


def _signal(pids: Collection[int], number: int) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)


def _open_log(path: Path) -> int:
    """The log for appending; nowhere when it can't be made (a full disk must not stop a running job)."""
    try:
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
    except OSError:
        return os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)


def _tied_to_parent() -> Callable[[], None] | None:
    """What a child does before it becomes the trainer: on Linux it asks for SIGTERM when its parent dies."""
    if not sys.platform.startswith("linux"):
        return None
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    parent = os.getpid()

    def tie() -> None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
        if os.getppid() != parent:
            os._exit(128 + signal.SIGTERM)

    return tie
