"""One SSH connection to one machine: made when needed, checked by its pinned key, lost in 15 s at most."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from engine.errors import PodError, PodLost
from engine.pods.pins import FirstUse, Pins
from engine.pods.ssh_address import SSHAddress

if TYPE_CHECKING:
    import asyncssh

CONNECT_SECONDS: Final = 20.0
"""How long reaching the host, and then signing in, may take."""
KEEPALIVE_SECONDS: Final = 5.0
_MISSES: Final = 2
"""A silent peer is lost after 5 × (2 + 1) = 15 s."""


class Connection:
    """The connection to a machine.

    Args:
        id: What the machine's key is pinned by.
        address: Where it is.
        pins: The known keys.
        first_use: Told when a key is pinned.
        config: OpenSSH client configuration files; those that are missing are left out.
        keepalive: Seconds between signs of life; three of them in silence are a loss.
    """

    def __init__(
        self,
        id: str,
        address: SSHAddress,
        pins: Pins,
        *,
        first_use: FirstUse,
        config: Sequence[Path] = (),
        keepalive: float = KEEPALIVE_SECONDS,
    ) -> None:
        self.address, self.silence = address, keepalive * (_MISSES + 1)
        self._checked = Checked(id, address, pins, first_use)
        self._config = [str(path) for path in config if path.exists()]
        self._keepalive = keepalive
        self._key = str(Path(address.key or "").expanduser())
        self._connection: asyncssh.SSHClientConnection | None = None
        self._connecting = asyncio.Lock()

    async def get(self) -> asyncssh.SSHClientConnection:
        """The connection, made when there is none.

        Raises:
            PodLost: The machine can't be reached.
            PodError: It is not the one it was, or it does not let us in.
        """
        async with self._connecting:
            if self._connection is None or self._connection.is_closed():
                self._connection = await self._connect()
            return self._connection

    @asynccontextmanager
    async def translated(self, limit: float | None = None) -> AsyncIterator[None]:
        """Turn the library's errors, and a silence of `limit` seconds, into ours."""
        import asyncssh

        try:
            async with asyncio.timeout(limit):
                yield
        except asyncssh.ProcessError:
            raise  # a command that took too long: the caller's affair
        except asyncssh.ChannelOpenError as error:
            raise PodLost(f"{self.address}: no more channels ({error.reason})") from None
        except (asyncssh.SFTPConnectionLost, asyncssh.SFTPNoConnection):
            raise self.lost() from None
        except asyncssh.SFTPError as error:
            raise PodError(f"{self.address}: {error.reason}") from None
        except TimeoutError:
            raise self.lost(f"silent for {limit:g} s" if limit else "") from None
        except (asyncssh.Error, OSError) as error:
            raise self.lost(_why(error)) from None

    def lost(self, why: str = "") -> PodLost:
        """The error that says that the connection is gone; what is left of it is dropped."""
        if self._connection is not None:
            self._connection.abort()
            self._connection = None
        return PodLost(f"{self.address}: the connection is gone" + (f" ({why})" if why else ""))

    @property
    def there(self) -> bool:
        """Is there a connection now?"""
        return self._connection is not None and not self._connection.is_closed()

    async def close(self) -> None:
        """Let go of the connection."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()
            with contextlib.suppress(TimeoutError, OSError):
                async with asyncio.timeout(2):
                    await connection.wait_closed()

    async def _connect(self) -> asyncssh.SSHClientConnection:
        import asyncssh

        self._checked.refusal = None
        address = self.address
        given: dict[str, Any] = {"username": address.user, "port": address.port}
        given = {name: value for name, value in given.items() if value is not None}
        if address.key:
            given["client_keys"] = [self._key]
        try:
            return await asyncssh.connect(
                address.host,
                config=self._config,
                client_factory=lambda: _client(self._checked),
                known_hosts=b"",  # nothing is trusted but what the check below accepts
                connect_timeout=CONNECT_SECONDS,
                login_timeout=CONNECT_SECONDS,
                keepalive_interval=self._keepalive,
                keepalive_count_max=_MISSES,
                compression_algs=None,
                **given,
            )
        except asyncssh.HostKeyNotVerifiable as error:
            raise self._checked.refusal or PodError(f"{address}: {_why(error)}") from None
        except asyncssh.PermissionDenied:
            advice = "Check the user, or add the key: ssh-copy-id there, ssh-add here."
            raise PodError(f"{address}: no key of yours is let in", advice) from None
        except (asyncssh.KeyImportError, asyncssh.ConfigParseError, asyncssh.KeyEncryptionError) as error:
            raise PodError(f"{address}: {_why(error)}", "Check pod.key and ~/.ssh/config.") from None
        except (OSError, asyncssh.Error, TimeoutError) as error:
            if isinstance(error, FileNotFoundError):
                raise PodError(f"{address}: {error.filename}: no such key file") from None
            raise PodLost(f"{address}: can't be reached ({_why(error)})") from None


class Checked:
    """The check of a machine's key against the one that was pinned at its first use.

    Args:
        id: What the key is pinned by.
        address: Where the machine is, for errors.
        pins: The known keys.
        first_use: Told when a key is pinned.
    """

    def __init__(self, id: str, address: SSHAddress, pins: Pins, first_use: FirstUse) -> None:
        self._id, self._address, self._pins, self._first_use = id, address, pins, first_use
        self.refusal: PodError | None = None
        """Why the last key was refused."""

    def accepts(self, key: asyncssh.SSHKey) -> bool:
        """Is it the pinned key, or the first one?"""
        import asyncssh

        shown = " ".join(key.export_public_key("openssh").decode().split()[:2])
        try:
            known = self._pins.known(self._id)
            if known is None:
                self._pins.pin(self._id, shown)
                self._first_use(self._id, key.get_fingerprint())
                return True
        except PodError as error:
            self.refusal = error
            return False
        if known == shown:
            return True
        old = asyncssh.import_public_key(known).get_fingerprint()
        self.refusal = PodError(
            f"{self._address}: its host key has changed from {old} to "
            f"{key.get_fingerprint()}; nothing was sent",
            "Another machine may be answering. If you know why it changed, remove "
            f"{self._id!r} from {self._pins.path}.",
        )
        return False


def _client(checked: Checked) -> asyncssh.SSHClient:
    import asyncssh

    class Client(asyncssh.SSHClient):
        def validate_host_public_key(self, host: str, addr: str, port: int, key: asyncssh.SSHKey) -> bool:
            return checked.accepts(key)

    return Client()


def _why(error: BaseException) -> str:
    """An error of the library in a few clean words."""
    text = getattr(error, "reason", None) or getattr(error, "strerror", None) or str(error)
    text = text or type(error).__name__
    return "".join(character for character in str(text) if character.isprintable())[:200]
