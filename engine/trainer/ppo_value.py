"""The value head: what a completion will still earn, told from what the policy makes of it so far.

Two small causal transformer blocks on the policy's first and last hidden states, at most 256 wide: about
two million weights beside a policy of billions. A linear layer could not do: the value loss is small
beside the policy's, so weights that both share learn for the policy alone, and what earned something
earlier in the completion is not in the last hidden state. Gradients end at the hidden states, so that
the policy is what the rewards make of it. The head starts at zero everywhere.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn import functional

from engine.errors import TrainingError

Tensor = Any

NAME: Final = "value_head"
"""The submodule of the policy that it is."""

FILE: Final = "value_head.safetensors"
_WIDTH: Final = 256
_HEADS: Final = 4
_BLOCKS: Final = 2


class ValueHead(nn.Module):
    """(rows, tokens, 2 · hidden size) and their attention -> (rows, tokens) values, in fp32.

    Args:
        hidden: The policy's hidden size.
    """

    def __init__(self, hidden: int) -> None:
        super().__init__()
        width = min(_WIDTH, -(-hidden // _HEADS) * _HEADS)
        self.first = nn.LayerNorm(hidden)
        self.last = nn.LayerNorm(hidden)
        self.narrow = nn.Linear(2 * hidden, width)
        self.blocks = nn.ModuleList(_Block(width) for _ in range(_BLOCKS))
        self.norm = nn.LayerNorm(width)
        self.value = nn.Linear(width, 1)
        nn.init.zeros_(self.value.weight)
        nn.init.zeros_(self.value.bias)

    def forward(self, first: Tensor, last: Tensor, attention: Tensor) -> Tensor:
        """The values at each token, of the completion that goes on behind it."""
        tokens = attention.shape[1]
        causal = torch.ones(tokens, tokens, dtype=torch.bool, device=attention.device).tril()
        # Padding sees itself: a query without a key would be no number.
        itself = torch.eye(tokens, dtype=torch.bool, device=attention.device)
        seen = (causal & attention.bool()[:, None, :]) | itself
        with torch.autocast(last.device.type, enabled=False):
            both = self.first(first.detach().float()), self.last(last.detach().float())
            state = self.narrow(torch.cat(both, -1))
            for block in self.blocks:
                state = block(state, seen[:, None])
            return self.value(self.norm(state)).squeeze(-1)


class _Block(nn.Module):
    """A pre-norm transformer block."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.before = nn.LayerNorm(width)
        self.attention = nn.Linear(width, 3 * width)
        self.mixed = nn.Linear(width, width)
        self.between = nn.LayerNorm(width)
        self.wide = nn.Linear(width, 4 * width)
        self.narrow = nn.Linear(4 * width, width)

    def forward(self, state: Tensor, seen: Tensor) -> Tensor:
        rows, tokens, width = state.shape
        parts = self.attention(self.before(state)).view(rows, tokens, 3, _HEADS, -1).permute(2, 0, 3, 1, 4)
        query, key, value = parts
        mixed = functional.scaled_dot_product_attention(query, key, value, attn_mask=seen)
        state = state + self.mixed(mixed.transpose(1, 2).reshape(rows, tokens, width))
        return state + self.narrow(functional.gelu(self.wide(self.between(state))))


def add(model: Any, seed: int) -> None:
    """Give the model a value head as a submodule, so that the optimizer and DDP see its weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model.add_module(NAME, ValueHead(model.config.get_text_config().hidden_size))


def save(model: Any, folder: Path) -> None:
    """Write the value head beside the model's weights."""
    state = model.get_submodule(NAME).state_dict()
    contiguous = {name: value.detach().contiguous() for name, value in state.items()}
    save_file(contiguous, folder / FILE, metadata={"format": "pt"})


def load(model: Any, folder: Path) -> None:
    """Read the value head of a checkpoint.

    Raises:
        TrainingError: Of kind `model`: it is not there or does not fit.
    """
    try:
        model.get_submodule(NAME).load_state_dict(load_file(folder / FILE))
    except (OSError, SafetensorError, RuntimeError) as error:
        raise TrainingError(
            "model",
            f"{folder / FILE}: the value head can't be loaded ({str(error).splitlines()[0]})",
            "Was rlhf.algorithm or model.name changed? Start a new job.",
        ) from None
