"""Before a job starts: its data is checked, its row is made, its folder is laid out. Blocking."""

from __future__ import annotations

import os
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from engine.errors import BadDataset, BadInput, PodError
from engine.home import Home
from engine.job import dataset
from engine.job.dataset import Dataset
from engine.job.events import Status
from engine.job.folder import JobFolder, write_json
from engine.job.scripting import ScriptSpec
from engine.job.spec import JobSpec
from engine.pods import luggage
from engine.pods.attached import FILES
from engine.pods.luggage import Item
from engine.pods.replay import Recording, prepare
from engine.pods.ssh_address import SSHAddress
from engine.records import Job


@dataclass(frozen=True, slots=True)
class Data:
    """A job's checked data.

    Args:
        train: The rows to train on, or to split; a script has none that we read.
        eval: The rows to evaluate on, where the user gave some.
        luggage: What a script brings along.
    """

    train: Dataset | None
    eval: Dataset | None
    luggage: Sequence[Item] = ()

    @property
    def size(self) -> int:
        """Bytes that a script's own copy takes."""
        return sum(item.bytes for item in self.luggage if not item.shared)

    @property
    def warnings(self) -> list[str]:
        """What is suspicious about the data but can be trained on, one line each."""
        return dataset.warnings_of(self.train, self.eval) if self.train is not None else []


def check(spec: JobSpec) -> Data:
    """Read the data as the trainer will, so that what it would refuse is refused here and now.

    Of a script's, see that all it brings along is there.

    Raises:
        BadDataset: It can't be trained on.
        BadInput: A file, or a variable, that a script wants is not there; or a model is not where the job is.
    """
    if spec.script is not None:
        return Data(None, None, _script(spec.script))
    if spec.pod.provider == "local" and spec.distributed.nodes > 1:
        raise BadInput(
            f"distributed.nodes is {spec.distributed.nodes}, and this machine is one",
            "Name them, --on ssh://a,ssh://b, or rent them, --on runpod.",
        )
    _check_models(spec)
    wanted: Any = {"method": spec.method, "columns": spec.columns}
    train = dataset.read(
        Path(spec.dataset.path), spec.dataset.format, limit=spec.dataset.max_samples, **wanted
    )
    if spec.dataset.eval_path is None:
        dataset.split(train, spec.dataset, spec.training.seed)
        return Data(train, None)
    held_out = dataset.read(Path(spec.dataset.eval_path), train.format, **wanted)
    if not dataset.without(train.rows, held_out.rows, train.format):
        raise BadDataset(
            spec.dataset.eval_path, ["holds every training row"], "Give rows of its own to evaluate on."
        )
    return Data(train, held_out)


def _script(script: ScriptSpec) -> list[Item]:
    missing = [name for name in script.environment if name not in os.environ]
    if missing:
        raise BadInput(f"script.environment names {', '.join(missing)}, not set here", "Export it first.")
    return luggage.packed(script)


def _check_models(spec: JobSpec) -> None:
    """See that no model is a folder of this machine while the job runs on another.

    Raises:
        BadInput: One is.
    """
    if spec.pod.provider == "local":
        return
    named = {"model.name": None if spec.model.build is not None else spec.model.name}
    named["rlhf.reward_model"] = spec.rlhf.reward_model if spec.rlhf is not None else None
    for key, name in named.items():
        if name is not None and (name.startswith((".", "~")) or Path(name).is_dir()):
            place = spec.pod.host or ", ".join(spec.pod.hosts) or "a rented machine"
            raise BadInput(
                f"{key}: {name} is a folder on this machine, and the job is to run on {place}",
                "Name a model of the Hub, or a folder that lies on that machine alone.",
            )


def new_job(home: Home, spec: JobSpec) -> Job:
    """The row of a job that is about to start."""
    job_id, script = str(uuid.uuid4()), spec.script is not None
    return Job(
        id=job_id,
        name=spec.name,
        status=Status.QUEUED,
        created_at=datetime.now(UTC),
        model_name=spec.model.name,
        base_model=spec.model.name,
        dataset_path=None if script else spec.dataset.path,
        method=spec.method,
        config=spec.to_json(),
        learning_rate=None if script else spec.training.learning_rate,
        batch_size=None if script else spec.training.batch_size,
        gradient_accumulation_steps=None if script else spec.training.gradient_accumulation_steps,
        provider=spec.pod.provider,
        pod_id=_pod_id(spec),
        cost_per_hour=spec.pod.cost_per_hour,
        job_dir=str(home.job(job_id).path),
        tags=spec.tags,
    )


def _pod_id(spec: JobSpec) -> str | None:
    """Where an SSH machine is: its key is pinned by that."""
    pod = spec.pod
    if pod.hosts:
        return ", ".join(pod.hosts)
    return str(SSHAddress(pod.host, pod.user, pod.port)) if pod.host is not None else None


