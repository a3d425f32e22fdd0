"""From what the user typed to a job's spec: a job file or a template, and `--set key=value` on top."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from engine.errors import BadInput, BadSpec
from engine.job.spec import JobSpec, templates

PATHS: Final = (("dataset", "path"), ("dataset", "eval_path"))
"""Settings that name files: given on the command line, they start from the folder it was given in."""


def spec_of(given: str, changes: Iterable[str]) -> JobSpec:
    """The spec that a job file or a template makes with changes on top.

    Args:
        given: A file, or the name of a template.
        changes: `key=value` with dots between the sections of a key; values are YAML.

    Raises:
        BadSpec: Every mistake at once.
    """
    asked = nested(changes)
    if given in templates() and not Path(given).exists():
        return JobSpec.parse({"template": given, "name": given, **asked}, given, base=Path.cwd())
    if not Path(given).exists() and not Path(given).suffix:
        known = ", ".join(templates())
        raise BadSpec(given, ["is neither a file nor a template"], f"The templates are {known}.")
    return JobSpec.load(Path(given), asked)


def placed(machine: str | None) -> list[str]:
    """The changes that put a job on a machine: `local`, `runpod`, or an SSH address; none for None.

    Several SSH addresses with commas between them are as many machines, which train it together.

    Raises:
        BadInput: It is none of these.
    """
    if machine is None:
        return []
    nowhere = [*(f"pod.{name}=null" for name in ("host", "user", "port", "key")), "pod.hosts=[]"]
    if machine == "runpod":
        return [*nowhere, "pod.provider=runpod"]
    if machine == "local":
        return [*nowhere, "pod.rent=null", "pod.provider=local"]
    from engine.pods.ssh_address import SSHAddress

    if len(named := [name.strip() for name in machine.split(",") if name.strip()]) > 1:
        hosts = json.dumps([str(SSHAddress.parse(name)) for name in named])
        nodes = f"distributed.nodes={len(named)}"
        return ["pod.provider=ssh", "pod.rent=null", "pod.host=null", f"pod.hosts={hosts}", nodes]
    address = SSHAddress.parse(machine)
    given = {"host": address.host, "user": address.user, "port": address.port}
    there = [f"pod.{name}={json.dumps(value)}" for name, value in given.items()]
    return ["pod.provider=ssh", "pod.rent=null", "pod.hosts=[]", *there]


def nested(changes: Iterable[str]) -> dict[str, Any]:
    """`["training.epochs=2"]` as `{"training": {"epochs": 2}}`.

    Raises:
        BadInput: One of them is no `key=value`, or stands in another's way.
    """
    result: dict[str, Any] = {}
    for change in changes:
        key, sign, text = change.partition("=")
        parts = tuple(key.strip().split("."))
        if not sign or not all(parts):
            raise BadInput(f"--set {change}: is not key=value", "Such as --set training.epochs=2.")
        value = _value(change, text)
        if parts in PATHS and isinstance(value, str):
            value = str(Path(value).expanduser().absolute())
        section = result
        for part in parts[:-1]:
            below = section.setdefault(part, {})
            if not isinstance(below, dict):
                raise BadInput(f"--set {change}: {part} was set to a value before", "Set one or the other.")
            section = below
        section[parts[-1]] = value
    return result


def _value(change: str, text: str) -> Any:
    import yaml

    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        raise BadInput(
            f"--set {change}: the value is not YAML", "Put text with odd characters in quotes."
        ) from None
