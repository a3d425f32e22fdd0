"""A run that is about to be launched, as the fields of a dialog: spec → texts → spec, and nothing else.

A draft is a base (a template, a file, another run's spec) and the texts that the user put over it. What
was not touched stays exactly as the base has it, so that a draft of a spec without a touch is that spec.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from engine.errors import BadInput, BadSpec

if TYPE_CHECKING:
    from engine.job.spec import JobSpec

Values = Mapping[str, Any]

PLACES: Final[Mapping[str, tuple[str, ...]]] = {
    "name": ("name",),
    "model": ("model", "name"),
    "data": ("dataset", "path"),
    "eval": ("dataset", "eval_path"),
    "gpu": ("pod", "rent", "gpu"),
    "gpu_count": ("pod", "rent", "gpu_count"),
    "nodes": ("distributed", "nodes"),
    "max_hours": ("limits", "max_hours"),
    "max_cost": ("limits", "max_cost_usd"),
    "stall": ("limits", "stall_minutes"),
    "retrieve": ("limits", "retrieve_minutes"),
    "tags": ("tags",),
}
"""Fields that are one key of the spec each, and where that is."""

FIELDS: Final = ("place", *PLACES, "more")
"""All fields: `place` is where it runs, which decides what others mean; `more` is `key=value`s."""

TRAINERS: Final = ("model", "data", "eval")
"""Fields that a script has no use for."""
RENTED: Final = ("gpu", "gpu_count", "nodes")
"""Fields for machines that are rented."""

_DEFAULTS: Final = {"stall": 30, "retrieve": 30, "gpu": "auto", "gpu_count": 1, "nodes": 1}
"""What is so where the base says nothing."""
_OPTIONAL: Final = ("eval", "max_hours", "max_cost", "stall")
"""Fields that are null when they are empty."""
_NUMBERS: Final = ("max_hours", "max_cost", "stall", "retrieve", "gpu_count", "nodes")


@dataclass(frozen=True, slots=True)
class Draft:
    """What stands in the dialog.

    Args:
        source: What the base is called: a template, a file, a run.
        base: The values that it sets, templates resolved.
        folder: The folder that the base's relative paths start from.
        touched: What the user put into fields, by field.
        here: The folder that typed paths start from.
    """

    source: str = ""
    base: Values = field(default_factory=dict)
    folder: str = "."
    touched: Mapping[str, str] = field(default_factory=dict)
    here: str = "."

    def text(self, name: str) -> str:
        """What stands in a field; of machines that are not rented, as many as there are hosts."""
        if name == "nodes" and name not in self.touched and not self.rented:
            return str(max(1, sum(map(bool, map(str.strip, self.text("place").split(","))))))
        return self.touched[name] if name in self.touched else told(self.base, name)

    def put(self, name: str, text: str) -> Draft:
        """The same draft with another text in a field; the base's own text is no touch."""
        rest = {key: value for key, value in self.touched.items() if key != name}
        return replace(self, touched=rest if text == told(self.base, name) else {**rest, name: text})

    def on(self, other: Draft) -> Draft:
        """What the user put in, on another base."""
        return replace(other, touched={})._with(self.touched)

    def _with(self, texts: Mapping[str, str]) -> Draft:
        draft = self
        for name, text in texts.items():
            draft = draft.put(name, text)
        return draft

    @property
    def script(self) -> bool:
        """Is it any command, with no model and no data of ours?"""
        return self.base.get("method") == "script"

    @property
    def rented(self) -> bool:
        """Is its machine to be rented?"""
        return self.text("place").strip() == "runpod"


def of_run(name: str, config: Values, here: str) -> Draft:
    """A draft that launches a run again: its spec, but for what was learnt about its machine."""
    pod = config.get("pod")
    base = {**config}
    if isinstance(pod, Mapping) and pod.get("provider") == "runpod":
        base["pod"] = {**pod, "cost_per_hour": None}
    return Draft(source=f"run {name}", base=base, folder=here, here=here)


def told(base: Values, name: str) -> str:
    """The text that a base has in a field."""
    if name == "more":
        return ""
    if name == "place":
        return _place(base.get("pod"))
    if name in TRAINERS and base.get("method") == "script":
        return ""
    value: Any = base
    for part in PLACES[name]:
        value = value.get(part) if isinstance(value, Mapping) else None
    stated = isinstance(base.get("limits"), Mapping) and PLACES[name][-1] in base["limits"]
    if value is None and not stated:
        value = _DEFAULTS.get(name)
    return _text(value, ", " if name == "gpu" else " ")


def clouds_of(draft: Draft) -> tuple[str, ...]:
    """The clouds that a draft's base allows."""
    pod = draft.base.get("pod")
    rent = pod.get("rent") if isinstance(pod, Mapping) else None
    clouds = rent.get("clouds") if isinstance(rent, Mapping) else None
    return tuple(map(str, clouds)) if isinstance(clouds, (list, tuple)) else ("secure", "community")


def _text(value: Any, separator: str) -> str:
    if isinstance(value, (list, tuple)):
        return separator.join(map(str, value))
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    return "" if value is None else str(value)


def _place(pod: Any) -> str:
    if not isinstance(pod, Mapping) or pod.get("provider") in (None, "local"):
        return "local"
    if pod.get("provider") != "ssh":
        return str(pod.get("provider"))
    if hosts := pod.get("hosts"):
        return ", ".join(map(str, hosts)) if isinstance(hosts, (list, tuple)) else str(hosts)
    host, user, port = (pod.get(key) for key in ("host", "user", "port"))
    named = f"[{host}]" if ":" in str(host) else str(host or "")
    return f"ssh://{f'{user}@' if user else ''}{named}{f':{port}' if port else ''}"


