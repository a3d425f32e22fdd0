"""Who is signed in to the hosted store: signing in and out, and a session that is renewed when it expires."""

from __future__ import annotations

import os
import threading
import time
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qsl

from engine.errors import BadInput, SignedOut
from engine.store.hosted import secrets, wire
from engine.store.hosted.project import Project, claims

if TYPE_CHECKING:
    from supabase import Client
    from supabase_auth.types import EmailOtpType, VerifyOtpParams

SOON: Final = 60.0
"""A session that ends within so many seconds is renewed first."""

_ADVICE: Final = "Sign in again: podium store sign-in."

_LINKS: Final[dict[str, EmailOtpType]] = {
    "magiclink": "magiclink", "email": "email", "signup": "signup", "invite": "invite"
}  # fmt: skip


class Session:
    """The session of who is signed in; safe to use from any thread.

    Args:
        project: Whose.
        client: The way there.
    """

    def __init__(self, project: Project, client: Client) -> None:
        self._project, self._client = project, client
        self._guard = threading.Lock()
        self._known: dict[str, Any] = {}

    def token(self) -> str:
        """An access token that is good for a while yet.

        Raises:
            SignedOut: Nobody is signed in, or not any more.
            HostedDown: It has to be renewed, and the server can't be reached.
        """
        with self._guard:
            if given := os.environ.get(secrets.TOKEN):
                return self._ours(given)
            if not _good(self._known):
                self._renew()
            return self._ours(str(self._known["access_token"]))

    def renew(self, refused: str) -> None:
        """The server refused a token: get another one.

        Raises:
            SignedOut: There is none to be had.
        """
        with self._guard:
            if os.environ.get(secrets.TOKEN):
                raise SignedOut(f"{secrets.TOKEN} is refused", "It may have expired: set a new one.")
            if self._known.get("access_token") == refused:
                self._renew(refused)

    def _ours(self, token: str) -> str:
        """The token, if it is of the user whose runs these are."""
        user = str(claims(token).get("sub", ""))
        if self._project.user_id and user != self._project.user_id:
            raise SignedOut("the session is another user's", _ADVICE)
        return token

    def _renew(self, refused: str = "") -> None:
        kept = secrets.kept(self._project.account)
        # Another process may have renewed it meanwhile, and a refresh token is good for once.
        if _good(kept) and kept["access_token"] != refused:
            self._known = kept
            return
        if token := str(kept.get("refresh_token") or self._known.get("refresh_token") or ""):
            self._known = _facts(wire.said(lambda: self._client.auth.refresh_session(token)))
            if kept:
                secrets.keep(self._project.account, self._known)
        elif email := os.environ.get(secrets.EMAIL):
            password = os.environ.get(secrets.PASSWORD, "")
            self._known = with_password(self._client, email, password)
        elif kept:
            raise SignedOut("the access token is refused or has expired", _ADVICE)
        else:
            raise SignedOut("nobody is signed in to the hosted store", "podium store sign-in.")


def with_password(client: Client, email: str, password: str) -> dict[str, Any]:
    """Sign in with a password.

    Raises:
        SignedOut: It is refused.
        HostedDown: The server can't be reached.
    """
    return _facts(
        wire.said(lambda: client.auth.sign_in_with_password({"email": email, "password": password}))
    )


def send_link(client: Client, email: str) -> None:
    """Let the server send an e-mail with a code that signs in; it makes no new account."""
    wire.said(
        lambda: client.auth.sign_in_with_otp({"email": email, "options": {"should_create_user": False}})
    )


def with_code(client: Client, email: str, code: str) -> dict[str, Any]:
    """Sign in with the code of such an e-mail.

    Raises:
        SignedOut: It is refused: it is wrong, has expired or was used.
        HostedDown: The server can't be reached.
    """
    try:
        return _verified(client, {"email": email, "token": code, "type": "email"})
    except SignedOut as error:
        # Servers that do not know this type of code call it as they called it when it came with a link alone.
        if "verification type" not in error.what:
            raise
    return _verified(client, {"email": email, "token": code, "type": "magiclink"})


def with_link(client: Client, link: str) -> dict[str, Any]:
    """Sign in with the link of such an e-mail or an invitation; the project is asked, wherever it points.

    Raises:
        BadInput: It is no such link.
        SignedOut: It is refused: it has expired or was opened.
        HostedDown: The server can't be reached.
    """
    told = dict(parse_qsl(link.partition("?")[2].partition("#")[0]))
    kind, token = _LINKS.get(told.get("type", "")), told.get("token_hash") or told.get("token", "")
    if kind is None or not token:
        raise BadInput("this is no link that signs in", "Copy it as it stands in the e-mail, unopened.")
    return _verified(client, {"token_hash": token, "type": kind})


def with_token(client: Client, token: str) -> dict[str, Any]:
    """A session of an access token alone: it can't be renewed.

    Raises:
        BadInput: It is none, or has expired.
        SignedOut: The server refuses it.
        HostedDown: The server can't be reached.
    """
    told = claims(token)
    if not told.get("sub"):
        raise BadInput("this is no access token", "It has three parts with dots between them.")
    session = {
        "access_token": token,
        "expires_at": told.get("exp", 0),
        "user_id": told["sub"],
        "email": told.get("email", ""),
    }
    if not _good(session):
        raise BadInput("this access token has expired", "Get a new one.")
    if wire.said(lambda: client.auth.get_user(token)) is None:
        raise SignedOut("the hosted store knows nobody with this access token", "Get a new one.")
    return session


def end(client: Client, project: Project) -> None:
    """Sign out: this machine forgets the session in any case, the server if it can be reached."""
    kept = secrets.kept(project.account)
    secrets.forget(project.account)
    if token := kept.get("access_token"):
        wire.said(lambda: client.auth.admin.sign_out(str(token), "local"))


def _verified(client: Client, asked: VerifyOtpParams) -> dict[str, Any]:
    return _facts(wire.said(lambda: client.auth.verify_otp(asked)))


def _facts(answer: Any) -> dict[str, Any]:
    """What is to be known of a session."""
    session = answer.session
    if session is None:
        raise SignedOut("the hosted store opened no session", "Is the e-mail address confirmed?")
    return {
        "access_token": session.access_token,
        "refresh_token": session.refresh_token,
        # By this machine's clock, whatever the server's says.
        "expires_at": int(time.time()) + session.expires_in,
        "user_id": str(session.user.id),
        "email": session.user.email or "",
    }


def _good(session: dict[str, Any]) -> bool:
    """Will it hold for a while?"""
    try:
        return bool(session["access_token"]) and float(session.get("expires_at") or 0) > time.time() + SOON
    except (KeyError, TypeError, ValueError):
        return False
