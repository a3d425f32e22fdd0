"""Whom to tell, and of what: `alerts.yaml` in the home, read with every mistake at once."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Final, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from engine.errors import BadInput, BadSpec
from engine.home import Home
from engine.job.mistakes import nearest
from engine.job.notices import NAMED
from engine.supervisor.channels import Channel
from engine.supervisor.post import unusable

Kind = Literal["webhook", "slack", "discord", "ntfy"]
_VARIABLE: Final = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
_KEYRING: Final = re.compile(r"^keyring:(.+)$")
_SERVICE: Final = "podium-alerts"
_KEYS: Final = [
    "channels", "quiet", "dedupe_minutes", "terminal", "name", "kind", "url", "secret", "types", "severity",
    "per_hour", "burst", "from", "to", "zone", "errors", "bell", "notify",
]  # fmt: skip
_CLOCK: Final = r"^([01]?\d|2[0-3]):[0-5]\d$"


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class ChannelSpec(_Section):
    """A receiver of alerts."""

    name: str = Field(min_length=1, max_length=60, pattern=r"^[\w .-]+$")
    kind: Kind = "webhook"
    url: str = Field(repr=False)
    """The address; `${NAME}` is a variable of the environment, `keyring:NAME` an entry of the keyring."""
    secret: str = Field(default="", repr=False)
    """What a webhook is signed with, or ntfy's token."""
    types: tuple[str, ...] = ()
    severity: Literal["info", "warning", "error"] = "info"
    per_hour: float = Field(default=30.0, gt=0, le=3600)
    burst: float = Field(default=10.0, ge=1, le=1000)

    @field_validator("types")
    @classmethod
    def _known(cls, types: tuple[str, ...]) -> tuple[str, ...]:
        for name in types:
            if not re.fullmatch(r"[a-z0-9_]{1,60}", name):
                raise ValueError(f"no alert has a name like {name[:40]!r}; such as {', '.join(NAMED[:4])}")
        return types


class QuietSpec(_Section):
    """Hours in which only errors are sent."""

    start: str = Field(alias="from", pattern=_CLOCK)
    end: str = Field(alias="to", pattern=_CLOCK)
    zone: str | None = None
    """An IANA name; by default this machine's zone."""
    errors: bool = True

    @field_validator("zone")
    @classmethod
    def _exists(cls, zone: str | None) -> str | None:
        try:
            return zone if zone is None else ZoneInfo(zone).key
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise ValueError("no such time zone; such as Europe/Berlin") from None


class TerminalSpec(_Section):
    """What the app itself does."""

    bell: bool = True
    notify: bool = True
    """Also a notification of the desktop."""
    severity: Literal["info", "warning", "error"] = "warning"


class AlertSettings(_Section):
    """All of alerts.yaml."""

    channels: tuple[ChannelSpec, ...] = ()
    quiet: QuietSpec | None = None
    dedupe_minutes: float = Field(default=60.0, ge=0, le=10080)
    terminal: TerminalSpec = TerminalSpec()

    @model_validator(mode="after")
    def _one_of_a_name(self) -> AlertSettings:
        names = [channel.name for channel in self.channels]
        if double := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"two channels are called {double[0]!r}")
        return self


def place(home: Home) -> Path:
    """The file."""
    return home.path / "alerts.yaml"


def settings_of(home: Home) -> AlertSettings:
    """The settings; the defaults where there is no file.

    Raises:
        BadSpec: Every mistake at once; no value is repeated, for it may be a secret.
    """
    import yaml

    path = place(home)
    try:
        told = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return AlertSettings()
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"{path}: can't be read ({type(error).__name__})") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark is not None else ""
        raise BadSpec(str(path), [f"no YAML{line}"]) from None
    try:
        return AlertSettings.model_validate({} if told is None else told)
    except ValidationError as error:
        raise BadSpec(str(path), list(_mistakes(error)), "docs/ALERTS.md has all keys.") from None


def channels_of(settings: AlertSettings, environment: Mapping[str, str] = os.environ) -> list[Channel]:
    """The channels with their secrets in place.

    Raises:
        BadInput: One is not there, or an address can't be used; none is repeated.
    """
    found = []
    for spec in settings.channels:
        url, secret = (_in_place(spec.name, text, environment) for text in (spec.url, spec.secret))
        if why := unusable(url):
            raise BadInput(f"alerts.yaml: channel {spec.name}: url: {why}")
        found.append(
            Channel(spec.name, spec.kind, url, secret, spec.types, spec.severity, spec.per_hour, spec.burst)
        )
    return found


def for_pod(settings: AlertSettings, environment: Mapping[str, str] = os.environ) -> str:
    """What a supervisor is told, JSON: `PODIUM_ALERTS`; empty where there is nobody to tell."""
    channels = channels_of(settings, environment)
    if not channels:
        return ""
    told: dict[str, Any] = {
        "channels": [
            {
                "name": channel.name,
                "kind": channel.kind,
                "url": channel.url,
                "secret": channel.secret,
                "types": list(channel.types),
                "severity": channel.severity,
                "per_hour": channel.per_hour,
                "burst": channel.burst,
            }
            for channel in channels
        ],
        "quiet": quiet_hours(settings),
        "dedupe_minutes": settings.dedupe_minutes,
    }
    return json.dumps(told)


def quiet_hours(settings: AlertSettings) -> dict[str, Any] | None:
    """The quiet hours in minutes, with the zone's offset as it is now: a pod may not know zones."""
    quiet = settings.quiet
    if quiet is None:
        return None
    now = datetime.now(ZoneInfo(quiet.zone)) if quiet.zone else datetime.now().astimezone()
    offset = now.utcoffset()
    start, end = (int(text.split(":")[0]) * 60 + int(text.split(":")[1]) for text in (quiet.start, quiet.end))
    minutes = int(offset.total_seconds() // 60) if offset is not None else 0
    return {"start": start, "end": end, "offset": minutes, "errors": quiet.errors}


def _mistakes(error: ValidationError) -> Iterator[str]:
    """One line a mistake; what was given is not repeated: it may be a secret in the wrong place."""
    for detail in error.errors(include_url=False, include_input=False, include_context=False):
        where = ".".join(str(part + 1) if isinstance(part, int) else part for part in detail["loc"])
        message = detail["msg"].removeprefix("Value error, ")
        if detail["type"] == "extra_forbidden":
            name = str(detail["loc"][-1])
            yield f"unknown key {where[:80]}{nearest(name, _KEYS)}"
        else:
            yield f"{where}: {message}" if where else message


def _in_place(channel: str, text: str, environment: Mapping[str, str]) -> str:
    if entry := _KEYRING.match(text):
        return _from_keyring(channel, entry[1])

    def value(match: re.Match[str]) -> str:
        if match[1] not in environment:
            raise BadInput(
                f"alerts.yaml: channel {channel}: {match[1]} is not set", "Set it, or take it out."
            )
        return environment[match[1]]

    return _VARIABLE.sub(value, text)


def _from_keyring(channel: str, name: str) -> str:
    try:
        import keyring
        import keyring.errors

        found = keyring.get_password(_SERVICE, name)
    except ImportError:
        raise BadInput(
            f"alerts.yaml: channel {channel}: there is no keyring", "pip install 'podium[supabase]'."
        ) from None
    except keyring.errors.KeyringError:
        found = None
    if not found:
        raise BadInput(
            f"alerts.yaml: channel {channel}: the keyring has no {name!r}",
            f"keyring set {_SERVICE} {name}",
        )
    return str(found)
