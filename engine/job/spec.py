"""The job's specification: what to train, on what, where, and within which limits. Ships.

Users write YAML; the laptop resolves it against its template and stores the result as `job.json`,
which the trainer reads. Nothing the user set is dropped, and 0 is a value.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterator, Mapping
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self, get_args

from pydantic import BaseModel, Field, ValidationError, field_validator, model_validator

from engine.errors import BadSpec
from engine.job.formats import FORMATS
from engine.job.placement import LimitsSpec, PodSpec
from engine.job.sections import (
    Above,
    Count,
    FinishSpec,
    Fraction,
    Positive,
    PredictionsSpec,
    Rate,
    Section,
)
from scorer import Weights

Method = Literal["sft", "cpt", "dpo", "orpo", "rlhf"]
Format = Literal["auto", "messages", "prompt_completion", "alpaca", "text", "preference", "prompt"]
"""What a row looks like; `engine/job/dataset.py` shows one of each."""

_PACKED: Final = ("sft", "cpt")
_PAIRED: Final = ("dpo", "orpo")

Optimizer = Literal[
    "adamw_torch",
    "adamw_torch_fused",
    "adamw_8bit",
    "paged_adamw_8bit",
    "paged_adamw_32bit",
    "adafactor",
    "lion_32bit",
    "lion_8bit",
    "paged_lion_8bit",
    "sgd",
]
"""What steps the weights; `8bit` and `paged` ones need bitsandbytes and a GPU."""

Schedule = Literal[
    "linear",
    "cosine",
    "cosine_with_restarts",
    "polynomial",
    "constant",
    "inverse_sqrt",
]
"""How the learning rate goes after the warm-up, which every one of them has."""


class BuildSpec(Section):
    """A small model made from nothing, with a byte-level BPE tokenizer trained on the data's train rows."""

    architecture: Literal["llama"] = "llama"
    vocab_size: Annotated[int, Field(ge=300)] = 1024
    hidden_size: Positive = 128
    layers: Positive = 2
    heads: Positive = 4
    intermediate_size: Positive = 336
    max_positions: Positive = 512

    @model_validator(mode="after")
    def _whole_heads(self) -> Self:
        if self.hidden_size % (2 * self.heads):
            raise ValueError(f"hidden_size must be a multiple of twice the heads ({2 * self.heads})")
        return self


class ModelSpec(Section):
    """Which model to start from."""

    name: Annotated[str, Field(min_length=1)]
    """A Hub name or a folder; with `build`, only a label."""
    revision: str | None = None
    dtype: Literal["bf16", "fp16", "fp32"] = "bf16"
    attention: Literal["auto", "eager", "sdpa", "flash_attention_2"] = "auto"
    trust_remote_code: bool = False
    chat_template: str | None = None
    """A Jinja template that replaces the tokenizer's own."""
    build: BuildSpec | None = None


class DatasetSpec(Section):
    """The data, and how it is split."""

    path: Annotated[str, Field(min_length=1)]
    eval_path: str | None = None
    format: Format = "auto"
    train_split: Annotated[float, Field(gt=0, lt=1)] = 0.95
    """The share of rows to train on where there is no eval_path."""
    split_by: str | None = None
    """A column: rows that share its value stay on one side, so that eval is honest."""
    max_samples: Positive | None = None


class LoraSpec(Section):
    """Low-rank adapters; leave the section out (null) for full fine-tuning."""

    r: Positive = 16
    alpha: Above = 32
    dropout: Fraction = 0.1
    target_modules: tuple[str, ...] = ("q_proj", "k_proj", "v_proj", "o_proj")


class QuantizationSpec(Section):
    """NF4 through bitsandbytes; leave the section out (null) to load the model as it is."""

    bits: Literal[4] = 4
    double_quantization: bool = True
    compute_dtype: Literal["bf16", "fp16", "fp32"] = "bf16"


class TrainingSpec(Section):
    """The optimisation."""

    epochs: Above = 3
    max_steps: Positive | None = None
    """Optimizer steps; wins over `epochs`."""
    learning_rate: Rate = 2e-4
    batch_size: Positive = 4
    """Rows a device and micro-step."""
    eval_batch_size: Positive | None = None
    gradient_accumulation_steps: Positive = 8
    max_length: Positive = 2048
    """Tokens; longer rows are cut."""
    packing: bool = False
    """Several rows in one sequence, none of which sees another (sft, cpt)."""
    optimizer: Optimizer = "adamw_torch"
    schedule: Schedule = "cosine"
    warmup_steps: Count = 100
    weight_decay: Rate = 0.01
    max_grad_norm: Rate = 1.0
    gradient_checkpointing: bool = True
    log_steps: Positive = 10
    eval_steps: Positive = 500
    """Steps between evaluations; each is followed by a checkpoint."""
    keep_checkpoints: Positive | None = 3
    """Checkpoints that rotation keeps besides the best and the newest; null keeps all."""
    seed: Count = 42
    early_stopping_evals: Positive | None = None
    """Stop after this many evaluations without a better score; null never does."""
    on_divergence: Literal["alert", "stop", "rollback"] = "alert"
    """When the loss rises for good or is no number: tell; or end with the best checkpoint; or go back to
    the last good one and on with half the learning rate, three times at most."""
    rehearsal: bool | None = None
    """Try the longest batch, an eval batch and a save before step 1, and leave no trace of them; null does
    so with models of 50 million weights and more: smaller ones come to all three within seconds."""


