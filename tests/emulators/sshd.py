"""A real OpenSSH server on loopback, as one pod: its own host key, its own folder, ended by process id."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path

import pytest

SSHD = Path("/usr/sbin/sshd")
MARK = "PODIUM_TEST_SERVER"
"""The variable by which all that its sessions start is known."""


class Server:
    """One server.

    Args:
        folder: Where its files are; `folder/pod` is for Podium's.
        environment: What its sessions have besides, such as a PATH.
    """

    def __init__(self, folder: Path, environment: Mapping[str, str] | None = None) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.root = folder / "pod"
        self.key = folder / "id_ed25519"
        # A home of its own: the shell's start files of whoever runs the tests are none of a bare machine's.
        home = folder / "home"
        home.mkdir(exist_ok=True)
        self.environment = {MARK: str(folder), "HOME": str(home), **(environment or {})}
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        keygen(self.key)
        self.new_host_key()

    def authorize(self, public_key: str) -> None:
        """Let that key in, and no other."""
        (self.folder / "authorized_keys").write_text(f"{public_key}\n")

    def new_host_key(self) -> None:
        """Make it another machine."""
        for path in self.folder.glob("host_key*"):
            path.unlink()
        keygen(self.folder / "host_key")

    def start(self) -> None:
        authorized = self.folder / "authorized_keys"
        if not authorized.exists():
            shutil.copyfile(f"{self.key}.pub", authorized)
        lines = [
            "ListenAddress 127.0.0.1",
            f"Port {self.port}",
            f"HostKey {self.folder / 'host_key'}",
            f"PidFile {self.folder / 'pid'}",
            f"AuthorizedKeysFile {authorized}",
            "StrictModes no",
            "UsePAM no",
            "PasswordAuthentication no",
            "KbdInteractiveAuthentication no",
            "PermitRootLogin prohibit-password",
            "Subsystem sftp internal-sftp",
            "MaxStartups 100",
        ]
        pairs = " ".join(f'"{name}={value}"' for name, value in self.environment.items())
        lines.append(f"SetEnv {pairs}")
        config = self.folder / "sshd_config"
        config.write_text("\n".join(lines) + "\n")
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen([SSHD, "-D", "-e", "-f", config], stdout=log, stderr=log)
        deadline = time.monotonic() + 30
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
                return
            assert self._process.poll() is None, (self.folder / "log").read_text()
            assert time.monotonic() < deadline, "sshd does not listen"
            time.sleep(0.02)

    def sessions(self) -> list[int]:
        """The processes of its connections, the deepest first: what serves a user, then its monitor."""
        assert self._process is not None
        return [pid for pid in reversed(_below(self._process.pid)) if _named(pid).startswith("sshd")]

    def started(self) -> dict[int, str]:
        """What its sessions have started and still runs: process id -> command line."""
        mark = f"{MARK}={self.folder}".encode()
        found = {}
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                with contextlib.suppress(OSError):
                    if mark in (entry / "environ").read_bytes().split(b"\0"):
                        found[int(entry.name)] = (entry / "cmdline").read_bytes().decode(errors="replace")
        return found

    def cut(self) -> None:
        """Kill every connection, as a crash would; the server goes on."""
        for pid in self.sessions():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def freeze(self) -> list[int]:
        """Stop every connection in its tracks, without a word; returns their processes."""
        found = self.sessions()
        for pid in found:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGSTOP)
        return found

    def stop(self) -> None:
        """End it with all its connections."""
        if self._process is None:
            return
        for pid in self.sessions():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._process.kill()
        self._process.wait()
        self._process = None


def sshd(folder: Path, environment: Mapping[str, str] | None = None) -> Server:
    """A server that runs; skips the test where there is none to run."""
    if not SSHD.exists():
        pytest.skip("no /usr/sbin/sshd: install openssh-server")
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    server = Server(folder, environment)
    server.start()
    return server


def keygen(path: Path) -> None:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", path], check=True)


def _below(pid: int) -> list[int]:
    parents: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError, IndexError, ValueError):
                stat = (entry / "stat").read_text(errors="replace").rpartition(")")[2].split()
                parents.setdefault(int(stat[1]), []).append(int(entry.name))
    found, queue = [], [pid]
    while queue:
        children = parents.get(queue.pop(0), [])
        found += children
        queue += children
    return found


def _named(pid: int) -> str:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/comm").read_text().strip()
    return ""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
