"""Host keys, pinned by pod id on first use: rented addresses are recycled, so a name proves nothing."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from engine.errors import PodError
from engine.job.folder import write_json

FirstUse = Callable[[str, str], None]
"""Told the pod's id and the fingerprint of the key that is being pinned."""


@dataclass(frozen=True, slots=True)
class Pins:
    """The known host keys.

    Args:
        path: A JSON file: pod id -> public key in OpenSSH's format.
    """

    path: Path

    def known(self, pod_id: str) -> str | None:
        """The key that is pinned for a pod; None before its first use.

        Raises:
            PodError: The file is there but can't be read: rather no connection than an unchecked one.
        """
        return self._read().get(pod_id)

    def pin(self, pod_id: str, key: str) -> None:
        """Remember a pod's key."""
        self._write({**self._read(), pod_id: key})

    def forget(self, pod_id: str) -> None:
        """Forget a pod that is gone, or whose new key the user has checked."""
        self._write({name: key for name, key in self._read().items() if name != pod_id})

    def _read(self) -> dict[str, str]:
        try:
            pins = json.loads(self.path.read_text(encoding="utf-8"))
            return {str(name): str(key) for name, key in pins.items()}
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, AttributeError):
            raise PodError(
                f"{self.path}: the pinned host keys can't be read", "Mend or remove the file."
            ) from None

    def _write(self, pins: dict[str, str]) -> None:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            write_json(self.path, pins)
        except OSError as error:
            raise PodError(f"{self.path}: the host key can't be pinned ({error.strerror})") from None