RewardName = Literal["exact_match", "contains", "similarity", "regex", "json_valid", "length", "distinct"]
"""Reward functions that ship; `engine/trainer/rewards.py` says what each gives."""

_REWARD_OPTIONS: Final[Mapping[str, tuple[str, ...]]] = {
    "exact_match": ("column",),
    "contains": ("column", "text"),
    "similarity": ("column",),
    "regex": ("pattern",),
    "json_valid": (),
    "length": ("target",),
    "distinct": (),
}
"""What each reward function can be told, besides its weight."""


class RewardSpec(Section):
    """A reward function; its name alone is short for one without options."""

    name: RewardName
    weight: Annotated[float, Field(allow_inf_nan=False)] = 1
    """The rewards of a completion are summed with these weights; a negative one punishes."""
    column: Annotated[str, Field(min_length=1)] | None = None
    """The data's column to compare with (exact_match, contains, similarity); null is `ground_truth`."""
    text: Annotated[str, Field(min_length=1)] | None = None
    """What a completion must contain, where it is the same for all rows (contains)."""
    pattern: Annotated[str, Field(min_length=1)] | None = None
    """A regular expression that must be found in the completion (regex)."""
    target: Positive | None = None
    """The wanted number of tokens (length)."""

    @model_validator(mode="before")
    @classmethod
    def _from_name(cls, value: Any) -> Any:
        return {"name": value} if isinstance(value, str) else value

    @field_validator("pattern")
    @classmethod
    def _compiles(cls, pattern: str | None) -> str | None:
        try:
            re.compile(pattern or "")
        except re.error as error:
            raise ValueError(f"is no regular expression: {error}") from None
        return pattern

    @model_validator(mode="after")
    def _options(self) -> Self:
        given = [name for name in ("column", "text", "pattern", "target") if getattr(self, name) is not None]
        known = _REWARD_OPTIONS[self.name]
        for name in given:
            if name not in known:
                raise ValueError(f"{self.name} takes no {name}")
        if len(given) > 1:
            raise ValueError(f"{self.name} takes {' or '.join(known)}, not both")
        for name in ("pattern", "target"):
            if name in known and name not in given:
                raise ValueError(f"{self.name} needs {name}")
        return self

    @property
    def needs(self) -> str | None:
        """The data's column that it reads; None when it reads none."""
        if "column" not in _REWARD_OPTIONS[self.name] or self.text is not None:
            return None
        return self.column or "ground_truth"


class RlhfSpec(Section):
    """Reinforcement learning from rewards; for method rlhf alone."""

    algorithm: Literal["grpo", "rloo", "ppo"] = "ppo"
    rewards: tuple[RewardSpec, ...] = ()
    reward_model: Annotated[str, Field(min_length=1)] | None = None
    """A Hub name or a folder: a sequence classifier with one output, added to the rewards."""
    reward_model_weight: Annotated[float, Field(allow_inf_nan=False)] = 1
    beta: Rate = 0.05
    """The price of a nat of divergence from the reference model."""
    num_generations: Annotated[int, Field(ge=2)] | None = None
    """Completions of a prompt that are compared with each other (grpo, rloo); null is 8. ppo takes one."""
    max_completion_length: Positive = 256
    """Tokens; a prompt has what this leaves of training.max_length."""
    temperature: Above = 1.0
    ppo_epochs: Positive = 4
    """Passes over the completions of one rollout."""
    clip_range: Above = 0.2
    """How far a probability ratio (of a token; for rloo of a completion) may go from 1 before it stops
    counting."""
    rollout_size: Positive | None = None
    """Prompts of one rollout and device (ppo), a multiple of batch_size · gradient_accumulation_steps;
    null is that product, so that each pass is one optimizer step."""
    value_clip: Above = 0.2
    """How far a value may go from the one at rollout before it stops counting (ppo)."""
    vf_coef: Rate = 0.1
    """The value loss's weight (ppo)."""
    entropy_coef: Rate = 0.01
    """The entropy bonus's weight (ppo, grpo)."""
    gamma: Annotated[float, Field(ge=0, le=1)] = 1.0
    """The discount of a reward one token later (ppo)."""
    lam: Annotated[float, Field(ge=0, le=1)] = 0.95
    """The λ of generalized advantage estimation (ppo)."""

    @model_validator(mode="after")
    def _rewarded(self) -> Self:
        if not self.rewards and self.reward_model is None:
            raise ValueError("needs rewards or a reward_model")
        if self.algorithm == "ppo" and self.num_generations is not None:
            raise ValueError("ppo takes one completion of each prompt: leave num_generations out")
        return self

    @property
    def columns(self) -> tuple[str, ...]:
        """The data's columns that the rewards read."""
        return tuple(dict.fromkeys(reward.needs for reward in self.rewards if reward.needs is not None))


