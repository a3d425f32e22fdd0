"""What `pip install` of a built wheel gives: the commands, and the app with its stylesheet."""

import json
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

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
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment that has the wheel; what the wheel depends on is lent by the tests' own."""
    folder = tmp_path_factory.mktemp("installed")
    venv.create(folder, with_pip=False)
    python = folder / "bin" / "python"
    install = [sys.executable, "-m", "pip", "--python", python, "install", "--no-deps", "--no-index", wheel]
    done = subprocess.run(install, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    # A folder named in a .pth file is searched, but its own .pth files (our source tree) are not obeyed.
    (site_packages(folder) / "lent.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return folder


def site_packages(folder: Path) -> Path:
    return Path(sysconfig.get_path("purelib", vars={"base": str(folder)}))


def run(installed: Path, cwd: Path, *command: str) -> str:
    program, *args = command
    result = subprocess.run(
        [installed / "bin" / program, *args],
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


def test_its_command_runs_in_an_empty_folder(installed: Path, tmp_path: Path) -> None:
    assert run(installed, tmp_path, "podium", "--version").startswith("podium 0.")


def test_its_doctor_finds_all_that_was_installed(installed: Path, tmp_path: Path) -> None:
    told = json.loads(run(installed, tmp_path, "podium", "doctor", "--json"))["doctor"]
    values = {finding["name"]: finding["value"] for finding in told["checks"]}
    assert told["ok"] is True
    assert values["screens.css"] == str(site_packages(installed) / "screens.css")
    assert values["podium"].endswith(f"in {site_packages(installed)}")


def test_its_app_starts_with_the_stylesheet_from_the_wheel(installed: Path, tmp_path: Path) -> None:
    screen, *sheets = run(installed, tmp_path, "python", "-c", START_THE_APP).splitlines()
    assert screen == "JobScreen"
    assert str(site_packages(installed) / "screens.css") in sheets
    assert not any(str(ROOT) in sheet for sheet in sheets)
