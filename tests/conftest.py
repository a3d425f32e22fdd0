"""What every test gets: a Podium home of its own, no hub, one thread a process, and no silent skips."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.warm import Nursery, nursery

# Set before any test imports torch or transformers; the processes that tests start inherit them.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
os.environ["TRL_EXPERIMENTAL_SILENCE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ.setdefault("OMP_NUM_THREADS", "1")
# Where it is set, each command is compiled anew, which is a third of its start.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

Podium = Callable[..., subprocess.CompletedProcess[str]]
"""`podium("jobs", "--json")`: the real command line in a process of its own."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files that train come first, then those with many tests: no worker gets a long one last.

    Workers are handed files in this order (`make check`); by itself xdist goes by the number of tests
    alone, and the longest files have few.
    """
    counts = Counter(item.path for item in items)
    training = {item.path for item in items if item.get_closest_marker("training")}
    items.sort(key=lambda item: (item.path not in training, -counts[item.path]))


def pytest_collection_finish() -> None:
    """The garbage collector looks less often, and never at the tests: a quarter of the time of screens."""
    gc.freeze()
    gc.set_threshold(10_000, 20, 50)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """In CI a skipped test is a failed one: what it lacks is to be installed by .ci/run."""
    report = yield
    if report.skipped and not hasattr(report, "wasxfail") and not item.get_closest_marker("gpu"):
        _fail_in_ci(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Iterator[None]:
    """In CI a module that skips itself is a failed one."""
    report = yield
    if report.outcome == "skipped":
        _fail_in_ci(report)
    return report


def _fail_in_ci(report: pytest.TestReport | pytest.CollectReport) -> None:
    if os.environ.get("CI", "").lower() not in ("", "0", "false"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        report.outcome = "failed"
        report.longrepr = f"CI skips nothing but GPU tests. {reason}"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty Podium home that this test and the processes it starts use; not yet made."""
    path = tmp_path / "podium-home"
    monkeypatch.setenv("PODIUM_HOME", str(path))
    for name in ("NO_COLOR", "FORCE_COLOR", "COLUMNS", "LINES"):
        monkeypatch.delenv(name, raising=False)
    return path


@pytest.fixture
def podium(tmp_path: Path) -> Podium:
    """Run the real command line in an empty folder, with no standard input unless `input` is given."""
    here = tmp_path / "here"
    here.mkdir()

    def run(*args: str | Path, **options: Any) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "tui", *map(str, args)],
            env={**os.environ, **options.pop("env", {})},
            cwd=here,
            timeout=options.pop("timeout", 120),
            stdin=None if "input" in options else subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            check=False,
            **options,
        )

    return run


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of one megabyte."""
    path = tmp_path / "small-disk"
    path.mkdir()
    if os.geteuid() != 0:
        pytest.skip("only root may mount a small disk")
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", path], capture_output=True, text=True, check=False
    )
    if mounted.returncode != 0:
        pytest.skip(f"no small disk can be mounted here: {mounted.stderr.strip()}")
    yield path
    subprocess.run(["umount", "--lazy", path], check=True)


@pytest.fixture(scope="session")
def warm() -> Iterator[Nursery]:
    """Where trainer processes come from that need not load torch."""
    with nursery() as found:
        yield found
