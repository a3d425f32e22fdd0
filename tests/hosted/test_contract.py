"""The hosted store keeps the store's contract, while it is being kept in step with a real server."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.store.base import Store
from engine.store.supabase import SupabaseStore
from tests.hosted.conftest import Cloud
from tests.store.contract import Connect, StoreContract
from tests.store.contract_curation import CurationContract


@pytest.fixture
def connect(cloud: Cloud, tmp_path: Path, blank: Path) -> Iterator[Connect]:
    project = cloud.sign_in()
    shutil.copy(blank, tmp_path / "podium.db")
    opened: list[SupabaseStore] = []

    def open_again() -> Store:
        opened.append(SupabaseStore(tmp_path / "podium.db", project, pace=0.5))
        return opened[-1]

    yield open_again
    for store in opened:
        assert store.state.standing in ("starting", "synced", "behind"), store.standing
        store.close()


@pytest.fixture
def store(connect: Connect) -> Store:
    return connect()


class TestHosted(StoreContract, CurationContract):
    """All of the contract."""