# From the fields to a spec


@dataclass(frozen=True, slots=True)
class Resolved:
    """What the fields come to.

    Args:
        spec: The job; None while there are mistakes in it.
        mistakes: What is wrong, by field.
        others: What is wrong with keys that have no field.
    """

    spec: JobSpec | None = None
    mistakes: Mapping[str, str] = field(default_factory=dict)
    others: tuple[str, ...] = ()


def resolve(draft: Draft) -> Resolved:
    """The spec that a draft makes, or all that is wrong with it. It looks at no file."""
    from engine.job.spec import JobSpec

    mistakes: dict[str, str] = {}
    values = _values(draft, mistakes)
    try:
        spec = JobSpec.parse(values, "the spec", base=Path(draft.folder))
    except BadSpec as error:
        others = []
        for mistake in error.mistakes:
            name, words = _placed(mistake)
            if name and name not in mistakes:
                mistakes[name] = words
            elif not name:
                others.append(mistake)
        return Resolved(None, mistakes, tuple(others))
    limits = spec.limits
    if spec.pod.provider == "runpod" and limits.max_hours is None and limits.max_cost_usd is None:
        mistakes.setdefault("max_hours", "a rented machine needs a limit: hours, dollars, or both")
    return Resolved(None if set(mistakes) - {"max_hours"} else spec, mistakes)


def _placed(mistake: str) -> tuple[str, str]:
    """The field that a mistake is about, empty when it has none, and what is wrong with that."""
    found = re.match(r"(?:unknown key )?([A-Za-z_][\w.]*)(: | )?", mistake)
    parts = tuple(found[1].split(".")) if found else ()
    for name, place in (*PLACES.items(), ("place", ("pod", "host")), ("place", ("pod", "hosts"))):
        if parts[: len(place)] == place or (len(place) == 2 and parts == place[:1] and place[0] != "limits"):
            whole = found is not None and parts == place and found[2] == ": "
            return name, mistake[found.end() :] if whole and found else mistake
    return ("place", mistake.removeprefix("pod: ")) if parts == ("pod",) else ("", mistake)


def _values(draft: Draft, mistakes: dict[str, str]) -> dict[str, Any]:
    """The base with what was touched on top; what can't be read is told as a mistake."""
    from engine.job.spec import merged
    from tui.cli.settings import nested

    values = dict(draft.base)
    for name in (name for name in FIELDS if name in draft.touched):
        text = draft.touched[name].strip()
        if (name in TRAINERS and draft.script) or (name in RENTED and not draft.rented):
            continue
        try:
            if name == "place":
                values = _moved(values, text)
            elif name == "more":
                values = merged(values, nested(shlex.split(text)))
            else:
                values = merged(values, _at(PLACES[name], _value(name, text, draft)))
        except (BadInput, ValueError) as error:
            mistakes[name] = str(error).removeprefix("--set ")
    return values


def _moved(values: Values, place: str) -> dict[str, Any]:
    """The same job on another machine: what was said of the old one does not hold there."""
    from tui.cli.settings import nested, placed

    changed = nested(placed(place))
    pod = {key: value for key, value in changed["pod"].items() if value not in (None, [])}
    before = values.get("pod")
    if pod["provider"] == "runpod" and isinstance(before, Mapping) and before.get("rent"):
        pod["rent"] = before["rent"]
    moved: dict[str, Any] = {**values, "pod": pod}
    ranks = values.get("distributed")
    if isinstance(ranks, Mapping) and "nodes" in ranks:
        moved["distributed"] = {key: value for key, value in ranks.items() if key != "nodes"}
    return moved


def _value(name: str, text: str, draft: Draft) -> Any:
    if name in _OPTIONAL and not text:
        return None
    if name in ("data", "eval") and text:
        return str(Path(draft.here, Path(text).expanduser()).absolute())
    if name == "tags":
        return [tag.removeprefix("#") for tag in text.split()]
    if name == "gpu":
        return [gpu.strip() for gpu in text.split(",") if gpu.strip()]
    if name in _NUMBERS:
        return _number(text)
    return text


def _number(text: str) -> Any:
    """A number; what is none is left, for the spec says what is wrong with it."""
    read: Callable[[str], Any]
    for read in (int, float):
        try:
            return read(text)
        except ValueError:
            continue
    return text


def _at(place: tuple[str, ...], value: Any) -> dict[str, Any]:
    for part in reversed(place):
        value = {part: value}
    result: dict[str, Any] = value
    return result


def as_yaml(spec: JobSpec) -> str:
    """A spec as a job file, every setting in it."""
    import yaml

    values = spec.to_json()
    return yaml.safe_dump(values, sort_keys=False, allow_unicode=True)


def file_name(name: str) -> str:
    """What the file of a job of that name is called."""
    return (re.sub(r"[^\w.-]+", "-", name).strip("-.") or "job") + ".yaml"


def columns(row: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """A data row in words: who says what, or column and text."""
    for name, value in row.items():
        if isinstance(value, list) and value and all(isinstance(item, Mapping) for item in value):
            yield from ((str(item.get("role", name)), str(item.get("content", ""))) for item in value)
        elif isinstance(value, (str, int, float)):
            yield name, str(value)
