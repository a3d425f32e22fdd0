"""Which hosted project this machine uses: address, publishable key, who is signed in. No secret."""

from __future__ import annotations

import base64
import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from engine.errors import BadInput
from engine.home import Home

_LOOPBACK: Final = ("127.0.0.1", "localhost", "::1")


@dataclass(frozen=True, slots=True)
class Project:
    """A Supabase project.

    Args:
        url: `https://….supabase.co`, or wherever it is hosted.
        key: The publishable key, which row-level security applies to.
        team: The team that new runs belong to, if any.
        email: Who is signed in, as far as is known.
        user_id: Their id; empty when nobody is.
    """

    url: str
    key: str
    team: str = ""
    email: str = ""
    user_id: str = ""

    @property
    def account(self) -> str:
        """What marks the copies of this project and user in the store here."""
        return f"{self.url} {self.user_id}"

    def by(self, user_id: str, email: str) -> Project:
        """The project with somebody signed in; with nobody when both are empty."""
        return replace(self, user_id=user_id, email=email)


def place(home: Home) -> Path:
    """The file that remembers it."""
    return home.path / "hosted.json"


def project_of(home: Home) -> Project | None:
    """The project that was set up here; None when there is none.

    Raises:
        BadInput: The file can't be read.
    """
    path = place(home)
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
        project = Project(**{name: str(told.get(name, "")) for name in Project.__dataclass_fields__})
    except FileNotFoundError:
        return None
    except (OSError, ValueError, AttributeError) as error:
        raise BadInput(
            f"{path}: can't be read ({error})", "podium store init URL KEY writes it anew."
        ) from None
    return checked(project)


def keep(home: Home, project: Project) -> None:
    """Remember it.

    Raises:
        BadInput: It can't be written.
    """
    home.create()
    path = place(home)
    beside = path.with_suffix(".new")
    try:
        beside.write_text(json.dumps(asdict(project), indent=1) + "\n", encoding="utf-8")
        beside.replace(path)
    except OSError as error:
        raise BadInput(f"{path}: can't be written ({error.strerror})") from None


def checked(project: Project) -> Project:
    """The project, if its address and key can be used.

    Raises:
        BadInput: They can't; the key is not repeated.
    """
    parts = urlsplit(project.url)
    if parts.scheme not in ("https", "http") or not parts.hostname or parts.username or parts.password:
        raise BadInput(
            f"{parts.scheme or 'no'}://{parts.hostname or ''}: no address of a project",
            "Such as https://abc.supabase.co.",
        )
    if parts.scheme == "http" and parts.hostname not in _LOOPBACK:
        raise BadInput(f"{project.url}: passwords would travel in the open", "Use https://.")
    if not project.key or not project.key.isascii() or not project.key.isprintable():
        raise BadInput("the publishable key is missing or broken", "Copy it from the project's API settings.")
    if project.key.startswith("sb_secret_") or claims(project.key).get("role") == "service_role":
        raise BadInput(
            "this is the project's secret key, which no policy applies to",
            "Use the publishable one (sb_publishable_…); renew the secret one if others may have seen it.",
        )
    return replace(project, url=project.url.rstrip("/"))


def claims(token: str) -> dict[str, Any]:
    """What a JWT says, unverified: the server does that. Empty for what is none."""
    try:
        part = token.split(".")[1]
        told = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    except (IndexError, ValueError):
        return {}
    return told if isinstance(told, dict) else {}
