"""A keyring for tests: the machines that tests run on have none. `PYTHON_KEYRING_BACKEND` names it."""

from __future__ import annotations

import json
import os
from pathlib import Path

from keyring.backend import KeyringBackend


class Keys(KeyringBackend):
    """Keeps passwords in the file that `PODIUM_TEST_KEYS` names."""

    priority = 1  # type: ignore[assignment]

    def get_password(self, service: str, username: str) -> str | None:
        return _read().get(f"{service}/{username}")

    def set_password(self, service: str, username: str, password: str) -> None:
        _file().write_text(json.dumps({**_read(), f"{service}/{username}": password}))

    def delete_password(self, service: str, username: str) -> None:
        kept = _read()
        kept.pop(f"{service}/{username}", None)
        _file().write_text(json.dumps(kept))


def _file() -> Path:
    return Path(os.environ["PODIUM_TEST_KEYS"])


def _read() -> dict[str, str]:
    return dict(json.loads(_file().read_text())) if _file().exists() else {}
