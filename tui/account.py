"""What the account rents, as the pods panel shows it. A value."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountPod:
    """One pod; None where the provider does not tell.

    Args:
        id: The provider's.
        name: Its name.
        status: What the provider says of it.
        gpus: `2 × A100 80GB`; empty when nobody tells.
        per_hour: Dollars an hour.
        cost: Dollars so far, at today's rate.
        age_seconds: Since it was created.
        idle_seconds: How long nothing has been done on it.
        busy_percent: The GPUs' mean utilization.
        run: The run here that it belongs to, with its status; empty for a stray.
        reapable: Did Podium rent it, and does no run here need it any more?
        losses: What would be lost with it.
    """

    id: str
    name: str
    status: str
    gpus: str = ""
    per_hour: float | None = None
    cost: float | None = None
    age_seconds: float | None = None
    idle_seconds: float | None = None
    busy_percent: float | None = None
    run: str = ""
    reapable: bool = False
    losses: tuple[str, ...] = ()

    @property
    def stray(self) -> bool:
        """Does it belong to no run here?"""
        return not self.run

    @property
    def owner(self) -> str:
        """Whose it is, as a sentence."""
        if self.run:
            return f"It belongs to {self.run}."
        if self.reapable:
            return "No run here knows it: Podium rented it, perhaps from another laptop."
        return "Podium did not rent it."


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """All that is rented now.

    Args:
        pods: What costs most first.
        volumes: Network volumes in words: they bill until they are deleted.
    """

    pods: tuple[AccountPod, ...] = ()
    volumes: tuple[str, ...] = ()

    @property
    def per_hour(self) -> float:
        """Dollars an hour for all pods."""
        return sum(pod.per_hour or 0.0 for pod in self.pods)

    @property
    def strays(self) -> int:
        """How many belong to no run here."""
        return sum(pod.stray for pod in self.pods)
