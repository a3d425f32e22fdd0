"""What can be reached from here: GPUs, machines of one's own, and the hub that models come from."""

from __future__ import annotations

import os
import re
import subprocess
import threading
import urllib.error
import urllib.request
from pathlib import Path
from typing import Final

from engine.analysis import format as words
from tui.cli.checks.finding import Finding

PATIENCE: Final = 4.0
"""Seconds that a program or a host has to answer."""


def gpu() -> Finding:
    """NVIDIA GPUs, as nvidia-smi tells."""
    advice = "Without one, train on a pod; the demo's small models train on the CPU."
    command = ["nvidia-smi", "--query-gpu=name,memory.total", "--format=csv,noheader"]
    try:
        told = subprocess.run(command, capture_output=True, timeout=PATIENCE, check=False)
    except FileNotFoundError:
        return Finding("gpu", "absent", "no nvidia-smi", advice)
    except (OSError, subprocess.TimeoutExpired):
        return Finding("gpu", "absent", "nvidia-smi does not answer", "Look at the driver.")
    names = [
        " ".join(row.split()) for row in told.stdout.decode(errors="replace").splitlines() if row.strip()
    ]
    if told.returncode != 0 or not names:
        return Finding("gpu", "absent", "nvidia-smi finds none", advice)
    return Finding("gpu", "ok", "; ".join(names))


def ssh() -> Finding:
    """Hosts and keys that a machine of one's own could be reached with."""
    folder = Path.home() / ".ssh"
    try:
        config = (folder / "config").read_text(encoding="utf-8", errors="replace")
    except OSError:
        config = ""
    entries = re.findall(r"^\s*Host[\s=]+(.+)$", config, re.MULTILINE | re.IGNORECASE)
    hosts = [host for entry in entries for host in entry.split() if not set(host) & set("*?!")]
    keys = [path.stem for path in sorted(folder.glob("id_*.pub"))] if folder.is_dir() else []
    agent = ["an agent"] if os.environ.get("SSH_AUTH_SOCK") else []
    held = words.listed([*keys, *agent]) or "no key"
    if not hosts:
        advice = "To train on a machine of your own, give it a Host entry there."
        return Finding("ssh", "absent", f"no hosts in {folder / 'config'}; {held}", advice)
    return Finding("ssh", "ok", f"{words.listed(hosts)}; {held}")


def hub() -> Finding:
    """Can models be fetched by name?"""
    if os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "TRUE", "YES", "ON"):
        return Finding(
            "hub", "absent", "HF_HUB_OFFLINE is set", "Models must lie on this machine, or unset it."
        )
    address = os.environ.get("HF_ENDPOINT", "https://huggingface.co")
    if not _answers(address):
        return Finding("hub", "absent", f"{address} does not answer", "Models must lie on this machine.")
    token = "with a token" if os.environ.get("HF_TOKEN") else "without a token (gated models need HF_TOKEN)"
    return Finding("hub", "ok", f"{address} answers; {token}")


def _answers(address: str) -> bool:
    """Does a web server answer, whatever it says? Looking up a name has no time-out, hence the thread."""
    answered = threading.Event()

    def ask() -> None:
        try:
            question = urllib.request.Request(address, method="HEAD")
            urllib.request.urlopen(question, timeout=PATIENCE).close()
        except urllib.error.HTTPError:
            pass
        except (OSError, ValueError):
            return
        answered.set()

    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    asking.join(PATIENCE)
    return answered.is_set()
