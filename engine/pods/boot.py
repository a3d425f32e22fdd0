"""How a rented pod begins: the guard is its first process, and the image's start brings up sshd beside it.

The start command is a few words; all else travels in the environment, in base64, so that no quote, blank or
newline of it can be read as anything by whoever passes it on. The guard itself is a zip of the few modules
that it needs, so it guards before anything was uploaded.
"""

from __future__ import annotations

import base64
import io
import json
import zipfile
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Final, Literal

from engine.job.placement import PodSpec
from engine.job.spec import JobSpec

Volume = Literal["none", "persistent", "network"]
"""What Podium's folder is on: the container's disk, one that survives a stop, one that outlives the pod."""

GUARD: Final = (
    "engine/__init__.py",
    "engine/errors.py",
    "engine/job/__init__.py",
    "engine/job/events.py",
    "engine/job/folder.py",
    "engine/supervisor/__init__.py",
    "engine/supervisor/clock.py",
    "engine/supervisor/ending.py",
    "engine/supervisor/guard.py",
    "engine/supervisor/guarded.py",
    "engine/supervisor/limits.py",
    "engine/supervisor/locks.py",
    "engine/supervisor/process.py",
)
"""The modules that the guard needs; they import nothing else but the standard library."""

MOUNT: Final = "/workspace"
"""Where a volume is mounted, as `CreateRequest.mount_path` has it."""
ARGS: Final = "bash -c 'echo $PODIUM_START | base64 -d >/tmp/podium-start; exec bash /tmp/podium-start'"
"""The start command: every other character is in the environment."""

_MAIN: Final = b"import sys\nfrom engine.supervisor.guard import main\nsys.exit(main())\n"
_START: Final = """\
# Process 1 of the pod. It never leaves: a guard that died is started again.
umask 077
echo $PODIUM_GUARD | base64 -d >/tmp/podium-guard.zip
if [ -x "$PODIUM_IMAGE_START" ]; then
    "$PODIUM_IMAGE_START" &
else
    mkdir -p ~/.ssh /run/sshd
    echo "$PUBLIC_KEY" >>~/.ssh/authorized_keys
    ssh-keygen -A
    "$(command -v sshd || echo /usr/sbin/sshd)"
fi
leave() {
    trap '' TERM INT
    [ -n "$guard" ] || { "$PODIUM_PYTHON" -I /tmp/podium-guard.zip & guard=$!; sleep 1; }
    kill -TERM "$guard" && wait "$guard"
    exit 0
}
trap leave TERM INT
deaths=0
while true; do
    "$PODIUM_PYTHON" -I /tmp/podium-guard.zip &
    guard=$!
    wait "$guard"
    guard=
    deaths=$((deaths + 1))
    # A machine on which no guard can live is ended by the vendor's own tool, if it is there.
    [ "$deaths" -ge 120 ] && runpodctl pod stop "$RUNPOD_POD_ID"
    sleep "${PODIUM_RESTART_SECONDS:-5}"
done
"""


@dataclass(frozen=True, slots=True)
class Boot:
    """What a pod is created with.

    Args:
        args: Its start command, `CreateRequest.args`.
        env: What the environment must have besides the public key, part of `CreateRequest.env`.
    """

    args: str
    env: dict[str, str] = field(repr=False)


def boot(
    spec: JobSpec,
    *,
    job_id: str,
    cost_per_hour: float | None,
    least_per_hour: float = 0.0,
    root: str | None = None,
    python: str | None = None,
    image_start: str = "/start.sh",
    provider_url: str = "https://api.runpod.io",
    grace_minutes: float = 30,
    timing: dict[str, float] | None = None,
) -> Boot:
    """The start command and environment that make the guard a pod's first process.

    The public key is not part of it: `CreateRequest.public_key` puts it where either start takes it.

    Args:
        spec: The job's; its limits are the pod's.
        job_id: The job's.
        cost_per_hour: Dollars for the whole pod, as confirmed: counts until the provider says what it bills.
        least_per_hour: What the cheapest candidate costs: no lower bill is believed.
        root: Podium's folder there; None is the spec's. The disk that it is on decides how the pod is ended.
        python: The Python there, 3.11 or newer; None is the spec's.
        image_start: The image's own start script, which brings up sshd; without one ours does.
        provider_url: Where the provider's API is.
        grace_minutes: How long the pod may wait for its job while nothing arrives.
        timing: Other times than the guard's own, seconds, by their names in `engine.supervisor.guard.Pace`.
    """
    limits, root = spec.limits.model_dump(mode="json"), root or spec.pod.folder
    told = {
        "job": job_id,
        "root": root,
        "volume": _kept_by(spec, root),
        "provider": provider_url,
        "grace_minutes": grace_minutes,
        "least_per_hour": least_per_hour,
        "pace": timing or {},
        "spec": {"limits": limits, "pod": {"provider": "runpod", "cost_per_hour": cost_per_hour}},
    }
    return Boot(
        ARGS,
        {
            "PODIUM_START": _encoded(_START.encode()),
            "PODIUM_GUARD": _encoded(program()),
            "PODIUM_POD": _encoded(json.dumps(told).encode()),
            "PODIUM_PYTHON": python or spec.pod.python,
            "PODIUM_IMAGE_START": image_start,
        },
    )


def _kept_by(spec: JobSpec, root: str) -> Volume:
    """The disk that Podium's folder is on; a cluster's pods can't be stopped, and so have none to keep."""
    volume = volume_of(spec.pod, root)
    return "none" if spec.distributed.nodes > 1 and volume == "persistent" else volume


def volume_of(pod: PodSpec, root: str) -> Volume:
    """The disk that a folder of the rented machine is on."""
    rent = pod.rent
    if rent is None or not PurePosixPath(root).is_relative_to(MOUNT):
        return "none"
    if rent.network_volume is not None:
        return "network"
    return "persistent" if rent.volume_gb is not None else "none"


@cache
def program(root: Path | None = None) -> bytes:
    """The guard as a zip that Python runs; the same files give the same bytes.

    Args:
        root: The folder that holds the packages; by default the one that this file comes from.
    """
    root = root or Path(__file__).parents[2]
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        archive.writestr(zipfile.ZipInfo("__main__.py"), _MAIN)
        for name in GUARD:
            item = zipfile.ZipInfo(name)
            item.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(item, (root / name).read_bytes())
    return packed.getvalue()


def _encoded(data: bytes) -> str:
    return base64.b64encode(data).decode()
