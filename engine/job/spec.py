"""The job's specification: what to train, on what, where, and within which limits. Ships.

Users write YAML; the laptop resolves it against its template and stores the result as `job.json`,
which the trainer reads. Nothing the user set is dropped, and 0 is a value.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

from pydantic import Field, ValidationError, field_validator, model_validator

from engine.errors import BadSpec
from engine.job.formats import FORMATS
from engine.job.judging import CriteriaSpec, PanelSpec
from engine.job.mistakes import mistakes, nearest
from engine.job.placement import DistributedSpec, LimitsSpec, PodSpec
from engine.job.rewarding import PreferenceSpec, RlhfSpec
from engine.job.scripting import ScriptSpec
from engine.job.sections import (
    DatasetSpec,
    FinishSpec,
    LoraSpec,
    ModelSpec,
    PredictionsSpec,
    QuantizationSpec,
    ScoreSpec,
    Section,
    TrainingSpec,
)

Method = Literal["sft", "cpt", "dpo", "orpo", "rlhf"]
"""What Podium's own trainer does."""
_PACKED: Final = ("sft", "cpt")
_PAIRED: Final = ("dpo", "orpo")
_TRAINERS: Final = (
    "dataset", "lora", "quantization", "training", "preference", "rlhf", "predictions", "finish",
)  # fmt: skip
"""Sections for our own trainer: a script has its arguments instead."""


