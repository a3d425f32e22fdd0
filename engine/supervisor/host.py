"""The machine's figures for the heartbeat: /proc, the container's memory limit, and nvidia-smi."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any, Final

_GB: Final = 1e9
_MIB: Final = 1 << 20
_GPU_TIMEOUT: Final = 10.0
"""Seconds until a hung nvidia-smi is killed."""
_CGROUPS: Final = (
    ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current", "/sys/fs/cgroup/memory.stat"),
    (
        "/sys/fs/cgroup/memory/memory.limit_in_bytes",
        "/sys/fs/cgroup/memory/memory.usage_in_bytes",
        "/sys/fs/cgroup/memory/memory.stat",
    ),
)
_QUERY: Final = "index,name,utilization.gpu,memory.used,memory.total,temperature.gpu,power.draw"


class Host:
    """Reads the machine; every figure that is not to be had is None.

    Args:
        folder: A path on the disk whose free space counts.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._cpu = _cpu_times()

    def read(self) -> dict[str, float | None]:
        """cpu_percent (of all cores, since the last reading), memory and free disk in GB (10⁹ bytes)."""
        used, total = _memory()
        return {
            "cpu_percent": self._cpu_percent(),
            "memory_used_gb": _rounded(used),
            "memory_total_gb": _rounded(total),
            "disk_free_gb": _rounded(disk_free(self._folder)),
        }

    def _cpu_percent(self) -> float | None:
        before, self._cpu = self._cpu, _cpu_times()
        if before is None or self._cpu is None or self._cpu[1] <= before[1]:
            return None
        return round(100 * (self._cpu[0] - before[0]) / (self._cpu[1] - before[1]), 1)


class Gpus:
    """Runs nvidia-smi beside the supervisor, so that a hung driver hangs nobody.

    Args:
        tool: The program; None where there is none.
    """

    def __init__(self, tool: str | None = None) -> None:
        self._tool = tool if tool is not None else shutil.which("nvidia-smi")
        self._process: subprocess.Popen[bytes] | None = None
        self._started = 0.0
        self.hangs = False
        """Does it not answer any more?"""

    def read(self) -> list[dict[str, Any]]:
        """What the run that began at the last call has found, one entry a GPU; begins the next one."""
        found = self._collect()
        if self._tool and self._process is None:
            self._begin(self._tool)
        return found

    def _begin(self, tool: str) -> None:
        try:
            self._process = subprocess.Popen(
                [tool, f"--query-gpu={_QUERY}", "--format=csv,noheader,nounits"],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
            )
        except OSError:
            self._tool = None
        self._started = time.monotonic()

    def _collect(self) -> list[dict[str, Any]]:
        process = self._process
        if process is None:
            return []
        if process.poll() is None:
            # One that does not even die of SIGKILL hangs in the driver: it stays the only one.
            if time.monotonic() - self._started > _GPU_TIMEOUT:
                self.hangs = True
                process.kill()
            return []
        self._process = None
        self.hangs = self.hangs and process.returncode != 0
        assert process.stdout is not None
        with process.stdout as output:
            text = output.read().decode(errors="replace")
        return parse_gpus(text) if process.returncode == 0 else []

    def close(self) -> None:
        """End a run that is under way."""
        if self._process is not None:
            self._process.kill()
            if self._process.stdout is not None:
                self._process.stdout.close()


def parse_gpus(text: str) -> list[dict[str, Any]]:
    """The GPUs in nvidia-smi's CSV; memory in GB (10⁹ bytes), what the driver calls [N/A] is None."""
    gpus = []
    for line in text.splitlines():
        fields = [field.strip() for field in line.split(",")]
        if len(fields) != 7 or not fields[0].isdigit():
            continue
        utilization, used, total, temperature, power = (_figure(field) for field in fields[2:])
        gpus.append(
            {
                "index": int(fields[0]),
                "name": None if fields[1].startswith("[") else fields[1][:100],
                "utilization_percent": utilization,
                "memory_used_gb": _rounded(used and used * _MIB),
                "memory_total_gb": _rounded(total and total * _MIB),
                "temperature_c": temperature,
                "power_w": power,
            }
        )
    return gpus


def disk_free(path: Path) -> float | None:
    """Bytes that this user may still write there."""
    try:
        disk = os.statvfs(path)
    except OSError:
        return None
    return float(disk.f_bavail * disk.f_frsize)


def disk_used(path: Path) -> float | None:
    """The share of the disk that is used, of what this user may use; 0 to 1."""
    try:
        disk = os.statvfs(path)
    except OSError:
        return None
    used, free = disk.f_blocks - disk.f_bfree, disk.f_bavail
    return used / (used + free) if used + free > 0 else None


def _cpu_times() -> tuple[int, int] | None:
    """Busy and all clock ticks of all cores since boot."""
    text = _text("/proc/stat")
    if not text.startswith("cpu "):
        return None
    ticks = [int(field) for field in text.split("\n", 1)[0].split()[1:9]]
    return sum(ticks) - ticks[3] - ticks[4], sum(ticks)


def _memory() -> tuple[float | None, float | None]:
    """Bytes in use and in all: the container's where it has a limit, else the machine's."""
    figures = {}
    for line in _text("/proc/meminfo").splitlines():
        name, _, rest = line.partition(":")
        figures[name] = float(rest.split()[0]) * 1024
    total, available = figures.get("MemTotal"), figures.get("MemAvailable")
    for limit_file, used_file, stat_file in _CGROUPS:
        limit, used = _figure(_text(limit_file).strip()), _figure(_text(used_file).strip())
        if limit is not None and used is not None and total is not None and limit < total:
            return max(0.0, used - _inactive(stat_file)), limit
    used = total - available if total is not None and available is not None else None
    return used, total


def _inactive(stat_file: str) -> float:
    """Bytes of file cache that the kernel gives back before it runs out."""
    for line in _text(stat_file).splitlines():
        if line.startswith(("inactive_file ", "total_inactive_file ")):
            return float(line.split()[1])
    return 0.0


def _figure(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _rounded(value: float | None) -> float | None:
    """Bytes as GB."""
    return None if value is None else round(value / _GB, 2)


def _text(path: str) -> str:
    try:
        return Path(path).read_text(encoding="ascii", errors="replace")
    except OSError:
        return ""
