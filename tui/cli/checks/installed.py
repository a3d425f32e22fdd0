"""What is installed; read from the packages' own records, so that nothing is imported."""

from __future__ import annotations

import platform
import re
import sys
from importlib import metadata
from pathlib import Path
from typing import Final

from tui.cli.checks.finding import Finding

HERE: Final = Path(__file__).resolve().parents[3]
"""The folder that the three packages and screens.css lie in."""


def podium() -> Finding:
    """Podium itself."""
    try:
        return Finding("podium", "ok", f"{metadata.version('podium')} in {HERE}")
    except metadata.PackageNotFoundError:
        return Finding("podium", "absent", f"a source tree in {HERE}", "To install it: pip install . there")


def python() -> Finding:
    """The interpreter."""
    return Finding("python", "ok", f"{platform.python_version()} in {sys.executable}")


def packages() -> Finding:
    """What every installation has."""
    found, missing = _required(None)
    if missing:
        return Finding(
            "packages", "bad", f"missing: {', '.join(missing)}", "In Podium's folder: pip install ."
        )
    return Finding("packages", "ok", ", ".join(found))


def train() -> Finding:
    """The extra for training on this machine."""
    return _extra("train", "training on this machine")


def runpod() -> Finding:
    """The extra for pods rented from RunPod."""
    return _extra("runpod", "renting RunPod pods")


def supabase() -> Finding:
    """The extra for a hosted store."""
    return _extra("supabase", "a hosted store")


def bitsandbytes() -> Finding:
    """What 4-bit models and 8-bit optimizers need."""
    try:
        return Finding("bitsandbytes", "ok", metadata.version("bitsandbytes"))
    except metadata.PackageNotFoundError:
        advice = "For 4-bit models on this machine: pip install bitsandbytes"
        return Finding("bitsandbytes", "absent", "not installed", advice)


def stylesheet() -> Finding:
    """The stylesheet of all screens, which lies beside the packages."""
    path = HERE / "screens.css"
    if path.is_file():
        return Finding("screens.css", "ok", str(path))
    return Finding("screens.css", "bad", f"{path} is missing", "Install Podium again.")


def _extra(extra: str, purpose: str) -> Finding:
    found, missing = _required(extra)
    if missing or not found:
        advice = f"For {purpose}, in Podium's folder: pip install '.[{extra}]'"
        return Finding(extra, "absent", f"missing: {', '.join(missing)}" if missing else "unknown", advice)
    return Finding(extra, "ok", ", ".join(found))


def _required(extra: str | None) -> tuple[list[str], list[str]]:
    """What an extra (None: every installation) requires: the installed as «name version», and the missing."""
    found: list[str] = []
    missing: list[str] = []
    for requirement in _requirements():
        name = re.split(r"[^A-Za-z0-9._-]", requirement, maxsplit=1)[0]
        marker = re.search(r"extra\s*==\s*['\"]([^'\"]+)", requirement)
        if (marker[1] if marker else None) != extra:
            continue
        try:
            found.append(f"{name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            missing.append(name)
    return found, missing


def _requirements() -> list[str]:
    try:
        return metadata.requires("podium") or []
    except metadata.PackageNotFoundError:
        return []
