"""How large a model is, known without loading it: from its config.json, its build section, or its name."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from engine.job.sections import BuildSpec
from engine.job.spec import JobSpec


@dataclass(frozen=True, slots=True)
class Shape:
    """A decoder's sizes.

    Args:
        vocab: Tokens in the vocabulary.
        hidden: Width of the residual stream.
        layers: Decoder layers.
        heads: Attention heads.
        kv_heads: Heads of keys and values.
        head: Width of a head.
        intermediate: Width within the MLP, which is gated.
        tied: Do embedding and output share their weights?
    """

    vocab: int
    hidden: int
    layers: int
    heads: int
    kv_heads: int
    head: int
    intermediate: int
    tied: bool

    def linear(self, name: str) -> tuple[int, int]:
        """Inputs and outputs of a layer's linear module, by its name; (0, 0) for another's."""
        attention, keys = self.heads * self.head, self.kv_heads * self.head
        sizes = {
            "q_proj": (self.hidden, attention),
            "k_proj": (self.hidden, keys),
            "v_proj": (self.hidden, keys),
            "o_proj": (attention, self.hidden),
            "gate_proj": (self.hidden, self.intermediate),
            "up_proj": (self.hidden, self.intermediate),
            "down_proj": (self.intermediate, self.hidden),
        }
        return sizes.get(name, (0, 0))

    @property
    def linears(self) -> int:
        """Weights of the layers' linear modules: those that NF4 quantizes."""
        names = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
        pairs = (self.linear(name) for name in names)
        return self.layers * sum(inputs * outputs for inputs, outputs in pairs)

    @property
    def embeddings(self) -> int:
        """Weights of embedding and output."""
        return self.vocab * self.hidden * (1 if self.tied else 2)

    @property
    def weights(self) -> int:
        """All of them, norms included."""
        return self.linears + self.embeddings + (2 * self.layers + 1) * self.hidden


KNOWN: Final[Mapping[str, Shape]] = {
    "meta-llama/Llama-3.2-1B": Shape(128256, 2048, 16, 32, 8, 64, 8192, True),
    "meta-llama/Llama-3.2-3B": Shape(128256, 3072, 28, 24, 8, 128, 8192, True),
    "meta-llama/Llama-3.1-8B": Shape(128256, 4096, 32, 32, 8, 128, 14336, False),
    "meta-llama/Llama-2-7b-hf": Shape(32000, 4096, 32, 32, 32, 128, 11008, False),
    "Qwen/Qwen2.5-0.5B": Shape(151936, 896, 24, 14, 2, 64, 4864, True),
    "Qwen/Qwen2.5-1.5B": Shape(151936, 1536, 28, 12, 2, 128, 8960, True),
    "Qwen/Qwen2.5-7B": Shape(152064, 3584, 28, 28, 4, 128, 18944, False),
}
"""Models whose config.json need not be at hand; their instruct models have the same sizes."""


def shape_of(spec: JobSpec) -> Shape | None:
    """The sizes of a job's model; None where nothing here tells them."""
    if spec.method == "script":
        return None  # its model's name is but a label
    if spec.model.build is not None:
        return _built(spec.model.build)
    for path in _configs(spec.model.name):
        try:
            return _read(json.loads(path.read_bytes()))
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            continue
    return KNOWN.get(spec.model.name.removesuffix("-Instruct"))


def _built(build: BuildSpec) -> Shape:
    head = build.hidden_size // build.heads
    return Shape(
        build.vocab_size,
        build.hidden_size,
        build.layers,
        build.heads,
        build.heads,
        head,
        build.intermediate_size,
        tied=True,
    )


def _configs(name: str) -> list[Path]:
    """Where a model's config.json may lie on this machine: its folder, or the Hub's cache."""
    home = Path(os.environ.get("HF_HOME") or Path.home() / ".cache" / "huggingface")
    cache = Path(os.environ.get("HF_HUB_CACHE") or home / "hub") / f"models--{name.replace('/', '--')}"
    return [Path(name).expanduser() / "config.json", *sorted(cache.glob("snapshots/*/config.json"))]


def _read(config: dict[str, Any]) -> Shape:
    heads, hidden = int(config["num_attention_heads"]), int(config["hidden_size"])
    return Shape(
        int(config["vocab_size"]),
        hidden,
        int(config["num_hidden_layers"]),
        heads,
        int(config.get("num_key_value_heads") or heads),
        int(config.get("head_dim") or hidden // heads),
        int(config["intermediate_size"]),
        bool(config.get("tie_word_embeddings", False)),
    )