def lay_out(folder: JobFolder, spec: JobSpec, data: Data) -> None:
    """Write a job's folder; job.json comes last, so a folder that has one is complete.

    Raises:
        PodError: It can't be written.
    """
    try:
        folder.create()
        if data.train is None:
            luggage.lay_out(folder, data.luggage, here=spec.pod.provider == "local")
        else:
            dataset.write_jsonl(data.train.rows, folder.dataset)
        if data.eval is not None:
            dataset.write_jsonl(data.eval.rows, folder.eval_dataset)
        write_json(folder.spec, sent(spec))
    except OSError as error:
        raise unwritable(folder, error) from None


def sent(spec: JobSpec) -> dict[str, Any]:
    """The spec as job.json has it. It travels to the pod: which key opens that is this machine's affair."""
    values = spec.to_json()
    del values["pod"]["key"]
    return values


def new_replay(home: Home, recording: Recording, name: str | None) -> Job:
    """The row of a recorded run that is about to be played."""
    spec: Mapping[str, Any] = recording.spec
    model = spec.get("model")
    model_name = model.get("name") if isinstance(model, Mapping) else None
    job_id = str(uuid.uuid4())
    return Job(
        id=job_id,
        name=name or str(spec.get("name") or recording.path.name)[:100],
        status=Status.QUEUED,
        created_at=datetime.now(UTC),
        model_name=model_name,
        base_model=model_name,
        method=spec.get("method"),
        config=spec,
        metadata={"replay": True, "recording": str(recording.path)},
        provider="local",
        cost_per_hour=0.0,
        job_dir=str(home.job(job_id).path),
        tags=("replay",),
    )


def lay_out_replay(folder: JobFolder, recording: Recording, speed: float) -> None:
    """Write the folder of a recorded run that is about to be played; job.json comes last.

    Raises:
        PodError: It can't be written.
    """
    try:
        prepare(folder, recording.path, speed)
        write_json(folder.spec, recording.spec)
    except OSError as error:
        raise unwritable(folder, error) from None


@dataclass(frozen=True, slots=True)
class Attachment:
    """Somebody else's run that is to be watched.

    Args:
        name: What to call it.
        address: The machine that it is on; None for this one.
        root: The folder there that paths start from.
        log: Its log; None for none.
        globs: Its CSV and JSON Lines files.
        patterns: Regular expressions for log lines.
        python: The Python there.
        over_seconds: How long it is silent after the last epoch that it told of until it is over.
    """

    name: str
    address: SSHAddress | None = None
    root: str = "."
    log: str | None = None
    globs: tuple[str, ...] = ()
    patterns: tuple[str, ...] = ()
    python: str = "python3"
    over_seconds: float = 60


def new_attached(home: Home, wanted: Attachment) -> Job:
    """The row of a run that is about to be watched."""
    job_id, address = str(uuid.uuid4()), wanted.address
    pod: dict[str, Any] = {"provider": "ssh" if address else "local", "python": wanted.python}
    if address is not None:
        pod |= {"host": address.host, "user": address.user, "port": address.port, "key": address.key}
    return Job(
        id=job_id,
        name=wanted.name,
        status=Status.QUEUED,
        created_at=datetime.now(UTC),
        model_name=wanted.name,
        base_model=wanted.name,
        method="attached",
        config={"name": wanted.name, "method": "attached", "pod": pod, "attach": _attach(wanted)},
        metadata={"attached": True},
        provider=pod["provider"],
        pod_id=str(address) if address is not None else None,
        job_dir=str(home.job(job_id).path),
        tags=("attached",),
    )


def _attach(wanted: Attachment) -> dict[str, Any]:
    return {
        "root": wanted.root,
        "log": wanted.log,
        "globs": list(wanted.globs),
        "patterns": list(wanted.patterns),
        "over_seconds": wanted.over_seconds,
        "metrics": ["**/*"],  # all that is mirrored was asked for
    }


def lay_out_attached(folder: JobFolder, job: Job) -> None:
    """Write the folder of a run that is about to be watched; job.json comes last.

    Raises:
        PodError: It can't be written.
    """
    try:
        folder.create()
        (folder.path / FILES).mkdir(exist_ok=True)
        write_json(folder.spec, job.config)
    except OSError as error:
        raise unwritable(folder, error) from None


def unwritable(folder: JobFolder, error: OSError) -> PodError:
    """The error that says why a job's folder can't be written."""
    advice = "Free some space, or set PODIUM_HOME to a folder on another disk."
    return PodError(f"{error.filename or folder.path}: can't be written ({error.strerror})", advice)
