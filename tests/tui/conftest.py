"""The app on a desk without an engine, at the sizes that the screens are drawn for."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.tui.fabricated import FakeDesk, a_log
from tui.app import PodiumApp


@pytest.fixture(autouse=True)
def utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Dates are shown in local time."""
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.fixture
def log_file(tmp_path: Path) -> Path:
    """A run's mirrored log."""
    path = tmp_path / "train.log"
    path.write_bytes(a_log())
    return path


@pytest.fixture
def desk(log_file: Path) -> FakeDesk:
    """A desk that answers with the live run and its log."""
    return FakeDesk(log=str(log_file))


@pytest.fixture
def app(desk: FakeDesk) -> PodiumApp:
    """The app on that desk."""
    return PodiumApp(desk)