class PreferenceSpec(Section):
    """Learning from pairs of a chosen and a rejected answer; for methods dpo and orpo alone."""

    beta: Above = 0.1
    """dpo: the price of leaving the reference model; orpo: the weight of the odds ratio beside the loss."""


class ScoreSpec(Section):
    """How checkpoints are ordered."""

    eval_loss: Rate = 0.5
    gap: Rate = 0.3
    perplexity: Rate = 0.1
    bonus: Rate = 0.1

    def weights(self) -> Weights:
        """The weights as the scorer takes them."""
        return Weights(
            eval_loss=self.eval_loss, gap=self.gap, perplexity=self.perplexity, bonus=self.bonus
        )


class JobSpec(Section):
    """A whole job.

    Raises:
        BadSpec: From `load` and `parse`: every mistake at once, unknown keys with the nearest name.
    """

    name: Annotated[str, Field(min_length=1, max_length=100)]
    method: Method = "sft"
    model: ModelSpec
    dataset: DatasetSpec
    lora: LoraSpec | None = Field(default_factory=LoraSpec)
    quantization: QuantizationSpec | None = None
    training: TrainingSpec = Field(default_factory=TrainingSpec)
    preference: PreferenceSpec | None = None
    """For dpo and orpo, which have it in any case."""
    rlhf: RlhfSpec | None = None
    predictions: PredictionsSpec = Field(default_factory=PredictionsSpec)
    finish: FinishSpec = Field(default_factory=FinishSpec)
    score: ScoreSpec = Field(default_factory=ScoreSpec)
    limits: LimitsSpec = Field(default_factory=LimitsSpec)
    pod: PodSpec = Field(default_factory=PodSpec)
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
            raise BadSpec(where, list(_mistakes(error))) from None
        return spec.relative_to(base) if base is not None else spec

    @classmethod
    def from_json(cls, path: Path) -> JobSpec:
        """Read the resolved `job.json` of a job's folder."""
        try:
            return cls.model_validate(json.loads(path.read_text(encoding="utf-8")))
        except OSError as error:
            raise BadSpec(str(path), [f"can't be read ({error.strerror})"]) from None
        except ValidationError as error:
            raise BadSpec(str(path), list(_mistakes(error))) from None
        except ValueError as error:
            raise BadSpec(str(path), [f"is not JSON: {error}"]) from None

    def to_json(self) -> dict[str, Any]:
        """The resolved spec as JSON values."""
        return self.model_dump(mode="json")

    def relative_to(self, base: Path) -> JobSpec:
        """The same spec with its local data paths made absolute from `base`."""
        dataset = self.dataset.model_copy(
            update={
                "path": str((base / Path(self.dataset.path).expanduser()).absolute()),
                "eval_path": self.dataset.eval_path
                and str((base / Path(self.dataset.eval_path).expanduser()).absolute()),
            }
        )
        return self.model_copy(update={"dataset": dataset})


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
        raise BadSpec(name, [f"no such template{_nearest(name, known)}"], "podium templates list shows them.")
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


def _mistakes(error: ValidationError) -> Iterator[str]:
    """One line a mistake, in the order of the spec."""
    for detail in error.errors(include_url=False):
        place = ".".join(str(part) for part in detail["loc"])
        if detail["type"] == "extra_forbidden":
            yield f"unknown key {place}{_nearest(str(detail['loc'][-1]), _keys_beside(detail['loc']))}"
        elif detail["type"] == "missing":
            yield f"{place} is missing"
        elif detail["type"] == "model_type":
            yield f"{place} must be a section of keys and values, not {_shown(detail['input'])}"
        else:
            message = re.sub(r"^Value error, ", "", detail["msg"])
            message = message[:1].lower() + message[1:]
            given = detail["input"]
            shown = f", not {_shown(given)}" if given is None or isinstance(given, (str, int, float)) else ""
            yield f"{place}: {message}{shown}" if place else message


def _shown(value: Any) -> str:
    """A wrong value in few words; YAML's null is what the user wrote for None."""
    if value is None:
        return "null"
    text = repr(value) if isinstance(value, (str, int, float)) else f"a {type(value).__name__}"
    return text if len(text) <= 60 else f"{text[:57]}…"


def _keys_beside(place: tuple[int | str, ...]) -> list[str]:
    """The keys that are known where an unknown one stood."""
    section: type[BaseModel] = JobSpec
    for part in place[:-1]:
        if isinstance(part, int):
            continue
        kind = section.model_fields[str(part)].annotation
        choices = [kind, *get_args(kind)]
        found = [item for item in choices if isinstance(item, type) and issubclass(item, BaseModel)]
        if not found:
            return []
        section = found[0]
    keys = list(section.model_fields)
    return [*keys, "template"] if section is JobSpec else keys


def _nearest(name: str, known: list[str]) -> str:
    """«, did you mean …?» where one of the known names is near."""
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f" (did you mean {close[0]}?)" if close else ""
