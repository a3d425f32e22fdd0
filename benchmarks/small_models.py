"""Many tiny language models, fine-tuned side by side, with their true test losses known exactly.

A language is a second-order Markov chain over 12 symbols. A base model (three symbols of context, an
embedding, one hidden layer) learns a base language; each run then fine-tunes it on a small sample of a
relative of that language, fully or through low-rank adapters, with its own amount of data, learning rate,
label noise and size of the eval split. A test loss is the expectation over all 1,728 contexts, so it has
no sampling error: in distribution over the very process that the data came from, under domain shift over
another relative of the base language mixed with the base itself.

All runs of a batch share one set of batched matrices: 64 models train in the time of a few.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, dropout, relu

SYMBOLS, CONTEXT, EMBEDDING, HIDDEN, RANK = 12, 3, 8, 128, 4
RUNS, STEPS, EVERY, BATCH = 64, 480, 24, 32
SEQUENCES, LENGTH = 256, 32
"""Of the largest training set: 8,192 symbols; the eval split has at most 1,024."""

EXAMPLES = (512, 2048, 8192)
LEARNING_RATES = (3e-4, 1e-3, 3e-3)
LABEL_NOISE = (0.0, 0.1, 0.25)
EVAL_EXAMPLES = (64, 256, 1024)

Parameters = dict[str, Tensor]


@dataclass(slots=True)
class Run:
    """What one fine-tuning logged and what its checkpoints are truly worth, nats a symbol."""

    seed: int
    adapters: bool
    examples: int
    learning_rate: float
    label_noise: float
    eval_examples: int
    steps: list[int] = field(default_factory=list)
    train: list[float] = field(default_factory=list)
    eval: list[float] = field(default_factory=list)
    test: dict[str, list[float]] = field(default_factory=dict)
    averaged: dict[tuple[str, str], float] = field(default_factory=dict)
    """(rule, kind of test) -> the test loss of the mean of three checkpoints' weights."""


def relatives(base: Tensor, count: int, distance: float, generator: torch.Generator) -> Tensor:
    """(count, S, S) random directions away from the logits of a base language."""
    return base + distance * torch.randn(count, *base.shape, generator=generator)


def context_weights(language: Tensor) -> Tensor:
    """(runs, S²·S) probability of each context of three under (runs, S, S, S) chains."""
    pairs = torch.full(language.shape[:3], 1.0 / SYMBOLS**2)
    for _ in range(60):
        pairs = torch.einsum("rab,rabc->rbc", pairs, language)
    return torch.einsum("rab,rabc->rabc", pairs, language).reshape(len(language), -1)


