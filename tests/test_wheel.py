"""What `pip install` of a built wheel gives: the commands, and the app with its stylesheet."""

import importlib.metadata
import json
import subprocess
import sys
import sysconfig
import venv
import zipfile
from collections.abc import Mapping
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]

START_THE_APP = """
import asyncio
from datetime import UTC, datetime
from engine.analysis.snapshot import Snapshot
from tui.app import PodiumApp

class EmptyDesk:
    async def open(self, changed): pass
    def take(self, question): return Snapshot(taken_at=datetime.now(UTC))
    async def carry_out(self, wish): return ""
    def now(self): return datetime.now(UTC)
    def recall(self, key, default=None): return default
    def remember(self, key, value): pass
    async def close(self): pass

async def main():
    app = PodiumApp(EmptyDesk())
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.pause()
        print(type(app.screen).__name__)
        print(*{where[0] for where in app.stylesheet.source if where[0].endswith(".css")}, sep="\\n")

asyncio.run(main())
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", out, ROOT]
    built = subprocess.run(command, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stdout + built.stderr
    (path,) = out.glob("podium-*.whl")
    return path


@pytest.fixture(scope="module")
def light(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `pip install .` gives a laptop: the wheel and what it requires, no extra."""
    folder = tmp_path_factory.mktemp("light")
    venv.create(folder, with_pip=False)
    python = folder / "bin" / "python"
    install = [sys.executable, "-m", "pip", "--python", python, "install", "--no-deps", "--no-index", wheel]
    done = subprocess.run(install, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (podium,) = site_packages(folder).glob("podium-*.dist-info")
    lend(required_by(importlib.metadata.Distribution.at(podium)), site_packages(folder))
    return folder


def required_by(distribution: importlib.metadata.Distribution) -> dict[str, importlib.metadata.Distribution]:
    """All that a distribution requires, and what that requires in its turn."""
    found: dict[str, importlib.metadata.Distribution] = {}
    waiting = [(distribution, "")]
    while waiting:
        requiring, extra = waiting.pop()
        for requirement in map(Requirement, requiring.requires or []):
            if requirement.marker is not None and not requirement.marker.evaluate({"extra": extra}):
                continue
            known = requirement.name in found
            found[requirement.name] = importlib.metadata.distribution(requirement.name)
            if not known:
                waiting += [(found[requirement.name], of) for of in ("", *requirement.extras)]
    return found


def lend(distributions: Mapping[str, importlib.metadata.Distribution], target: Path) -> None:
    """Link packages of the tests' environment into another one."""
    for distribution in distributions.values():
        tops = {file.parts[0] for file in distribution.files or []} - {"..", "__pycache__"}
        for top in tops:
            if not (target / top).exists():
                (target / top).symlink_to(distribution.locate_file(top))


def site_packages(folder: Path) -> Path:
    return Path(sysconfig.get_path("purelib", vars={"base": str(folder)}))


def run(light: Path, cwd: Path, *command: str) -> str:
    program, *args = command
    result = subprocess.run(
        [light / "bin" / program, *args],
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def test_the_wheel_has_what_the_code_reads_and_nothing_of_the_repository_besides(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    assert "screens.css" in names
    for room in ("scorer", "engine", "tui"):
        here = {str(path.relative_to(ROOT)) for path in (ROOT / room).rglob("*") if path.is_file()}
        assert {name for name in here if "__pycache__" not in name} <= names
    for needed in (
        "engine/job/templates/sft_standard.yaml",
        "engine/py.typed",
        "tui/py.typed",
        "scorer/py.typed",
    ):
        assert needed in names
    assert any(name.startswith("engine/store/schema/") and name.endswith(".sql") for name in names)
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {
        "scorer",
        "engine",
        "tui",
        "screens.css",
    }


def test_its_command_runs_in_an_empty_folder(light: Path, tmp_path: Path) -> None:
    assert run(light, tmp_path, "podium", "--version").startswith("podium 0.")


def test_its_doctor_says_what_is_there_and_what_is_missing(light: Path, tmp_path: Path) -> None:
    told = json.loads(run(light, tmp_path, "podium", "doctor", "--json"))["doctor"]
    findings = {finding["name"]: finding for finding in told["checks"]}
    assert told["ok"] is True
    assert findings["screens.css"]["value"] == str(site_packages(light) / "screens.css")
    assert findings["podium"]["value"].endswith(f"in {site_packages(light)}")
    assert findings["packages"]["state"] == "ok"
    for extra in ("train", "runpod", "supabase"):
        assert findings[extra]["state"] == "absent"
        assert f".[{extra}]" in findings[extra]["advice"]


def test_it_is_light(light: Path, tmp_path: Path) -> None:
    heavy = "torch transformers numpy pandas runpod supabase"
    probe = f"import importlib.util as u; print([n for n in '{heavy}'.split() if u.find_spec(n)])"
    assert run(light, tmp_path, "python", "-c", probe) == "[]\n"


def test_without_the_train_extra_the_demo_is_a_recorded_run_and_says_so(light: Path, tmp_path: Path) -> None:
    told = json.loads(run(light, tmp_path, "podium", "demo", "--headless", "--json"))
    assert told["replay"] is True
    assert [job["status"] for job in told["jobs"]] == ["completed", "completed"]
    for job in told["jobs"]:
        assert 0 < job["best_step"] < job["total_steps"]


def test_without_the_train_extra_a_launch_says_what_to_install(light: Path, tmp_path: Path) -> None:
    data = tmp_path / "data.jsonl"
    data.write_text("".join(f'{{"prompt": "{at}?", "completion": "{at}!"}}\n' for at in range(20)))
    command = [light / "bin" / "podium", "launch", "sft_standard", "--set", "dataset.path=data.jsonl"]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120)
    assert result.returncode == 1
    (line,) = result.stderr.splitlines()
    assert "torch" in line
    assert ".[train]" in line


def test_its_app_starts_with_the_stylesheet_from_the_wheel(light: Path, tmp_path: Path) -> None:
    screen, *sheets = run(light, tmp_path, "python", "-c", START_THE_APP).splitlines()
    assert screen == "JobScreen"
    assert str(site_packages(light) / "screens.css") in sheets
    assert not any(str(ROOT) in sheet for sheet in sheets)
