"""The section of a spec for method `script`: any command of the user's own, and how to read it. Ships."""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Final, Self

from pydantic import AfterValidator, Field, field_validator, model_validator

from engine.job.sections import Section

_VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_SECRET: Final = re.compile(r"(^|_)(KEY|TOKEN|SECRET|PASSWORD|PASSWD|CREDENTIALS?)$", re.IGNORECASE)
_LONGEST_PATTERN: Final = 2000

FIGURES: Final = ("epoch", "epochs", "step", "steps", "name", "value")
"""Groups of a pattern that are no metrics: where it stands, of how many; and a metric's name and value."""

EXCLUDED: Final = (
    ".git", ".hg", ".svn", "__pycache__", "*.pyc", ".venv", "venv", "node_modules", ".mypy_cache",
    ".ruff_cache", ".pytest_cache", ".DS_Store", ".env", "*.pem", "id_rsa", "id_ed25519",
)  # fmt: skip
"""What is never brought along unless `exclude` says otherwise."""


def _inside(text: str) -> str:
    """A relative path that stays inside; `.` is the place itself."""
    path = PurePosixPath(text)
    if not text or path.is_absolute() or ".." in path.parts or "\0" in text or "\n" in text:
        raise ValueError("must be a relative path without `..`")
    return str(path)


Inside = Annotated[str, AfterValidator(_inside)]
Argument = Annotated[str, Field(max_length=32_000, pattern=r"^[^\x00]*$")]


class SyncSpec(Section):
    """A file or a folder that is brought along; its path alone is short for one without `to`."""

    path: Annotated[str, Field(min_length=1)]
    """On this machine, from the spec's folder."""
    to: Inside | None = None
    """Where it goes, below the run's folder; null: where it lies from the spec's folder, or its name."""

    @model_validator(mode="before")
    @classmethod
    def _from_path(cls, value: Any) -> Any:
        return {"path": value} if isinstance(value, str) else value

    @property
    def place(self) -> str:
        """Where it goes."""
        if self.to is not None:
            return self.to
        path = PurePosixPath(self.path)
        return path.name if path.is_absolute() or ".." in path.parts else str(path)

    def relative_to(self, base: Path) -> SyncSpec:
        """The same with an absolute path, its place as it was."""
        path = str((base / Path(self.path).expanduser()).absolute())
        return self.model_copy(update={"path": path, "to": self.place})


class ScriptSpec(Section):
    """A command, what it needs, and where its figures are; for method script alone.

    All paths there are below the run's own copy of what was synced.
    """

    command: Annotated[tuple[Argument, ...], Field(min_length=1)]
    """Program and arguments, each of which arrives as it is: there is no shell."""
    folder: Inside = "."
    """Where it is started."""
    sync: tuple[SyncSpec, ...] = (SyncSpec(path="."),)
    """Code and small files: every run has a copy of its own."""
    data: tuple[SyncSpec, ...] = ()
    """Large files that are read only: runs on one machine share them."""
    exclude: tuple[Annotated[str, Field(min_length=1)], ...] = EXCLUDED
    """Names, or paths from the spec's folder, that stay here; `*` and `?` match. What is in `artifacts`
    stays here as well."""
    environment: tuple[str, ...] = ()
    """Names of variables whose values come from this machine at the start; they are written nowhere."""
    variables: dict[str, str] = Field(default_factory=dict)
    """Variables with their values; no secrets, for they stand in job.json."""
    requirements: Inside | tuple[Annotated[str, Field(min_length=1)], ...] = ()
    """A requirements file among what was synced, or what would stand in one: installed beside the
    machine's own packages, once for all runs that want the same."""
    artifacts: Inside = "artifacts"
    """The folder that it writes to, from `folder`."""
    metrics: tuple[Inside, ...] = ()
    """CSV and JSON Lines files, from `folder`; `*`, `?` and `**` match. Left out: those in `artifacts`."""
    checkpoints: tuple[Inside, ...] = ()
    """Files or folders with their epoch or step in their names, from `folder`. Left out: those in
    `artifacts` whose names begin with `checkpoint`."""
    patterns: tuple[str, ...] = ()
    """Regular expressions for log lines. Groups named `epoch`, `step`, `epochs`, `steps` say where it
    stands; every other group's name is a metric, or the groups `name` and `value` give one."""
    names: dict[str, str] = Field(default_factory=dict)
    """What the script calls a metric: what Podium does, such as `valid_nll: eval_loss`."""
    resume_variable: str = "PODIUM_RESUME_FROM"
    """The variable that holds its newest checkpoint's path when it is started again; absent at first."""

    @field_validator("command", mode="before")
    @classmethod
    def _listed(cls, command: Any) -> Any:
        if isinstance(command, str):
            raise ValueError("must be a list, such as [python, train.py]: there is no shell to split it")
        return command

    @field_validator("environment", "resume_variable", "variables")
    @classmethod
    def _variables(cls, names: Any) -> Any:
        for name in [names] if isinstance(names, str) else names:
            if not _VARIABLE.fullmatch(name):
                raise ValueError(f"{name!r} is no name of a variable")
        return names

    @field_validator("variables")
    @classmethod
    def _no_secrets(cls, variables: dict[str, str]) -> dict[str, str]:
        for name, value in variables.items():
            if _SECRET.search(name):
                raise ValueError(
                    f"a secret, as {name} seems to be, belongs in script.environment by its name"
                )
            if "\0" in value or "\n" in value:
                raise ValueError(f"the value of {name} must be one line")
        return variables

    @field_validator("patterns")
    @classmethod
    def _patterns(cls, patterns: tuple[str, ...]) -> tuple[str, ...]:
        for pattern in patterns:
            check_pattern(pattern)
        return patterns

    @model_validator(mode="after")
    def _filled(self) -> Self:
        # Frozen, so past pydantic: what reads job.json on the other side has no defaults of its own.
        inside = "" if self.artifacts == "." else f"{self.artifacts}/"
        if not self.metrics:
            found = tuple(f"{inside}**/*.{kind}" for kind in ("csv", "jsonl"))
            object.__setattr__(self, "metrics", found)
        if not self.checkpoints:
            object.__setattr__(self, "checkpoints", (f"{inside}**/checkpoint*",))
        places = [item.place for item in (*self.sync, *self.data)]
        if twice := {place for place in places if places.count(place) > 1}:
            raise ValueError(f"two things would go to {sorted(twice)[0]}")
        return self

    def relative_to(self, base: Path) -> ScriptSpec:
        """The same with its paths on this machine made absolute from `base`."""
        moved = {
            name: tuple(item.relative_to(base) for item in getattr(self, name)) for name in ("sync", "data")
        }
        return self.model_copy(update=moved)


def check_pattern(pattern: str) -> None:
    """See that a pattern compiles and tells something.

    Raises:
        ValueError: It does not.
    """
    if len(pattern) > _LONGEST_PATTERN:
        raise ValueError(f"a pattern may have {_LONGEST_PATTERN} characters")
    try:
        groups = re.compile(pattern).groupindex
    except (re.error, OverflowError, RecursionError) as error:
        raise ValueError(f"{pattern!r} is no regular expression: {error}") from None
    if not groups:
        raise ValueError(f"{pattern!r} names no group, such as (?P<val_loss>[0-9.]+)")
    if ("name" in groups) != ("value" in groups):
        raise ValueError(f"{pattern!r} needs both of the groups name and value, or neither")
