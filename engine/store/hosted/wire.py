"""The way to a project's server: its client library, and every way in which it fails as an error of ours."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, TypeVar

from engine.errors import HostedDown, Missing, SignedOut, StoreError
from engine.store.hosted.project import Project

if TYPE_CHECKING:
    import httpx
    from supabase import Client

T = TypeVar("T")

CONNECT_SECONDS: Final = 5.0
READ_SECONDS: Final = 30.0

_BUSY: Final = (408, 425, 429)
_LONGEST_SAID: Final = 200
_LACKING: Final = ("42P01", "42703", "42883", "PGRST202", "PGRST204", "PGRST205")
"""A table, a column or a function that is not there: the schema is older than this Podium."""


class Refused(StoreError):
    """The server understood, and will not.

    Args:
        code: PostgreSQL's or the server's own; empty when it gives none.
    """

    def __init__(self, what: str, advice: str = "", *, code: str = "") -> None:
        self.code = code
        super().__init__(what, advice)


class Gone(Refused):
    """A run is no longer there."""


def client(project: Project, *, read_seconds: float = READ_SECONDS) -> Client:
    """A client of the project that renews nothing and remembers nothing by itself.

    Raises:
        Missing: Its library is not installed.
    """
    try:
        import httpx
        from supabase import ClientOptions, create_client
    except ImportError:
        raise Missing("supabase is not installed", "pip install 'podium[supabase]'.") from None
    http = httpx.Client(
        timeout=httpx.Timeout(read_seconds, connect=CONNECT_SECONDS),
        event_hooks={"response": [_judged]},
        follow_redirects=False,
    )
    options = ClientOptions(
        auto_refresh_token=False,
        persist_session=False,
        flow_type="implicit",
        httpx_client=http,
        postgrest_client_retry=False,
    )
    return create_client(project.url, project.key, options)


def _judged(response: httpx.Response) -> None:
    """Raise for the answers that say nothing of the request itself."""
    status = response.status_code
    if status in _BUSY or status >= 500 or 300 <= status < 400:
        raise HostedDown(
            f"the hosted store answers {status}",
            retry_after=_seconds(response.headers.get("Retry-After")),
        )
    if status == 401:
        raise SignedOut("the hosted store refuses the session", "Sign in again: podium store sign-in.")


def _seconds(told: str | None) -> float:
    try:
        return min(300.0, max(0.0, float(told or 0)))
    except ValueError:
        return 0.0


@contextmanager
def explained() -> Iterator[None]:
    """Turn what the client library raises into our errors, one line each and without what was sent.

    Raises:
        HostedDown: The server can't be reached, or fails.
        Refused: It will not.
    """
    import httpx
    from postgrest.exceptions import APIError
    from supabase_auth.errors import AuthError, AuthRetryableError

    try:
        yield
    except httpx.TransportError as error:
        raise HostedDown(f"the hosted store can't be reached ({_why(error)})") from None
    except AuthRetryableError:
        raise HostedDown("the hosted store's sign-in can't be reached") from None
    except AuthError as error:
        raise SignedOut(
            f"the hosted store refuses: {_short(error.message)}", "podium store sign-in."
        ) from None
    except APIError as error:
        code = error.code or ""
        advice = "The project's owner brings it up to date: podium store migrate." if code in _LACKING else ""
        raise Refused(f"the hosted store refuses: {_short(error.message or '')}", advice, code=code) from None
    except ValueError:
        # Whoever answers there is no such server: a hotel's sign-in page, a proxy.
        raise HostedDown("what answers there is no hosted store") from None


def said(call: Callable[[], T]) -> T:
    """What a call of the library returns, its errors turned into ours."""
    with explained():
        return call()


def _why(error: Exception) -> str:
    import httpx

    if isinstance(error, httpx.TimeoutException):
        return "no answer in time"
    return _short(str(error)) or type(error).__name__


def _short(text: str) -> str:
    return " ".join(text.split())[:_LONGEST_SAID]


def data_of(response: Any) -> Any:
    """The value that an answer carries."""
    return response.data
