"""The sections of the spec that every method has: model, data, training, and what is made of them. Ships."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from scorer import Weights

Positive = Annotated[int, Field(gt=0)]
Count = Annotated[int, Field(ge=0)]
Rate = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Above = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class Section(BaseModel):
    """A section of the spec: frozen, and unknown keys are mistakes."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())


Format = Literal["auto", "messages", "prompt_completion", "alpaca", "text", "preference", "prompt"]
"""What a row looks like; `engine/job/dataset.py` shows one of each."""

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
    gradient_checkpointing: bool | None = None
    """Compute activations again instead of keeping them: less memory, a third more work. Null does so
    except on a GPU that has room for them."""
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
    statistics_steps: Count = 50
    """Steps between the gradient norms of each layer and the lengths of the rows; the first step has both,
    and 0 tells neither."""
    rehearsal: bool | None = None
    """Try the longest batch, an eval batch and a save before step 1, and leave no trace of them; null does
    so with models of 50 million weights and more: smaller ones come to all three within seconds."""


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
    """Also make one model of adapter and base, in bf16, the base without quantization."""
    push_to_hub: Annotated[str, Field(pattern=r"^[\w.-]+/[\w.-]+$")] | None = None
    """`owner/name`: push the merged model, or else the adapter or the model; the token is HF_TOKEN's."""
    hub_private: bool = True
    """Is a repository that is made for it private?"""


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
