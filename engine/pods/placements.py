"""Which machine a job is on, and what this laptop alone knows of it: kept here, and never sent anywhere.

One folder a job in the home: `placement.json`, and for what is rented the private key that opens it. It is
written before anything is asked for: whatever kills the laptop, the next start knows what to look for.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter, ValidationError

from engine.errors import PodError
from engine.home import Home
from engine.job.folder import write_json
from engine.job.placement import PodSpec
from engine.pods.provider import Address, Offer, pod_name

if TYPE_CHECKING:
    import asyncssh

_FILE = "placement.json"
_KEY = "id_ed25519"


@dataclass(frozen=True, slots=True, kw_only=True)
class Seat:
    """One of several rented machines, in order of rank.

    Args:
        pod_id: The pod: its host key is pinned by that.
        address: Where it was last reached.
        private_ip: On the network of its cluster.
    """

    pod_id: str
    address: Address
    private_ip: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """Where a job is.

    Args:
        job_id: The job.
        pod: What its spec says, the path of a private key included: job.json, which travels, has none.
        offers: What was confirmed, best first; empty for what is not rented.
        volume_id: The network volume that was confirmed.
        place: The data centre that this binds to.
        retrieve_minutes: How long what has ended is kept for fetching.
        asked_at: When a pod was about to be asked for; from then on there may be one.
        nodes: How many machines it is.
        meeting: Where the machines meet by the spec: `address` and `port`, each of which may be None.
        pod_id: The pod, or the cluster of several, as soon as it is known.
        price_per_hour: What is billed for it, dollars.
        address: Where it was last reached; of several machines, the first one.
        started_at: When it was last started, by the provider.
        seats: Where each of several machines was last reached.
        gone_at: When the provider confirmed that it is gone.
        ending: Why it was ended, for people.
    """

    job_id: str
    pod: PodSpec
    offers: tuple[Offer, ...] = ()
    volume_id: str | None = None
    place: str | None = None
    retrieve_minutes: float = 30
    asked_at: datetime | None = None
    nodes: int = 1
    meeting: tuple[str | None, int | None] = (None, None)
    pod_id: str | None = None
    price_per_hour: float | None = None
    address: Address | None = None
    started_at: datetime | None = None
    seats: tuple[Seat, ...] = ()
    gone_at: datetime | None = None
    ending: str = ""

    @property
    def name(self) -> str:
        """What its pod, or its cluster, is called."""
        return pod_name(self.job_id)

    @property
    def may_bill(self) -> bool:
        """May there be a pod that bills?"""
        return self.asked_at is not None and self.gone_at is None


class Placements:
    """The placements that are kept in a home. Blocking.

    Args:
        home: The home.
    """

    def __init__(self, home: Home) -> None:
        self._home = home

    def of(self, job_id: str) -> Placement | None:
        """Where a job is; None if nothing is kept of it.

        Raises:
            PodError: What is kept can't be read.
        """
        path = self._home.machine(job_id) / _FILE
        try:
            placement: Placement = _adapter().validate_json(path.read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, ValidationError):
            raise PodError(
                f"{path}: can't be read, so it is not known which machine the run is on",
                "`podium pods` shows what the account runs.",
            ) from None
        return placement

    def keep(self, placement: Placement) -> Placement:
        """Write it down, whole or not at all."""
        folder = self._home.machine(placement.job_id)
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_json(folder / _FILE, _adapter().dump_python(placement, mode="json"))
        except OSError as error:
            raise PodError(f"{folder}: can't be written ({error.strerror})", "Make room there.") from None
        return placement

    def open(self) -> Iterator[Placement]:
        """Those of which a pod may bill; what can't be read is left out."""
        for folder in sorted(self._home.machines.glob("*/")):
            try:
                placement = self.of(folder.name)
            except PodError:
                continue
            if placement is not None and placement.may_bill:
                yield placement

    def gone(self, job_id: str, why: str) -> None:
        """Write down that the provider has confirmed that a job's machine is gone, if it is not yet."""
        placement = self.of(job_id)
        if placement is not None and placement.gone_at is None:
            self.keep(replace(placement, gone_at=datetime.now(UTC), ending=why))
        self.forget_key(job_id)

    def key(self, job_id: str) -> Path:
        """The private key of a job's rented machine."""
        return self._home.machine(job_id) / _KEY

    def public_key(self, job_id: str) -> str:
        """A key of the job's own, made when it is first asked for, as a line of authorized_keys.

        Raises:
            PodError: It can't be written.
        """
        path = self.key(job_id)
        try:
            made = _private_key(path, job_id)
        except OSError as error:
            raise PodError(f"{path}: can't be written ({error.strerror})", "Make room there.") from None
        return made.export_public_key("openssh").decode().strip()

    def forget_key(self, job_id: str) -> None:
        """Remove the key of a machine that is gone."""
        self.key(job_id).unlink(missing_ok=True)


def _private_key(path: Path, job_id: str) -> asyncssh.SSHKey:
    """The key in that file, made if there is none."""
    import asyncssh

    if path.exists():
        return asyncssh.read_private_key(str(path))
    made = asyncssh.generate_private_key("ssh-ed25519", comment=pod_name(job_id))
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.{os.urandom(4).hex()}")
    file = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(file, "wb") as opened:
        opened.write(made.export_private_key("openssh"))
        opened.flush()
        os.fsync(opened.fileno())
    aside.replace(path)
    return made


@cache
def _adapter() -> TypeAdapter[Any]:
    return TypeAdapter(Placement)
