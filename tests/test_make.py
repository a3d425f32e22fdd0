"""`make` sets up once, starts at once the second time, and says in one line what a machine lacks."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A clone's files that make looks at."""
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, tmp_path)
    return tmp_path


def set_up(tree: Path) -> None:
    """What make leaves behind when it has set up."""
    (tree / ".venv" / "bin").mkdir(parents=True)
    (tree / ".venv" / "bin" / "python").symlink_to("/bin/sh")
    (tree / ".venv" / ".made").write_text(f"{tree}\n")
    (tree / ".venv" / ".ready-to-run").touch()


def make(tree: Path, *args: str) -> subprocess.CompletedProcess[str]:
    """Call make as a user would, not as a part of the make that may be running these tests."""
    inherited = ("MAKEFLAGS", "MAKELEVEL", "MFLAGS", "PYTHON", "VENV")
    env = {name: value for name, value in os.environ.items() if name not in inherited}
    return subprocess.run(["make", *args], cwd=tree, env=env, capture_output=True, text=True, check=False)


def test_a_fresh_clone_is_set_up_before_anything_runs(tree: Path) -> None:
    planned = make(tree, "-n", "run").stdout
    assert planned.index("-m venv") < planned.index("-m pip") < planned.index("-m tui demo")
    assert "-c constraints.txt" in planned


def test_a_second_call_starts_at_once(tree: Path) -> None:
    set_up(tree)
    assert make(tree, "-n", "run").stdout.strip() == ".venv/bin/python -m tui demo"


@pytest.mark.parametrize("changed", ["pyproject.toml", "constraints.txt"])
def test_changed_requirements_are_installed(tree: Path, changed: str) -> None:
    set_up(tree)
    later = (tree / ".venv" / ".ready-to-run").stat().st_mtime + 10
    os.utime(tree / changed, (later, later))
    assert "pip" in make(tree, "-n", "run").stdout


def test_an_environment_that_was_moved_is_made_anew(
    tree: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    set_up(tree)
    moved = tmp_path_factory.mktemp("moved") / "tree"
    shutil.copytree(tree, moved, symlinks=True)
    assert "-m venv" in make(moved, "-n", "run").stdout


@pytest.mark.parametrize("target", ["run", "test"])
def test_without_python_make_says_what_to_install(tree: Path, target: str) -> None:
    result = make(tree, target, "PYTHON=no-such-python")
    assert result.returncode != 0
    assert "no-such-python is not there. Install Python 3.11 or newer" in result.stderr
    assert not (tree / ".venv").exists()


@pytest.mark.parametrize(
    "script, said",
    [
        ('[ "$1" = --version ] && echo Python 3.9.1; exit 1', "is Python 3.9.1, too old"),
        ('case "$2" in *ensurepip*) exit 1;; esac; exit 0', "install python3-venv"),
    ],
)
def test_a_python_that_will_not_do_is_told_from_one_that_lacks_a_part(
    tree: Path, script: str, said: str
) -> None:
    python = tree / "python"
    python.write_text(f"#!/bin/sh\n{script}\n")
    python.chmod(0o755)
    result = make(tree, "run", f"PYTHON={python}")
    assert result.returncode != 0
    assert said in result.stderr
    assert not (tree / ".venv").exists()


def test_what_ci_runs_is_make_test() -> None:
    assert "exec make test" in (ROOT / ".ci" / "run").read_text()
