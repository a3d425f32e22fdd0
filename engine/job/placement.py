"""The sections of a spec that say where a job runs and what it may cost. Ships."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from engine.job.sections import Above, Count, Positive, Rate, Section

HostName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_:][A-Za-z0-9_.:%-]*$")]


class LimitsSpec(Section):
    """What the supervisor enforces with nobody connected; null is no limit."""

    max_hours: Above | None = None
    max_cost_usd: Above | None = None
    stall_minutes: Above | None = 30
    """Minutes without an event from the trainer before it is restarted."""
    max_restarts: Count = 3
    """Restarts after failures; the same failure three times ends the job sooner."""


class PodSpec(Section):
    """Where the job runs."""

    provider: Literal["local", "ssh"] = "local"
    cost_per_hour: Rate | None = None
    """Dollars an hour, for machines whose price nobody tells us; 0 on your own."""
    host: HostName | None = None
    """The machine, for provider ssh: a name, an address, or a `Host` of `~/.ssh/config`."""
    user: HostName | None = None
    port: Annotated[Positive, Field(lt=65536)] | None = None
    key: Annotated[str, Field(min_length=1)] | None = None
    """A private key file on this machine; its path alone is kept."""
    python: Annotated[str, Field(min_length=1)] = "python3"
    """The Python there, 3.11 or newer; one that has torch saves installing it."""
    folder: Annotated[str, Field(pattern=r"^(/|~/)[^\x00\n]+$")] = "~/.podium"
    """Podium's folder there."""

    @model_validator(mode="after")
    def _placed(self) -> Self:
        if self.provider == "ssh" and self.host is None:
            raise ValueError("provider ssh needs a host")
        if self.provider == "local" and (self.host or self.user or self.port or self.key):
            raise ValueError("host, user, port and key are for provider ssh")
        return self
