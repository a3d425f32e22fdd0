"""What a dead trainer died of: its exit status, and the last telling line of its log."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_TAIL: Final = 1 << 16
"""How much of the log is read for the cause (bytes)."""
_LONGEST: Final = 300
"""A cause is one line on a terminal (characters)."""

_CONTROL: Final = re.compile(
    r"\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?"  # OSC
    r"|\x1b[PX^_][^\x1b]*(?:\x1b\\)?"  # DCS, SOS, PM, APC
    r"|(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]?"  # CSI
    r"|\x1b[ -/]*[0-~]?"
    r"|[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]"
)
_SECRET_NAME: Final = re.compile(
    r"(^|_)(API|ACCESS|SECRET)?(KEY|TOKEN|SECRET|PASSWORD|PASSWD|CREDENTIALS?)$", re.IGNORECASE
)
_SECRET_LOOK: Final = re.compile(r"\b(hf_|sk-|rpa_|sb_secret_|ghp_|eyJ)[A-Za-z0-9_\-.]{16,}")
_HIDDEN: Final[set[str]] = set()
_RAISED: Final = re.compile(r"^[\w.]*(Error|Exception|Interrupt|Exit)\b")

_CAUSES: Final[tuple[tuple[str, str, str], ...]] = (
    (
        "disk_full",
        r"No space left on device|Errno 28\b|Disk quota exceeded",
        "Free some space on the machine; what was saved is kept.",
    ),
    (
        "out_of_memory",
        r"out of memory|OutOfMemoryError|\bMemoryError\b|Cannot allocate memory|DefaultCPUAllocator",
        "Lower training.batch_size or training.max_length, or take a machine with more memory.",
    ),
    (
        "permission",
        r"Permission denied|PermissionError|Operation not permitted|Read-only file system",
        "Give this user the right to use that path, or choose another.",
    ),
    (
        "missing",
        r"No module named|ModuleNotFoundError|cannot open shared object file",
        "Install what training needs: pip install 'podium[train]'.",
    ),
    (
        "access",
        r"GatedRepo|gated repo|401 Client Error|403 Client Error|Invalid (user )?token",
        "Log in to the Hub, and accept the model's licence there.",
    ),
    (
        "rank_lost",
        r"a rank was lost",
        "Look at that machine and its log; the job goes on from the newest checkpoint.",
    ),
    ("gpu", r"CUDA error|device-side assert|NCCL (error|failure)|Xid", "See the log; another GPU may help."),
)
_KILLED: Final = "If nobody killed it, the machine ran out of memory: lower training.batch_size."
_ADVICE_TO_SCRIPTS: Final = {
    "missing": "Name it in script.requirements, or install it for the Python that runs the script.",
    "out_of_memory": "Let the script take smaller batches, or take a machine with more memory.",
    "killed": "If nobody killed it, the machine ran out of memory: let the script take smaller batches.",
}
"""Where the spec has no keys for what Podium's own trainer is advised to change."""

_COMPILED: Final = tuple((kind, re.compile(pattern), advice) for kind, pattern, advice in _CAUSES)


@dataclass(frozen=True, slots=True)
class Failure:
    """One death of a trainer.

    Args:
        text: What happened, one clean line.
        kind: `disk_full`, `out_of_memory`, `permission`, `missing`, `access`, `rank_lost`, `gpu`, `stall` or
            `unknown`.
        advice: What to do about it; may be empty.
        code: The exit status; negative for a signal, None when there was no process.
    """

    text: str
    kind: str = "unknown"
    advice: str = ""
    code: int | None = None

    @property
    def identity(self) -> str:
        """What the same failure has in common: its text without numbers."""
        return re.sub(r"(0x)?[0-9a-fA-F]*\d[0-9a-fA-F]*", "#", self.text)


def examine(code: int, log: Path, since: int, *, script: bool = False) -> Failure:
    """Say what a trainer that ended with `code` died of.

    Args:
        code: Its exit status; negative for a signal.
        log: Its log.
        since: Where in the log its own output starts.
        script: Was it a script of the user's?
    """
    lines = _last_lines(log, since)
    line, kind, advice = _telling(lines)
    others = _ADVICE_TO_SCRIPTS if script else {}
    advice = others.get(kind, advice)
    if code < 0:
        ended = f"killed by {_signal_name(-code)}"
        if -code == signal.SIGKILL and kind == "unknown":
            advice = others.get("killed", _KILLED)
        # A signal comes from outside: the last line that was logged has nothing to do with it.
        return Failure(f"{ended}: {line}" if kind != "unknown" else ended, kind, advice, code)
    ended = f"exit status {code}"
    return Failure(f"{ended}: {line}" if line else ended, kind, advice, code)


def clean(text: str) -> str:
    """One line without escapes, controls or secrets, and not too long."""
    text = _CONTROL.sub("", text.rstrip("\r").rsplit("\r", 1)[-1]).replace("\t", " ").strip()
    text = without_secrets(redact(text, os.environ))
    for hidden in _HIDDEN:
        text = text.replace(hidden, "[secret]")
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"


def hide(*secrets: str) -> None:
    """Let `clean` leave these out from now on: they were taken out of the environment."""
    _HIDDEN.update(secret for secret in secrets if len(secret) >= 8)


def redact(text: str, environment: Mapping[str, str]) -> str:
    """The text without the values of variables whose names say that they are secret."""
    for name, value in environment.items():
        if len(value) >= 8 and _SECRET_NAME.search(name):
            text = text.replace(value, "[secret]")
    return text


def without_secrets(text: str) -> str:
    """The text without what looks like a key of the services that we know."""
    return _SECRET_LOOK.sub("[secret]", text)


def secret(name: str) -> bool:
    """Does a variable of that name hold a secret?"""
    return _SECRET_NAME.search(name) is not None


def _telling(lines: list[str]) -> tuple[str, str, str]:
    """A line with its kind and advice: of a known cause, else what was raised, else the last one."""
    for line in reversed(lines):
        for kind, pattern, advice in _COMPILED:
            if pattern.search(line):
                return line, kind, advice
    raised = [line for line in lines if _RAISED.match(line)]
    return (raised or lines or [""])[-1], "unknown", ""


def _last_lines(log: Path, since: int) -> list[str]:
    """The last 50 lines that hold anything, clean."""
    try:
        with log.open("rb") as file:
            file.seek(max(since, file.seek(0, os.SEEK_END) - _TAIL))
            text = file.read(_TAIL).decode(errors="replace")
    except OSError:
        return []
    return [line for line in map(clean, text.split("\n")[-200:]) if line][-50:]


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
