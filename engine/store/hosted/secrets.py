"""Where the session's secrets are: the system's keyring or the environment, never a file."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any, Final

from engine.errors import Missing

TOKEN: Final = "PODIUM_SUPABASE_TOKEN"
"""The environment's access token: used as it is, and not renewed."""

EMAIL: Final = "PODIUM_SUPABASE_EMAIL"
PASSWORD: Final = "PODIUM_SUPABASE_PASSWORD"

_SERVICE: Final = "podium"


def kept(account: str) -> dict[str, Any]:
    """The session that the keyring has for a project and user; empty without one, or without a keyring."""
    keyring = _keyring()
    if keyring is None:
        return {}
    try:
        told = json.loads(keyring.get_password(_SERVICE, account) or "{}")
    except (keyring.errors.KeyringError, ValueError):
        return {}
    return told if isinstance(told, dict) else {}


def keep(account: str, session: Mapping[str, Any]) -> None:
    """Give a session to the keyring.

    Raises:
        Missing: There is none on this machine, or it refuses.
    """
    keyring = _keyring()
    try:
        if keyring is None:
            raise Missing("no keyring", "")
        keyring.set_password(_SERVICE, account, json.dumps(dict(session)))
    except (Missing, getattr(getattr(keyring, "errors", None), "KeyringError", Missing)):
        raise Missing(
            "this machine has no keyring that would keep the session",
            f"Set {EMAIL} and {PASSWORD}, or {TOKEN}, in the environment instead.",
        ) from None


def forget(account: str) -> None:
    """Take the session out of the keyring."""
    keyring = _keyring()
    if keyring is not None:
        try:
            keyring.delete_password(_SERVICE, account)
        except keyring.errors.KeyringError:
            pass


def in_environment() -> bool:
    """Does the environment say who signs in?"""
    return bool(os.environ.get(TOKEN) or (os.environ.get(EMAIL) and os.environ.get(PASSWORD)))


def _keyring() -> Any:
    try:
        import keyring
        import keyring.errors
    except ImportError:
        return None
    return keyring
