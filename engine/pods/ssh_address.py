"""Where an SSH machine is."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from engine.errors import BadInput

_PLAIN: Final = re.compile(r"[A-Za-z0-9_:][A-Za-z0-9_.:%-]*")


@dataclass(frozen=True, slots=True)
class SSHAddress:
    """A machine; what is None comes from `~/.ssh/config`, or is SSH's default.

    Args:
        host: A name, an address, or a `Host` of `~/.ssh/config`.
        user: Who signs in.
        port: TCP.
        key: A private key file on this machine.
    """

    host: str
    user: str | None = None
    port: int | None = None
    key: str | None = None

    @classmethod
    def parse(cls, text: str) -> SSHAddress:
        """Read `host`, `user@host`, `user@host:port` or `ssh://user@host:port`.

        Raises:
            BadInput: It is none of these.
        """
        try:
            parts = urlsplit(text if "://" in text else f"ssh://{text}")
            if parts.scheme != "ssh" or parts.password or parts.path.strip("/") or parts.query:
                raise ValueError
            # The host as it was written: the names in ~/.ssh/config may have capitals.
            name = parts.netloc.rpartition("@")[2]
            host = parts.hostname or ""
            host = host if name.startswith("[") else name.partition(":")[0]
            if not plain(host) or not (parts.username is None or plain(parts.username)):
                raise ValueError
            return cls(host, parts.username, parts.port)
        except ValueError:
            raise BadInput(
                f"{text!r} is no SSH address", "Write host, user@host or ssh://user@host:port."
            ) from None

    def __str__(self) -> str:
        user = f"{self.user}@" if self.user else ""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{user}{host}" + (f":{self.port}" if self.port else "")


def plain(name: str) -> bool:
    """Can it be the name of a host or a user, and nothing else?"""
    return _PLAIN.fullmatch(name) is not None
