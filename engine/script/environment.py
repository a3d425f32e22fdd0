"""The Python environment that a script requires: made once, used by all runs that want the same."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from engine.errors import TrainingError


def make(store: Path, work: Path, wanted: str | Sequence[str]) -> Path:
    """The environment's folder of programs, such as `python`.

    It sees the packages of the interpreter that runs this, so an image's torch is not installed again.
    What pip says goes to this process's output: the log.

    Args:
        store: Where environments are kept.
        work: Where the script runs: a requirements file, and what it names, is found from there.
        wanted: A requirements file, or its lines.

    Raises:
        TrainingError: It can't be made.
    """
    lines = _lines(work, wanted)
    identity = json.dumps([lines, sys.version, sys.prefix, _hashes(work, lines)])
    folder = store / f"script-{hashlib.sha256(identity.encode()).hexdigest()[:16]}"
    try:
        store.mkdir(parents=True, exist_ok=True)
        with folder.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # two jobs may want the same one at once
            if not (folder / ".complete").exists():
                shutil.rmtree(folder, ignore_errors=True)
                _install(folder, work, lines)
                (folder / ".complete").write_text("\n".join(lines), encoding="utf-8")
    except OSError as error:
        raise TrainingError(
            "disk_full", f"{error.filename or folder}: {error.strerror}", "Make room there."
        ) from None
    return folder / "bin"


def _lines(work: Path, wanted: str | Sequence[str]) -> list[str]:
    if not isinstance(wanted, str):
        return [str(line) for line in wanted]
    try:
        return (work / wanted).read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError as error:
        raise TrainingError(
            "missing",
            f"script.requirements: {wanted} can't be read ({error.strerror})",
            "Is it among what script.sync brings?",
        ) from None


def _hashes(work: Path, lines: Sequence[str]) -> dict[str, str]:
    """What local packages among the lines hold: another build of one is another environment."""
    found = {}
    for line in lines:
        path = work / line.strip()
        if line.strip() and path.is_file():
            found[line] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def _install(folder: Path, work: Path, lines: Sequence[str]) -> None:
    _run([sys.executable, "-m", "venv", "--system-site-packages", "--without-pip", str(folder)], work)
    own = folder / "lib" / f"python{sys.version_info[0]}.{sys.version_info[1]}" / "site-packages"
    paths = [path for path in sys.path if path.endswith(("site-packages", "dist-packages"))]
    (own / "podium-machine.pth").write_text("".join(f"{path}\n" for path in paths), encoding="utf-8")
    listed = folder / "requirements.txt"
    listed.write_text("\n".join(lines) + "\n", encoding="utf-8")
    pip = [
        str(folder / "bin" / "python"),
        "-m",
        "pip",
        "--disable-pip-version-check",
        "--no-input",
        "install",
    ]
    _run([*pip, "--quiet", "-r", str(listed)], work)


def _run(argv: Sequence[str], work: Path) -> None:
    done = subprocess.run(argv, cwd=work, stdin=subprocess.DEVNULL, env=without_ours(os.environ), check=False)
    if done.returncode:
        raise TrainingError(
            "missing",
            f"script.requirements can't be installed (pip ended with status {done.returncode}, see the log)",
            "Mend the requirements, or name a Python that has them as pod.python.",
        )


def without_ours(environment: Mapping[str, str]) -> dict[str, str]:
    """An environment without what lets Python find Podium's own modules on a machine."""
    ours = str(Path(__file__).resolve().parents[2])
    kept = dict(environment)
    paths = [path for path in kept.get("PYTHONPATH", "").split(os.pathsep) if path and path != ours]
    kept.pop("PYTHONPATH", None)
    return kept | ({"PYTHONPATH": os.pathsep.join(paths)} if paths else {})
