"""Find a span in a sequence of tokens: four tasks on one encoder, weighted by their own uncertainty."""

from __future__ import annotations

import torch
from torch import Tensor, nn

VOCABULARY, OPEN, CLOSE = 40, 1, 2
"""Tokens; the span begins after OPEN and ends before CLOSE, unless noise has taken their places."""
NOISE = 0.1
TASKS = ("type", "ptr", "span", "countdown")
"""Is the span a long one? Where does it begin? Which tokens are inside? How many are left of it?"""


def make_data(rows: int, length: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Tokens (rows, length), where each span begins, and where it ends (inclusive)."""
    dice = torch.Generator().manual_seed(seed)
    tokens = torch.randint(3, VOCABULARY, (rows, length), generator=dice)
    starts = torch.randint(1, length // 2, (rows,), generator=dice)
    sizes = torch.randint(2, length // 4, (rows,), generator=dice)
    ends = starts + sizes
    at = torch.arange(rows)
    tokens[at, starts - 1], tokens[at, ends + 1] = OPEN, CLOSE
    # A CLOSE before the span: looking for one token alone is not enough.
    tokens[at, torch.where(starts > 2, starts - 3, length - 1)] = CLOSE
    noise = torch.rand(rows, length, generator=dice) < NOISE
    tokens[noise] = torch.randint(3, VOCABULARY, (int(noise.sum()),), generator=dice)
    return tokens, starts, ends


class SpanFinder(nn.Module):
    """A bidirectional GRU with a head for each task."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(VOCABULARY, hidden)
        self.encoder = nn.GRU(hidden, hidden, batch_first=True, bidirectional=True)
        self.heads = nn.ModuleDict({f"to_{name}": nn.Linear(2 * hidden, 1) for name in TASKS})
        self.log_sigma = nn.ParameterList(nn.Parameter(torch.zeros(())) for _ in TASKS)

    def forward(self, tokens: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Encodings (rows, length, 2·hidden), and each task's answer for each token (rows, length)."""
        encoded, _ = self.encoder(self.embedding(tokens))
        return encoded, {name: self.heads[f"to_{name}"](encoded).squeeze(-1) for name in TASKS}

    def weigh(self, losses: dict[str, Tensor]) -> Tensor:
        """The weighted sum of the tasks' losses (Kendall, Gal and Cipolla, 2018)."""
        pairs = zip(TASKS, self.log_sigma, strict=True)
        terms = [torch.exp(-2 * log_sigma) * losses[name] + log_sigma for name, log_sigma in pairs]
        return torch.stack(terms).sum()


def losses(answers: dict[str, Tensor], starts: Tensor, ends: Tensor) -> dict[str, Tensor]:
    """Each task's loss: three cross entropies, and a distance in tokens."""
    length = answers["ptr"].shape[1]
    inside = members(starts, ends, length)
    left = (ends[:, None] - torch.arange(length)).clamp(min=0).float() * inside
    long = (ends - starts >= length // 8).float()
    cross_entropy = nn.functional.binary_cross_entropy_with_logits
    return {
        "type": cross_entropy(answers["type"].mean(dim=1), long),
        "ptr": nn.functional.cross_entropy(answers["ptr"], starts),
        "span": cross_entropy(answers["span"], inside),
        "countdown": nn.functional.smooth_l1_loss(answers["countdown"] * inside, left),
    }


def members(starts: Tensor, ends: Tensor, length: int) -> Tensor:
    """1 for tokens inside their row's span, 0 for others."""
    at = torch.arange(length)
    return ((at >= starts[:, None]) & (at <= ends[:, None])).float()