def sample(language: Tensor, sequences: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Contexts (runs, n, 3) and next symbols (runs, n) of freshly drawn sequences."""
    runs = len(language)
    rows = torch.arange(runs)[:, None].expand(runs, sequences)
    symbols = torch.randint(SYMBOLS, (runs, sequences, 2), generator=generator)
    drawn = [symbols[..., 0], symbols[..., 1]]
    for _ in range(20 + CONTEXT + LENGTH):
        chances = language[rows, drawn[-2], drawn[-1]].reshape(-1, SYMBOLS)
        drawn.append(torch.multinomial(chances, 1, generator=generator).reshape(runs, sequences))
    settled = torch.stack(drawn[-(CONTEXT + LENGTH) :], dim=-1)
    contexts = settled.unfold(-1, CONTEXT, 1)[..., :LENGTH, :]
    return contexts.reshape(runs, -1, CONTEXT), settled[..., CONTEXT:].reshape(runs, -1)


def logits(parameters: Parameters, contexts: Tensor, training: bool = False) -> Tensor:
    """(runs, n, S) from contexts (runs, n, 3); the parameters of each run are its own."""
    runs = len(contexts)
    rows = torch.arange(runs)[:, None, None]
    inputs = parameters["embedding"][rows, contexts].flatten(2)
    hidden = relu(torch.baddbmm(parameters["bias_in"][:, None], inputs, parameters["in"]))
    hidden = dropout(hidden, 0.1, training)
    return torch.baddbmm(parameters["bias_out"][:, None], hidden, parameters["out"])


def merged(parameters: Parameters, base: Parameters) -> Parameters:
    """The weights that a checkpoint stands for: adapters are multiplied out onto their base."""
    if "in_a" not in parameters:
        return {name: value.detach().clone() for name, value in parameters.items()}
    full = {name: value.clone() for name, value in base.items()}
    for name in ("in", "out"):
        full[name] = (base[name] + parameters[f"{name}_a"] @ parameters[f"{name}_b"]).detach()
    return full


def trainable(base: Parameters, adapters: bool, generator: torch.Generator) -> Parameters:
    """What is trained: everything, or low-rank factors of which the second starts at zero."""
    if not adapters:
        return {name: value.clone() for name, value in base.items()}
    found: Parameters = {}
    for name in ("in", "out"):
        runs, rows, columns = base[name].shape
        found[f"{name}_a"] = torch.randn(runs, rows, RANK, generator=generator) / math.sqrt(rows)
        found[f"{name}_b"] = torch.zeros(runs, RANK, columns)
    return found


class Adam:
    """Adam with a learning rate for each run; a constant schedule after 20 warm-up steps."""

    def __init__(self, parameters: Parameters, rates: Tensor) -> None:
        self.parameters, self.rates, self.count = parameters, rates, 0
        self.state = {name: (torch.zeros_like(p), torch.zeros_like(p)) for name, p in parameters.items()}

    @torch.no_grad()
    def step(self, gradients: dict[str, Tensor]) -> None:
        self.count += 1
        rates = self.rates * min(1.0, self.count / 20)
        for name, gradient in gradients.items():
            mean, square = self.state[name]
            mean.lerp_(gradient, 0.1)
            square.lerp_(gradient**2, 0.001)
            update = (mean / (1 - 0.9**self.count)) / ((square / (1 - 0.999**self.count)).sqrt() + 1e-8)
            self.parameters[name].sub_(rates.view(-1, *[1] * (update.dim() - 1)) * update)


def descend(
    parameters: Parameters, frozen: Parameters, optimizer: Adam, batch: tuple[Tensor, Tensor]
) -> Tensor:
    """One step of every run; the training losses (runs,)."""
    for value in parameters.values():
        value.requires_grad_(True)
    used = dict(parameters)
    if "in_a" in parameters:
        used = dict(frozen) | {
            n: frozen[n] + parameters[f"{n}_a"] @ parameters[f"{n}_b"] for n in ("in", "out")
        }
    losses = cross_entropy(logits(used, batch[0], True).transpose(1, 2), batch[1], reduction="none").mean(1)
    gradients = torch.autograd.grad(losses.sum(), list(parameters.values()))
    for value in parameters.values():
        value.requires_grad_(False)
    optimizer.step(dict(zip(parameters, gradients, strict=True)))
    return losses.detach()


def pretrained(language: Tensor, generator: torch.Generator) -> Parameters:
    """A model of the base language, as a batch of one."""
    shapes = {
        "embedding": (SYMBOLS, EMBEDDING),
        "in": (CONTEXT * EMBEDDING, HIDDEN),
        "out": (HIDDEN, SYMBOLS),
    }
    model = {
        name: torch.randn(1, *shape, generator=generator) / math.sqrt(1 if name == "embedding" else shape[0])
        for name, shape in shapes.items()
    }
    model |= {"bias_in": torch.zeros(1, HIDDEN), "bias_out": torch.zeros(1, SYMBOLS)}
    optimizer = Adam(model, torch.tensor([3e-3]))
    contexts, targets = sample(language[None], 1024, generator)
    for _ in range(600):
        rows = torch.randint(contexts.shape[1], (256,), generator=generator)
        descend(model, model, optimizer, (contexts[:, rows], targets[:, rows]))
    return model


def noisy(targets: Tensor, noise: Tensor, generator: torch.Generator) -> Tensor:
    """Targets of which a share of each run's are replaced by any symbol."""
    wrong = torch.randint(SYMBOLS, targets.shape, generator=generator)
    return torch.where(torch.rand(targets.shape, generator=generator) < noise[:, None], wrong, targets)


def truths(task: Tensor, shifted: Tensor, noise: Tensor) -> dict[str, Tensor]:
    """For each kind of test, (runs, S³, S) joint weights of context and next symbol."""

    def joint(language: Tensor) -> Tensor:
        weights = context_weights(language)
        following = language[:, None].expand(-1, SYMBOLS, -1, -1, -1).reshape(len(language), -1, SYMBOLS)
        return weights[..., None] * following

    inside = joint(task)
    spread = inside.sum(-1, keepdim=True) / SYMBOLS
    mixed = (1 - noise)[:, None, None] * inside + noise[:, None, None] * spread
    return {"in distribution": mixed, "domain shift": joint(shifted)}


ALL_CONTEXTS = torch.cartesian_prod(*[torch.arange(SYMBOLS)] * CONTEXT)


@torch.no_grad()
def test_losses(parameters: Parameters, truth: dict[str, Tensor]) -> dict[str, Tensor]:
    """The expected loss of every run for each kind of test, nats a symbol."""
    runs = len(next(iter(truth.values())))
    logs = logits(parameters, ALL_CONTEXTS.expand(runs, -1, -1)).log_softmax(-1)
    return {kind: -(weights * logs).sum((1, 2)) for kind, weights in truth.items()}


@torch.no_grad()
def eval_losses(parameters: Parameters, contexts: Tensor, targets: Tensor, counts: Tensor) -> Tensor:
    """The mean loss of each run over the first `counts` rows of its eval split."""
    losses = cross_entropy(logits(parameters, contexts).transpose(1, 2), targets, reduction="none")
    inside = torch.arange(losses.shape[1]) < counts[:, None]
    return (losses * inside).sum(1) / counts


def train_batch(seed: int) -> tuple[list[Run], list[Parameters], dict[str, Tensor]]:
    """Fine-tune 64 models; their logs, the weights of each checkpoint, and the truth to test against."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    base_logits = 1.5 * torch.randn(SYMBOLS, SYMBOLS, SYMBOLS, generator=generator)
    task_logits = relatives(base_logits, RUNS, 1.0, generator)
    # The shifted domain: as far from the base as the task, 80 % of the way in the same direction.
    shift_logits = base_logits + 0.8 * (task_logits - base_logits)
    shift_logits = shift_logits + 0.6 * torch.randn(shift_logits.shape, generator=generator)
    base_language, task, shifted = (x.softmax(-1) for x in (base_logits, task_logits, shift_logits))

    def choice(values: tuple[float, ...]) -> Tensor:
        return torch.tensor(values)[torch.randint(len(values), (RUNS,), generator=generator)]

    examples, rates, noise, evals = map(choice, (EXAMPLES, LEARNING_RATES, LABEL_NOISE, EVAL_EXAMPLES))
    adapters = seed % 2 == 1
    runs = [
        Run(seed, adapters, int(examples[i]), float(rates[i]), float(noise[i]), int(evals[i]))
        for i in range(RUNS)
    ]
    one = pretrained(base_language, generator)
    base = {name: value.expand(RUNS, *value.shape[1:]).clone() for name, value in one.items()}
    parameters = trainable(base, adapters, generator)
    optimizer = Adam(parameters, rates * (3 if adapters else 1))
    contexts, targets = sample(task, SEQUENCES, generator)
    eval_contexts, eval_targets = sample(task, max(EVAL_EXAMPLES) // LENGTH, generator)
    targets, eval_targets = noisy(targets, noise, generator), noisy(eval_targets, noise, generator)
    truth = truths(task, shifted, noise)
    checkpoints: list[Parameters] = []
    logged: list[Tensor] = []
    rows = torch.arange(RUNS)[:, None]
    for step in range(1, STEPS + 1):
        picks = (torch.rand(RUNS, BATCH, generator=generator) * examples[:, None]).long()
        logged.append(descend(parameters, base, optimizer, (contexts[rows, picks], targets[rows, picks])))
        if step % EVERY == 0:
            checkpoints.append(merged(parameters, base))
            train = torch.stack(logged).mean(0)
            logged.clear()
            found = eval_losses(checkpoints[-1], eval_contexts, eval_targets, evals)
            tested = test_losses(checkpoints[-1], truth)
            for i, run in enumerate(runs):
                run.steps.append(step)
                run.train.append(float(train[i]))
                run.eval.append(float(found[i]))
                for kind, losses in tested.items():
                    run.test.setdefault(kind, []).append(float(losses[i]))
    return runs, checkpoints, truth


def averaged(checkpoints: list[Parameters], chosen: list[list[int]]) -> Parameters:
    """For each run, the mean of the weights of its chosen checkpoints."""
    rows = torch.arange(len(chosen))
    picks = torch.tensor(chosen)
    result = {}
    for name in checkpoints[0]:
        stacked = torch.stack([checkpoint[name] for checkpoint in checkpoints], 1)
        result[name] = torch.stack([stacked[rows, picks[:, k]] for k in range(picks.shape[1])]).mean(0)
    return result


def batches(count: int, first_seed: int) -> Iterator[tuple[list[Run], list[Parameters], dict[str, Tensor]]]:
    """`count` batches of runs; every second one trains adapters."""
    torch.set_num_threads(1)
    for seed in range(first_seed, first_seed + count):
        yield train_batch(seed)
