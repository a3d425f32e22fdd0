"""The RunPod account: its API key, which never leaves this module but for the wire, and what hides it."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from pydantic import SecretStr

from engine.errors import BadInput, BadRequest, Unauthorized
from engine.pods.patience import Patience
from engine.pods.provider import Provider

KEY_VARIABLE = "RUNPOD_API_KEY"
URL_VARIABLE = "RUNPOD_API_BASE_URL"
URL = "https://api.runpod.io"
GET_A_KEY = f"Set {KEY_VARIABLE}, or put it into ~/.runpod/config.toml; RunPod's console makes keys."

_SHOWN = 300
"""Characters of a foreign text that an error shows."""
_LEAST_SECRET = 6
"""Shorter values of the environment are too common to be hidden."""


def connect(backend: Literal["rest", "sdk"] = "rest", patience: Patience | None = None) -> Provider:
    """RunPod with the account of this machine's user; nothing is sent yet.

    Raises:
        Unauthorized: There is no usable key.
        Missing: The SDK is asked for and not installed.
    """
    key, patience = api_key(), patience or Patience()
    if backend == "sdk":
        from engine.pods.runpod_sdk import RunPodSDK

        return RunPodSDK(key, patience=patience)
    from engine.pods.runpod_rest import RunPodREST

    return RunPodREST(key, patience=patience)


def api_key(config: Path | None = None) -> SecretStr:
    """The key: from the environment, else from RunPod's own file.

    Args:
        config: The file; None is `~/.runpod/config.toml`.

    Raises:
        Unauthorized: There is none, or it can't be one.
    """
    path = config or Path("~/.runpod/config.toml").expanduser()
    given, where = os.environ.get(KEY_VARIABLE, "").strip(), KEY_VARIABLE
    if not given:
        given, where = _configured(path), str(path)
    if not given:
        raise Unauthorized("there is no RunPod API key", GET_A_KEY)
    if not re.fullmatch(r"[!-~]+", given):
        raise Unauthorized(f"{where} holds no API key: it has blanks or strange characters", GET_A_KEY)
    return SecretStr(given)


def api_url() -> str:
    """Where the API is; the variable is the SDK's own.

    Raises:
        BadInput: The key would travel in the clear.
    """
    url = os.environ.get(URL_VARIABLE, "").strip().rstrip("/") or URL
    parts = urlsplit(url)
    here = parts.hostname in ("127.0.0.1", "localhost", "::1")
    if parts.scheme == "https" or (parts.scheme == "http" and here):
        return url
    raise BadInput(f"{URL_VARIABLE} is {url!r}: it must begin with https://", "The API key goes there.")


class Veil:
    """Makes foreign text fit for an error: one line, short, no control characters, no secrets.

    Args:
        secrets: What must not be seen.
    """

    def __init__(self, *secrets: SecretStr) -> None:
        self._secrets = secrets

    def __call__(self, text: str, also: Iterable[str] = ()) -> str:
        """The text, with the secrets and the values in `also` hidden."""
        hidden = [secret.get_secret_value() for secret in self._secrets]
        hidden += [
            line for value in also for line in (value, *value.splitlines()) if len(line) >= _LEAST_SECRET
        ]
        for value in sorted(hidden, key=len, reverse=True):
            text = text.replace(value, "•••")
        text = " ".join("".join(char if char.isprintable() else " " for char in text).split())
        return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"


def checked_id(identifier: str) -> str:
    """An id that is fit for a path or a query.

    Raises:
        BadRequest: It can't be one of RunPod's.
    """
    if re.fullmatch(r"[A-Za-z0-9_-]{1,100}", identifier):
        return identifier
    raise BadRequest(f"{identifier[:100]!r} is no id of RunPod's", "`podium pods` shows the ids.")


def _configured(path: Path) -> str:
    """The key in RunPod's file; empty if there is no such file or no key in it."""
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return ""
    except OSError as error:
        raise Unauthorized(f"{path} can't be read ({error.strerror})", GET_A_KEY) from None
    except ValueError:
        raise Unauthorized(f"{path} is not TOML", GET_A_KEY) from None
    profile = values.get("default")
    key = profile.get("api_key") if isinstance(profile, dict) else None
    return key.strip() if isinstance(key, str) else ""
