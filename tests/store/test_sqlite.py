"""The SQLite store keeps the store's contract."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.store.base import Store
from engine.store.sqlite import SQLiteStore
from tests.store.contract import Connect, StoreContract
from tests.store.contract_curation import CurationContract


@pytest.fixture
def connect(tmp_path: Path) -> Iterator[Connect]:
    opened: list[SQLiteStore] = []

    def open_again() -> Store:
        opened.append(SQLiteStore(tmp_path / "podium.db"))
        return opened[-1]

    yield open_again
    for store in opened:
        store.close()


@pytest.fixture
def store(connect: Connect) -> Store:
    return connect()


class TestSQLite(StoreContract, CurationContract):
    """All of the contract."""
