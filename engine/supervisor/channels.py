"""Where alerts go, and how each kind of receiver wants them; what a pod wrote is text there, no more."""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from engine.job.events import stamp
from engine.job.notices import NAMED, SEVERITIES, Notice
from engine.supervisor.failure import clean
from engine.supervisor.post import post

Message = tuple[bytes, dict[str, str]]
"""A body and its headers."""

_MARKDOWN: Final = re.compile(r"([\\`*_~|>#\[\]()<\-+.!:])")
_PRIORITY: Final = {"info": "default", "warning": "high", "error": "urgent"}
_TAG: Final = {"info": "white_check_mark", "warning": "warning", "error": "rotating_light"}


@dataclass(frozen=True, slots=True)
class About:
    """The job that alerts are about.

    Args:
        job_id: Its id.
        name: Its name.
        model: What it trains.
    """

    job_id: str
    name: str = ""
    model: str = ""


@dataclass(frozen=True, slots=True)
class Channel:
    """One receiver.

    Args:
        name: What the user calls it.
        kind: One of `KINDS`.
        url: Its address: a secret.
        secret: What generic webhooks are signed with, or the bearer's token of ntfy.
        types: The alerts that it wants; empty for those that are sent by default.
        severity: The least severity that it wants.
        per_hour: How many messages an hour it gets in the long run.
        burst: How many at once.
    """

    name: str
    kind: str
    url: str = field(repr=False)
    secret: str = field(default="", repr=False)
    types: tuple[str, ...] = ()
    severity: str = "info"
    per_hour: float = 30.0
    burst: float = 10.0

    @classmethod
    def of(cls, told: Mapping[str, Any]) -> Channel:
        """From JSON.

        Raises:
            KeyError, TypeError, ValueError: It is none.
        """
        given = {key: told[key] for key in ("name", "kind", "url")}
        if not all(isinstance(value, str) for value in given.values()) or given["kind"] not in KINDS:
            raise ValueError("no channel")
        more: dict[str, Any] = {
            "secret": str(told.get("secret") or ""),
            "types": tuple(told.get("types") or ()),
        }
        more["severity"] = told["severity"] if told.get("severity") in SEVERITIES else "info"
        for key in ("per_hour", "burst"):
            if told.get(key) is not None:
                more[key] = float(told[key])
        return cls(**given, **more)

    def wants(self, notice: Notice) -> bool:
        """Is that one to be sent here?"""
        if SEVERITIES.index(notice.severity) < SEVERITIES.index(self.severity):
            return False
        if self.types:
            return notice.alert in self.types
        return notice.alert in NAMED or notice.severity == "error"

    def send(self, notice: Notice, about: About, timeout: float, held: int = 0) -> None:
        """Deliver a notice.

        Args:
            notice: What is told.
            about: The job.
            timeout: Seconds.
            held: How many were held back before it.

        Raises:
            NotTaken: It was not, and why.
        """
        body, headers = KINDS[self.kind](self, notice, about, held)
        post(self.url, body, headers, timeout)


def title(notice: Notice, about: About) -> str:
    """`job failed · my-run`."""
    words = _line(notice.alert).replace("_", " ")
    return " · ".join(filter(None, (words, _line(about.name)[:80])))


def text(notice: Notice, held: int) -> str:
    """The sentence, the step, and how many others there were."""
    parts = [_line(notice.message)]
    if notice.step is not None:
        parts.append(f"step {notice.step}")
    if held:
        parts.append(f"{held} more held back")
    return " · ".join(parts)


def _webhook(channel: Channel, notice: Notice, about: About, held: int) -> Message:
    """JSON, signed over time and body, so that neither can be changed nor sent again later."""
    body = _json(
        {
            "schema": 1,
            "job_id": about.job_id,
            "job": _line(about.name),
            "model": _line(about.model),
            "alert": _line(notice.alert),
            "severity": notice.severity,
            "message": _line(notice.message),
            "step": notice.step,
            "seq": notice.seq,
            "ts": stamp(notice.ts),
            "held_back": held,
        }
    )
    headers = {
        "Content-Type": "application/json",
        "X-Podium-Delivery": f"{about.job_id}:{notice.seq}:{notice.alert}",
    }
    headers = {name: value.encode("ascii", "replace").decode() for name, value in headers.items()}
    if channel.secret:
        now = str(int(time.time()))
        headers["X-Podium-Timestamp"] = now
        headers["X-Podium-Signature"] = f"sha256={signature(channel.secret, now, body)}"
    return body, headers


