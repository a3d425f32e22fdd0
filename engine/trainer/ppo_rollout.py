"""Rollouts: which prompts an optimizer step uses, what was said to them, and what it was worth."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from engine.errors import TrainingError

Tensor = Any


@dataclass(frozen=True, slots=True)
class MicroStep:
    """A micro-batch of one optimizer step.

    Args:
        rollout: The number of the rollout that it uses, from 0, over all epochs.
        prompts: The prompts of that rollout, places in the training data.
        minibatch: The rows of the rollout that the optimizer step uses.
        rows: Those of them that this micro-step uses.
    """

    rollout: int
    prompts: tuple[int, ...]
    minibatch: tuple[int, ...]
    rows: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """The micro-steps of an epoch, a function of seed and epoch alone: a batch sampler.

    Every rollout is used `passes` times, in another order each time. The last rollout of an epoch is
    filled up with prompts from its beginning.

    Args:
        prompts: How many there are.
        size: Prompts of a rollout.
        passes: How often each rollout is used.
        step_rows: Rows of an optimizer step.
        micro_rows: Rows of a micro-step.
        seed: Of the order.
        epoch: The epoch that comes next.
    """

    prompts: int
    size: int
    passes: int
    step_rows: int
    micro_rows: int
    seed: int
    epoch: Callable[[], int]

    @property
    def rollouts(self) -> int:
        """Rollouts of an epoch."""
        return -(-self.prompts // self.size)

    def __len__(self) -> int:
        return self.rollouts * self.passes * (self.size // self.micro_rows)

    def __iter__(self) -> Iterator[list[MicroStep]]:
        epoch = self.epoch()
        random = torch.Generator().manual_seed(self.seed + 1_000_003 * epoch)
        order = torch.randperm(self.prompts, generator=random).tolist()
        for number in range(self.rollouts):
            start = number * self.size
            chosen = tuple(order[place % self.prompts] for place in range(start, start + self.size))
            for _ in range(self.passes):
                rows = torch.randperm(self.size, generator=random).tolist()
                yield from self._pass(epoch * self.rollouts + number, chosen, rows)

    def _pass(self, rollout: int, chosen: tuple[int, ...], rows: list[int]) -> Iterator[list[MicroStep]]:
        for first in range(0, self.size, self.step_rows):
            step = tuple(rows[first : first + self.step_rows])
            for at in range(0, self.step_rows, self.micro_rows):
                yield [MicroStep(rollout, chosen, step, step[at : at + self.micro_rows])]


@dataclass(slots=True)
class Rollout:
    """Completions and all that their updates need; kept in checkpoints that fall between two rollouts.

    Args:
        number: Its number, from 0, over all epochs.
        tokens: (rows, prompt + completion tokens), prompts padded on the left, completions on the right.
        attention: The same shape: 1 on tokens, 0 on padding.
        mask: (rows, completion tokens), 1 on tokens; so are the next four shaped.
        logprobs: Under the policy at rollout, nats.
        values: By the value head at rollout.
        advantages: Whitened.
        returns: What the values should have been.
        figures: Means over the rollout, for the log.
    """

    number: int
    tokens: Tensor
    attention: Tensor
    mask: Tensor
    logprobs: Tensor
    values: Tensor
    advantages: Tensor
    returns: Tensor
    figures: dict[str, float] = field(default_factory=dict)

    def rows(self, chosen: tuple[int, ...]) -> dict[str, Tensor]:
        """The tensors of some rows."""
        places = torch.tensor(chosen, device=self.tokens.device)
        return {name: value[places] for name, value in self._tensors().items()}

    def _tensors(self) -> dict[str, Tensor]:
        named = ((item.name, getattr(self, item.name)) for item in fields(self))
        return {name: value for name, value in named if isinstance(value, torch.Tensor)}


def save(path: Path, rollout: Rollout | None, sums: dict[str, float]) -> None:
    """Write what a resume needs in the middle of a rollout or of a logging window.

    Args:
        path: The file.
        rollout: The rollout in use, if any.
        sums: The figures of the logging window so far.
    """
    tensors = rollout._tensors() if rollout is not None else {}
    notes: dict[str, Any] = {"sums": sums}
    if rollout is not None:
        notes |= {"number": rollout.number, "figures": rollout.figures}
    contiguous = {name: value.contiguous() for name, value in tensors.items()}
    save_file(contiguous, path, metadata={"podium": json.dumps(notes)})


def load(path: Path, device: Any) -> tuple[Rollout | None, dict[str, float]]:
    """What `save` wrote.

    Raises:
        TrainingError: Of kind `model`: the file is not there or holds something else.
    """
    try:
        with safe_open(str(path), framework="pt", device=str(device)) as file:
            notes = json.loads(file.metadata()["podium"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        sums = {str(name): float(value) for name, value in notes["sums"].items()}
        if not tensors:
            return None, sums
        return Rollout(number=notes["number"], figures=notes["figures"], **tensors), sums
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise TrainingError(
            "model",
            f"{path}: the rollout can't be read ({error})",
            "Was rlhf.algorithm changed? Start a new job.",
        ) from None