class JobSpec(Section):
    """A whole job.

    Raises:
        BadSpec: From `load` and `parse`: every mistake at once, unknown keys with the nearest name.
    """

    name: Annotated[str, Field(min_length=1, max_length=100)]
    method: Literal["sft", "cpt", "dpo", "orpo", "rlhf", "script"] = "sft"
    model: ModelSpec
    dataset: DatasetSpec
    lora: LoraSpec | None = Field(default_factory=LoraSpec)
    quantization: QuantizationSpec | None = None
    training: TrainingSpec = Field(default_factory=TrainingSpec)
    preference: PreferenceSpec | None = None
    """For dpo and orpo, which have it in any case."""
    rlhf: RlhfSpec | None = None
    script: ScriptSpec | None = None
    """For method script: any command."""
    predictions: PredictionsSpec = Field(default_factory=PredictionsSpec)
    finish: FinishSpec = Field(default_factory=FinishSpec)
    score: ScoreSpec = Field(default_factory=ScoreSpec)
    limits: LimitsSpec = Field(default_factory=LimitsSpec)
    distributed: DistributedSpec = Field(default_factory=DistributedSpec)
    pod: PodSpec = Field(default_factory=PodSpec)
    criteria: CriteriaSpec | None = None
    """What it is to reach; for any method."""
    panels: tuple[PanelSpec, ...] = ()
    """Metrics that the Job screen shows together."""
    tags: tuple[str, ...] = ()

    @field_validator("name")
    @classmethod
    def _printable(cls, name: str) -> str:
        if not name.isprintable():
            raise ValueError("must be one line of printable characters")
        return name

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.quantization is not None and self.lora is None:
            raise ValueError("quantization needs lora: a 4-bit model can't be trained in full")
        if self.quantization is not None and self.model.build is not None:
            raise ValueError("quantization can't be used with model.build")
        if self.finish.merge and self.lora is None:
            raise ValueError("finish.merge needs lora: without it the model is whole already")
        if self.method == "script":
            return self
        if self.dataset.format not in ("auto", *FORMATS[self.method]):
            known = " or ".join(FORMATS[self.method])
            raise ValueError(f"method {self.method} takes data of format {known}")
        if self.training.packing and self.method not in _PACKED:
            raise ValueError(f"training.packing is not for method {self.method}, only for sft and cpt")
        return self

    @model_validator(mode="before")
    @classmethod
    def _with_preference(cls, values: Any) -> Any:
        paired = isinstance(values, Mapping) and values.get("method") in _PAIRED
        return {**values, "preference": {}} if paired and values.get("preference") is None else values

    @model_validator(mode="before")
    @classmethod
    def _as_script(cls, values: Any) -> Any:
        """A script's model is but a label, and it brings its own data."""
        if not isinstance(values, Mapping) or values.get("method") != "script":
            return values
        for name in _TRAINERS:
            if values.get(name) is not None:
                raise ValueError(f"the section {name} is not for method script: its command takes arguments")
        known = {"lora": None, "dataset": {"path": "."}, "model": {"name": values.get("name")}}
        return {**values, **{name: known[name] for name in known if values.get(name) is None}}

    @model_validator(mode="after")
    def _script_consistent(self) -> Self:
        if self.method == "script" and self.script is None:
            raise ValueError("method script needs the section script")
        if self.method != "script" and self.script is not None:
            raise ValueError(f"the section script is not for method {self.method}")
        return self

    @model_validator(mode="before")
    @classmethod
    def _as_many(cls, values: Any) -> Any:
        """Hosts say how many machines there are, where nothing else does."""
        if not isinstance(values, Mapping):
            return values
        pod, ranks = values.get("pod"), values.get("distributed") or {}
        hosts = pod.get("hosts") if isinstance(pod, Mapping) else None
        if not isinstance(hosts, (list, tuple)) or not hosts or not isinstance(ranks, Mapping):
            return values
        return values if "nodes" in ranks else {**values, "distributed": {**ranks, "nodes": len(hosts)}}

    @model_validator(mode="after")
    def _machines_consistent(self) -> Self:
        nodes, pod = self.distributed.nodes, self.pod
        if pod.provider == "ssh" and nodes != (there := len(pod.hosts) or 1):
            raise ValueError(f"distributed.nodes is {nodes}, and pod.hosts names {there}")
        if nodes > 1 and self.method == "script":
            raise ValueError("a script runs on one machine: distributed.nodes is for Podium's own trainer")
        if nodes > 1 and pod.rent is not None and pod.rent.backend == "sdk":
            raise ValueError("several machines are rented with pod.rent.backend rest, not sdk")
        return self

    @model_validator(mode="after")
    def _preference_consistent(self) -> Self:
        if self.method not in _PAIRED and self.preference is not None:
            raise ValueError(f"the section preference is not for method {self.method}")
        return self

    @model_validator(mode="after")
    def _rlhf_consistent(self) -> Self:
        if self.method != "rlhf":
            if self.rlhf is not None:
                raise ValueError(f"the section rlhf is not for method {self.method}")
            return self
        if self.rlhf is None:
            raise ValueError("method rlhf needs the section rlhf")
        if self.rlhf.max_completion_length >= self.training.max_length:
            raise ValueError("rlhf.max_completion_length must be below training.max_length")
        step = self.training.batch_size * self.training.gradient_accumulation_steps
        if self.rlhf.rollout_size is not None and self.rlhf.rollout_size % step:
            raise ValueError(
                f"rlhf.rollout_size must be a multiple of batch_size · gradient_accumulation_steps ({step})"
            )
        group = (self.rlhf.num_generations or 8) if self.rlhf.algorithm != "ppo" else 1
        if step % group:
            raise ValueError(
                f"batch_size · gradient_accumulation_steps ({step}) must be a multiple of "
                f"rlhf.num_generations ({group})"
            )
        return self

    @property
    def columns(self) -> tuple[str, ...]:
        """The data's columns that are needed besides those of its format."""
        return self.rlhf.columns if self.rlhf is not None else ()

    @classmethod
    def load(cls, path: Path, changes: Mapping[str, Any] | None = None) -> JobSpec:
        """Read a YAML file.

        Relative data paths are taken from the file's folder.

        Args:
            path: The file.
            changes: What is to be set otherwise than the file says.

        Raises:
            BadSpec: Its mistakes, or why it can't be read.
        """
        import yaml

        try:
            values = yaml.safe_load(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise BadSpec(str(path), [f"can't be read ({error.strerror})"]) from None
        except UnicodeDecodeError:
            raise BadSpec(str(path), ["is not UTF-8 text"]) from None
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark
            line = f"line {mark.line + 1}: " if mark else ""
            raise BadSpec(str(path), [f"{line}is not YAML: {error.problem}"]) from None
        except (yaml.YAMLError, RecursionError) as error:
            reason = (str(error).splitlines() or [""])[0]
            raise BadSpec(str(path), [f"is not YAML: {reason}"]) from None
        if isinstance(values, Mapping) and changes:
            values = merged(values, changes)
        return cls.parse(values, str(path), base=path.parent)

    @classmethod
    def parse(cls, values: Any, where: str, base: Path | None = None) -> JobSpec:
        """Resolve what a user wrote against its template.

        Args:
            values: The mapping that the user wrote; `template: NAME` may name the template to start from.
            where: What to call it in errors.
            base: The folder that relative data paths start from; None leaves them.
        """
        if not isinstance(values, Mapping):
            raise BadSpec(where, ["must be a mapping of sections, such as model, dataset, training"])
        values = dict(values)
        if (template := values.pop("template", None)) is not None:
            values = merged(template_values(str(template)), values)
        try:
            spec = cls.model_validate(values)
        except ValidationError as error:
            raise BadSpec(where, list(mistakes(error, cls))) from None
        return spec.relative_to(base) if base is not None else spec

    @classmethod
    def from_json(cls, path: Path) -> JobSpec:
        """Read the resolved `job.json` of a job's folder."""
        try:
            return cls.model_validate(json.loads(path.read_text(encoding="utf-8")))
        except OSError as error:
            raise BadSpec(str(path), [f"can't be read ({error.strerror})"]) from None
        except ValidationError as error:
            raise BadSpec(str(path), list(mistakes(error, cls))) from None
        except ValueError as error:
            raise BadSpec(str(path), [f"is not JSON: {error}"]) from None

    def to_json(self) -> dict[str, Any]:
        """The resolved spec as JSON values."""
        left_out = {*_TRAINERS} if self.method == "script" else None
        return self.model_dump(mode="json", exclude=left_out)

    def relative_to(self, base: Path) -> JobSpec:
        """The same spec with its local paths made absolute from `base`."""
        if self.script is not None:
            return self.model_copy(update={"script": self.script.relative_to(base)})
        dataset = self.dataset.model_copy(
            update={
                "path": str((base / Path(self.dataset.path).expanduser()).absolute()),
                "eval_path": self.dataset.eval_path
                and str((base / Path(self.dataset.eval_path).expanduser()).absolute()),
            }
        )
        model = self.model.model_copy(update={"name": _folder(base, self.model.name)})
        update: dict[str, Any] = {"dataset": dataset, "model": model}
        if self.rlhf is not None and self.rlhf.reward_model is not None:
            judge = {"reward_model": _folder(base, self.rlhf.reward_model)}
            update["rlhf"] = self.rlhf.model_copy(update=judge)
        return self.model_copy(update=update)


def _folder(base: Path, name: str) -> str:
    """A model's name; what begins with a dot or a tilde is a folder, seen from `base`."""
    if not name.startswith(("./", "../", "~/")):
        return name
    return os.path.normpath((base / Path(name).expanduser()).absolute())


def templates() -> list[str]:
    """The names of the templates that ship."""
    folder = resources.files("engine.job") / "templates"
    return sorted(item.name.removesuffix(".yaml") for item in folder.iterdir() if item.name.endswith(".yaml"))


def template_values(name: str) -> dict[str, Any]:
    """What a template sets.

    Raises:
        BadSpec: No template has that name.
    """
    import yaml

    known = templates()
    if name not in known:
        raise BadSpec(name, [f"no such template{nearest(name, known)}"], "podium templates list shows them.")
    text = (resources.files("engine.job") / "templates" / f"{name}.yaml").read_text(encoding="utf-8")
    values: dict[str, Any] = yaml.safe_load(text)
    return values


def merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Two nested mappings as one; what is above wins, and None above removes a section."""
    result = dict(below)
    for key, value in above.items():
        under = result.get(key)
        if isinstance(under, Mapping) and isinstance(value, Mapping):
            value = merged(under, value)
        result[key] = value
    return result
