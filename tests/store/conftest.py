"""The store's tests write small databases by the hundred."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.quick import quick


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """A folder of this test's own, in memory where there is room."""
    with tempfile.TemporaryDirectory(dir=quick(), ignore_cleanup_errors=True) as name:
        yield Path(name)