def signature(secret: str, timestamp: str, body: bytes) -> str:
    """HMAC-SHA256 of `timestamp.body`, hex."""
    return hmac.new(secret.encode(), timestamp.encode() + b"." + body, hashlib.sha256).hexdigest()


def _slack(channel: Channel, notice: Notice, about: About, held: int) -> Message:
    """Plain text blocks, in which Slack looks for neither markup nor mentions."""
    head, told = title(notice, about), text(notice, held)
    blocks = [
        {"type": "header", "text": {"type": "plain_text", "text": head[:150], "emoji": False}},
        {"type": "section", "text": {"type": "plain_text", "text": told[:1000], "emoji": False}},
    ]
    shown = f"{head}: {told}".replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return _json({"text": _no_mention(shown), "mrkdwn": False, "blocks": blocks}), _AS_JSON


def _discord(channel: Channel, notice: Notice, about: About, held: int) -> Message:
    """Every sign of its markup is escaped, no mention is allowed, and no link unfolds."""
    head, told = (
        _no_mention(_MARKDOWN.sub(r"\\\1", part)) for part in (title(notice, about), text(notice, held))
    )
    content = f"**{head}**\n{told}"[:1900]
    return _json({"content": content, "allowed_mentions": {"parse": []}, "flags": 4}), _AS_JSON


def _ntfy(channel: Channel, notice: Notice, about: About, held: int) -> Message:
    """Plain text under a title; the title is a header, so it is ASCII."""
    headers = {
        "Content-Type": "text/plain; charset=utf-8",
        "Title": title(notice, about).replace("·", "-").encode("ascii", "replace").decode(),
        "Priority": _PRIORITY[notice.severity],
        "Tags": _TAG[notice.severity],
    }
    if channel.secret:
        headers["Authorization"] = f"Bearer {channel.secret}"
    return text(notice, held).encode(errors="replace"), headers


def _alert_api(channel: Channel, notice: Notice, about: About, held: int) -> Message:
    """The names of the system that Podium replaces."""
    told = {
        "type": _line(notice.alert),
        "job_id": about.job_id,
        "job_name": _line(about.name),
        "model_name": _line(about.model),
        "severity": notice.severity,
        "message": _line(notice.message),
        "step": notice.step,
        "timestamp": stamp(notice.ts),
    }
    headers = dict(_AS_JSON)
    if channel.secret:
        headers["Authorization"] = f"Bearer {channel.secret}"
    return _json(told), headers


_AS_JSON: Final = {"Content-Type": "application/json"}

KINDS: Final[Mapping[str, Callable[[Channel, Notice, About, int], Message]]] = {
    "webhook": _webhook,
    "slack": _slack,
    "discord": _discord,
    "ntfy": _ntfy,
    "alert_api": _alert_api,
}
"""What each kind of receiver gets."""


def _line(told: str) -> str:
    """One clean line, not too long."""
    return clean(" ".join(told[:4000].split()))


def _no_mention(told: str) -> str:
    """`@everyone` with something invisible in it, which then calls nobody."""
    return told.replace("@", "@\u200b")


def _json(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, allow_nan=False).encode(errors="replace")


def channels_of(told: Any) -> tuple[list[Channel], int]:
    """The channels in a list from JSON, and how many entries are none."""
    entries: Sequence[Any] = told if isinstance(told, list) else []
    found, broken = [], 0
    for entry in entries:
        try:
            found.append(Channel.of(entry))
        except (KeyError, TypeError, ValueError, AttributeError):
            broken += 1
    return found, broken
