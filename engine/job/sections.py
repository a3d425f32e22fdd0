"""What sections of the spec are, and those about what is said and done beside training. Ships."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Positive = Annotated[int, Field(gt=0)]
Count = Annotated[int, Field(ge=0)]
Rate = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Above = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class Section(BaseModel):
    """A section of the spec: frozen, and unknown keys are mistakes."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())


class SchemaValidator(Section):
    """A JSON Schema that an answer must fit."""

    json_schema: dict[str, Any]


class PredictionsSpec(Section):
    """What the model answers to a few prompts of the eval split, always the same ones, as it learns."""

    enabled: bool = False
    sample_count: Annotated[int, Field(gt=0, le=100)] = 5
    """Prompts; drawn once, with training.seed."""
    every: Literal["epoch", "eval"] | Positive = "eval"
    """After each epoch, after each evaluation, or every so many optimizer steps."""
    max_new_tokens: Positive = 256
    validators: tuple[Literal["json"] | SchemaValidator, ...] = ()
    """What an answer must be: `json`, or JSON that fits a schema."""


class FinishSpec(Section):
    """What is made of the best checkpoint at the end."""

    merge: bool = False
    """Also make one model of adapter and base, in model.dtype, the base without quantization."""
    push_to_hub: Annotated[str, Field(pattern=r"^[\w.-]+/[\w.-]+$")] | None = None
    """`owner/name`: push the merged model, or else the adapter or the model; the token is HF_TOKEN's."""
    hub_private: bool = True
    """Is a repository that is made for it private?"""
