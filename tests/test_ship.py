"""What goes to a pod works there alone: copied to an empty folder, imported with nothing else at hand.

Static import walls miss what is imported by name, late, or through a package's `__init__`.
"""

from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SHIPPED = (
    "scorer",
    "engine/__init__.py",
    "engine/errors.py",
    "engine/job",
    "engine/script",
    "engine/supervisor",
    "engine/trainer",
)
BASE = getattr(sys, "_base_executable", sys.executable)
"""The interpreter under the virtual environment: it has no site-packages of ours."""


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shipped files in a folder of their own."""
    folder = tmp_path_factory.mktemp("pod")
    for name in SHIPPED:
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, target)
    return folder


def modules(bundle: Path, package: str) -> list[str]:
    """The names of a package's modules, itself included."""
    names = []
    for path in sorted((bundle / package).rglob("*.py")):
        parts = list(path.relative_to(bundle).with_suffix("").parts)
        names.append(".".join(parts[:-1] if parts[-1] == "__init__" else parts))
    return names


def imported(bundle: Path, module: str, *interpreter: str) -> set[str]:
    """Import a module there and return the names of all modules that this has loaded."""
    code = (
        f"import sys; sys.path.insert(0, {str(bundle)!r}); import importlib, json\n"
        f"found = importlib.import_module({module!r})\n"
        f"assert found.__file__.startswith({str(bundle)!r}), found.__file__\n"
        "print(json.dumps(sorted(sys.modules)))\n"
    )
    done = subprocess.run(
        [*interpreter, "-c", code], cwd="/", capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, f"{module}: {done.stderr}"
    return set(json.loads(done.stdout.splitlines()[-1]))


@pytest.mark.parametrize("package", ["scorer", "engine/script", "engine/supervisor"])
def test_scorer_supervisor_and_scripts_need_the_standard_library_alone(bundle: Path, package: str) -> None:
    for module in modules(bundle, package):
        loaded = imported(bundle, module, BASE, "-I", "-S")
        roots = {name.partition(".")[0] for name in loaded}
        assert roots - set(sys.stdlib_module_names) <= {"scorer", "engine", "__main__"}


@pytest.mark.parametrize("module", ["engine.job.events", "engine.job.folder", "engine.errors"])
def test_the_wire_needs_nothing_but_the_standard_library(bundle: Path, module: str) -> None:
    imported(bundle, module, BASE, "-I", "-S")


def test_the_supervisor_does_not_load_what_only_the_laptop_or_the_trainer_need(bundle: Path) -> None:
    loaded = imported(bundle, "engine.supervisor.__main__", sys.executable, "-I")
    assert not loaded & {"pydantic", "yaml", "torch", "asyncio", "sqlite3", "psutil", "tempfile"}


def test_what_both_sides_agree_on_does_not_load_torch(bundle: Path) -> None:
    for module in modules(bundle, "engine/job"):
        loaded = imported(bundle, module, sys.executable, "-I")
        assert not loaded & {"torch", "transformers", "numpy", "textual", "asyncssh"}


def test_the_templates_travel_along(bundle: Path) -> None:
    code = (
        f"import sys; sys.path.insert(0, {str(bundle)!r})\n"
        "from engine.job.spec import JobSpec, templates\n"
        "for name in templates():\n"
        "    JobSpec.parse({'template': name, 'name': 'x', 'model': {'name': 'm'},"
        " 'dataset': {'path': 'd'}}, 'test')\n"
        "print(len(templates()))\n"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-c", code], cwd="/", capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) >= 1


def test_the_supervisor_runs_there_and_says_what_the_trainer_lacks(bundle: Path, tmp_path: Path) -> None:
    """The whole way without site-packages: the trainer can't start, and the job ends with its cause."""
    (tmp_path / "job.json").write_text('{"limits": {"max_restarts": 0}}')
    code = (
        f"import sys; sys.path.insert(0, {str(bundle)!r}); from pathlib import Path\n"
        "from engine.supervisor.supervisor import supervise\n"
        "trainer = [sys.executable, '-I', '-S', '-c', 'import torch']\n"
        f"sys.exit(supervise(Path({str(tmp_path)!r}), trainer=trainer))\n"
    )
    assert subprocess.run([BASE, "-I", "-S", "-c", code], cwd="/", timeout=120, check=False).returncode == 0
    ending = json.loads((tmp_path / "exit.json").read_text())
    assert ending["status"] == "failed"
    assert "No module named 'torch'" in ending["error"]


@pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="the train extra is not installed")
@pytest.mark.training
def test_the_trainer_needs_only_what_ships_and_its_own_libraries(bundle: Path) -> None:
    code = (
        f"import sys; sys.path.insert(0, {str(bundle)!r}); import importlib\n"
        f"names = {modules(bundle, 'engine/trainer')!r}\n"
        "found = [importlib.import_module(name).__file__ for name in names]\n"
        f"assert all(path.startswith({str(bundle)!r}) for path in found), found\n"
        "print(len(found))\n"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-c", code], cwd="/", capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
