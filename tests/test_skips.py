"""What a machine lacks is skipped with its reason printed, and in CI nothing but GPU tests may be skipped."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SUITE = """
import pytest
def test_works(): pass
def test_lacks_something(): pytest.skip("no frobnicator here")
@pytest.mark.gpu
def test_on_a_gpu(): pytest.skip("no GPU here")
"""
MODULE = "import pytest\npytest.skip('no frobnicator for this module', allow_module_level=True)\n"


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    folder = tmp_path / "suite"
    folder.mkdir()
    shutil.copy(Path(__file__).with_name("conftest.py"), folder)
    (folder / "test_it.py").write_text(SUITE)
    return folder


def run(suite: Path, ci: str) -> subprocess.CompletedProcess[str]:
    alone = ["-p", "no:cacheprovider", "--rootdir", str(suite), "-c", os.devnull]
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-ra", *alone, str(suite)],
        env={**os.environ, "CI": ci},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def test_a_skip_prints_its_reason_and_passes_at_home(suite: Path) -> None:
    result = run(suite, "")
    assert result.returncode == 0
    assert "no frobnicator here" in result.stdout
    assert "1 passed, 2 skipped" in result.stdout


def test_a_skip_fails_in_ci_unless_it_is_for_want_of_a_gpu(suite: Path) -> None:
    result = run(suite, "true")
    assert result.returncode == 1
    assert "no frobnicator here" in result.stdout
    assert "1 failed, 1 passed, 1 skipped" in result.stdout


def test_a_module_that_skips_itself_fails_in_ci(suite: Path) -> None:
    (suite / "test_module.py").write_text(MODULE)
    result = run(suite, "true")
    assert result.returncode != 0
    assert "no frobnicator for this module" in result.stdout
