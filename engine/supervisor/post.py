"""One POST: verified, without redirections, bounded in time and size. Stdlib only, and loaded late."""

from __future__ import annotations

import time
from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

if TYPE_CHECKING:
    import urllib.request

LONGEST_WAIT: Final = 600.0
"""A longer Retry-After is not believed (seconds)."""
_LARGEST_ANSWER: Final = 1 << 16
_UNFIT: Final = (400, 406, 409, 411, 413, 415, 422)
_LATER: Final = (408, 425, 429)


class NotTaken(Exception):
    """What was posted was not taken; the text names neither address nor secret."""


class Unavailable(NotTaken):
    """Nobody knows whether it arrived; the same again, later.

    Args:
        why: A few words.
        wait: Seconds that the server wants us to wait.
    """

    def __init__(self, why: str, wait: float = 0.0) -> None:
        self.wait = wait
        super().__init__(why)


class Refused(NotTaken):
    """Who we are, or the address, is refused: nothing else would be taken either."""


class Unfit(NotTaken):
    """The server can't take this; it may take something else."""


def unusable(url: str) -> str:
    """Why nothing may be posted there; empty when it may. Secrets go over TLS, or stay on this machine."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        return "it is no address"
    if parts.scheme not in ("http", "https") or not host:
        return "it is no https address"
    here = host in ("localhost", "::1") or host.startswith("127.")
    return "" if parts.scheme == "https" or here else "it is not https"


def post(url: str, body: bytes, headers: Mapping[str, str], timeout: float) -> bytes:
    """Post a body and return the answer's first 64 KiB.

    Args:
        url: Where to.
        body: What.
        headers: With a Content-Type.
        timeout: Seconds for each step of it; the answer is not waited for longer than that either.

    Raises:
        NotTaken: It was not, and why.
    """
    import http.client
    import urllib.error
    import urllib.request

    if why := unusable(url):
        raise Refused(why)
    try:
        told = {"User-Agent": "podium", **headers}
        request = urllib.request.Request(url, body, told, method="POST")
        with _opener().open(request, timeout=timeout) as answer:
            return _read(answer, timeout)
    except urllib.error.HTTPError as error:
        wait = _seconds(error.headers.get("Retry-After"))
        error.close()
        raise _meaning(error.code, wait) from None
    except (OSError, http.client.HTTPException) as error:
        raise Unavailable(_in_words(error)) from None
    except ValueError:
        raise Unfit("it can't be sent as HTTP") from None


def _read(answer: Any, timeout: float) -> bytes:
    """The answer, of a server that may send for ever, or a byte a second."""
    until, found = time.monotonic() + timeout, b""
    while len(found) < _LARGEST_ANSWER and time.monotonic() < until:
        block = answer.read1(_LARGEST_ANSWER - len(found))
        if not block:
            break
        found += block
    return found


def _meaning(code: int, wait: float) -> NotTaken:
    if code in _LATER or code >= 500:
        return Unavailable(f"HTTP {code}", wait)
    return Unfit(f"HTTP {code}") if code in _UNFIT else Refused(f"HTTP {code}")


def _in_words(error: Exception) -> str:
    """What went wrong, in words of ours: a library's may quote the address."""
    cause = getattr(error, "reason", error)
    name = type(cause).__name__
    known = {
        "TimeoutError": "no answer in time",
        "timeout": "no answer in time",
        "ConnectionRefusedError": "it refuses connections",
        "SSLCertVerificationError": "its certificate is not valid",
        "gaierror": "its name is not known",
        "RemoteDisconnected": "it hung up",
        "ConnectionResetError": "it hung up",
    }
    return known.get(name, f"it can't be reached ({name})")


@cache
def _opener() -> urllib.request.OpenerDirector:
    """Opens what it is told to, and nothing that an answer names: the secrets would go along."""
    import urllib.request

    class Straight(urllib.request.HTTPRedirectHandler):
        def redirect_request(self, *what: Any) -> None:
            return None

    return urllib.request.build_opener(Straight)


def _seconds(text: str | None) -> float:
    try:
        return min(LONGEST_WAIT, max(0.0, float(text or 0)))
    except ValueError:
        return 0.0
