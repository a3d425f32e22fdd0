"""Finds or makes the Python that trains: {"root": FOLDER, "needed": {NAME: [RANGE, PIN]}}. Python 3.11+.

The interpreter that runs this is taken as it is where it has what is needed: images come with torch, which
is large. Else an environment that sees its packages is made once, and only what is missing goes into it.
Answers {"python": PATH, "installed": [NAME==VERSION…]}.
"""

from __future__ import annotations

import fcntl
import hashlib
import importlib.metadata
import json
import os
import re
import shutil
import subprocess
import sys


def version_of(text: str) -> tuple[int, ...]:
    """The release of a version: 2.8.0+cu128 is 2.8.0."""
    found = re.match(r"\d+(\.\d+)*", text)
    return tuple(int(part) for part in found.group().split(".")) if found else ()


def fits(version: str, wanted: str) -> bool:
    """Is a version within a range such as >=5.20,<6?"""
    have = version_of(version)
    for part in filter(None, wanted.split(",")):
        sign, limit = re.match(r"([<>=]+)(.*)", part).groups()  # type: ignore[union-attr]
        bound = version_of(limit)
        width = max(len(have), len(bound))
        left, right = have + (0,) * (width - len(have)), bound + (0,) * (width - len(bound))
        if not {">=": left >= right, "<": left < right, "<=": left <= right, "==": left == right}[sign]:
            return False
    return True


def missing(needed: dict[str, list[str]]) -> list[str]:
    """The pins of what this interpreter lacks."""
    lacking = []
    for name, (wanted, pin) in needed.items():
        try:
            there = fits(importlib.metadata.version(name), wanted)
        except importlib.metadata.PackageNotFoundError:
            there = False
        if not there:
            lacking.append(f"{name}=={pin}")
    return lacking


def main() -> None:
    request = json.loads(sys.stdin.buffer.readline().decode())
    lacking = missing(request["needed"])
    if not lacking:
        print(json.dumps({"python": sys.executable, "installed": []}))
        return
    identity = json.dumps([lacking, sys.version, sys.prefix])
    folder = os.path.join(request["root"], hashlib.sha256(identity.encode()).hexdigest()[:16])
    os.makedirs(request["root"], exist_ok=True)
    with open(f"{folder}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two jobs may want the same one at once
        if not os.path.exists(os.path.join(folder, ".complete")):
            install(folder, lacking)
    print(json.dumps({"python": os.path.join(folder, "bin", "python"), "installed": lacking}))


def install(folder: str, lacking: list[str]) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    run([sys.executable, "-m", "venv", "--system-site-packages", "--without-pip", folder], "python3-venv")
    show_packages(folder)
    python = os.path.join(folder, "bin", "python")
    pip = [python, "-m", "pip", "--disable-pip-version-check", "--no-input", "install", "--quiet"]
    run([*pip, *lacking], "python3-pip")
    with open(os.path.join(folder, ".complete"), "w") as mark:
        mark.write("\n".join(lacking))


def show_packages(folder: str) -> None:
    """Let the environment see this interpreter's packages, also where that is an environment itself."""
    own = os.path.join(folder, "lib", f"python{sys.version_info[0]}.{sys.version_info[1]}", "site-packages")
    paths = [path for path in sys.path if path.endswith(("site-packages", "dist-packages"))]
    with open(os.path.join(own, "podium-machine.pth"), "w") as file:
        file.write("".join(f"{path}\n" for path in paths))


def run(argv: list[str], package: str) -> None:
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace")
    if done.returncode == 0:
        return
    lines = [line for line in (done.stderr + "\n" + done.stdout).splitlines() if line.strip()]
    said = next((line for line in lines if "ERROR" in line or "No module" in line), (lines or ["?"])[-1])
    hint = f" (is {package} installed?)" if "No module" in said or "ensurepip" in said else ""
    sys.exit(f"{said.strip()[:300]}{hint}")


if __name__ == "__main__":
    main()
