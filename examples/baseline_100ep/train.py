"""A multi-task baseline of 100 epochs: `python train.py [--tiny] [--epochs N] [--artifacts FOLDER]`.

It knows nothing of Podium. It prints a line an epoch, writes its CSV files and checkpoints as it goes, goes
on from the checkpoint that `PODIUM_RESUME_FROM` names, and at SIGTERM saves and leaves.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import torch
from model import TASKS, SpanFinder, losses, make_data, members
from record import Record, write_metadata
from torch import Tensor

asked: list[int] = []


def main() -> int:
    options = parsed()
    signal.signal(signal.SIGTERM, lambda number, frame: asked.append(number))
    torch.manual_seed(options.seed)
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    rows, length, hidden = (64, 24, 16) if options.tiny else (256, 32, 32)
    data = make_data(rows, length, options.seed), make_data(rows // 2, length, options.seed + 1)
    model = SpanFinder(hidden)
    optimizer = torch.optim.AdamW(model.parameters(), lr=options.lr)
    folder = Path(options.artifacts)
    folder.mkdir(parents=True, exist_ok=True)
    epoch, best = resumed(model, optimizer)
    record = Record(folder, epoch)
    parameters = sum(item.numel() for item in model.parameters())
    facts = {"rows": rows, "length": length, "parameters": parameters, "torch": torch.__version__}
    write_metadata(folder, **vars(options), **facts)
    while epoch < options.epochs:
        epoch, begun = epoch + 1, time.perf_counter()
        train_loss, norms = train(model, optimizer, data[0], options)
        found = {phase: examine(model, part) for phase, part in zip(("train", "val"), data, strict=True)}
        val = found["val"]
        took = time.perf_counter() - begun
        tell(record, epoch, train_loss, found, took, options.epochs)
        if epoch % 5 == 0:
            tell_fifth(record, epoch, model, found)
        if epoch % 10 == 0:
            record.write("gradient_stats", {"epoch": epoch, "total_grad_norm": norms.pop(""), **norms})
        if val["loss"] < best:
            best = val["loss"]
            save(folder / "best_model.pt", model, optimizer, epoch, best)
        if epoch % options.save_every == 0 or epoch == options.epochs or asked:
            save(folder / f"checkpoint_epoch_{epoch}.pt", model, optimizer, epoch, best)
        if asked:
            print(f"stopped after epoch {epoch}, as asked")
            return 0
    print(f"best val_loss {best:.4f}")
    return 0


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--epochs", type=int, default=100)
    parser.add_argument("--lr", type=float, default=2e-3)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--save-every", type=int, default=10)
    parser.add_argument("--artifacts", default="artifacts")
    parser.add_argument("--tiny", action="store_true", help="a size for tests")
    parser.add_argument("--epoch-seconds", type=float, default=0.0, help="wait so long after each epoch")
    return parser.parse_args()


def train(model: SpanFinder, optimizer: Any, data: Any, options: Any) -> tuple[float, dict[str, float]]:
    """One epoch: the mean loss, unweighted, and the last batch's gradient norms ('' is all parameters')."""
    tokens, starts, ends = data
    total, norms = 0.0, {}
    for batch in torch.randperm(len(tokens)).split(options.batch):
        _, answers = model(tokens[batch])
        parts = losses(answers, starts[batch], ends[batch])
        loss = model.weigh(parts)
        optimizer.zero_grad()
        loss.backward()
        grads = {name: item.grad.norm().item() for name, item in model.named_parameters()}
        norms = {"": torch.nn.utils.clip_grad_norm_(model.parameters(), 5.0).item(), **grads}
        optimizer.step()
        total += sum(parts.values()).item() * len(batch)
    time.sleep(options.epoch_seconds)
    return total / len(tokens), norms


@torch.no_grad()
def examine(model: SpanFinder, data: Any) -> dict[str, Any]:
    """Everything that is told of one split."""
    tokens, starts, ends = data
    encoded, answers = model(tokens)
    parts = losses(answers, starts, ends)
    inside = members(starts, ends, tokens.shape[1]).bool()
    probability = answers["span"].sigmoid()
    guessed = probability > 0.5
    hits = (guessed & inside).sum().item()
    precision, recall = hits / max(1, guessed.sum().item()), hits / inside.sum().item()
    return {
        "loss": sum(parts.values()).item(),
        "parts": {name: value.item() for name, value in parts.items()},
        "f1": 2 * precision * recall / max(1e-9, precision + recall),
        "precision": precision,
        "recall": recall,
        "in": probability[inside],
        "out": probability[~inside],
        "features": {"encoding": encoded, "norm": encoded.norm(dim=-1), "pointer": answers["ptr"]},
    }


def tell(record: Record, epoch: int, train_loss: float, found: Any, took: float, epochs: int) -> None:
    """One epoch's line and rows."""
    val = found["val"]
    row = {"epoch": epoch, "train_loss": train_loss, "val_loss": val["loss"]}
    scores = {name: val[name] for name in ("f1", "precision", "recall")}
    record.write("epoch_metrics", {**row, **scores, "epoch_time": took})
    for phase, of in found.items():
        parts = {name: of["parts"][name] for name in TASKS}
        record.write("loss_components", {"epoch": epoch, "phase": phase, **parts, "total": of["loss"]})
        inner, outer = of["in"], of["out"]
        separation = (inner.mean() - outer.mean()).item()
        stats = [item for of in (inner, outer) for item in (of.mean().item(), of.std().item())]
        record.write("probability_stats", dict(enumerate([epoch, phase, *stats, separation])))
    short = {"F1": "f1", "P": "precision", "R": "recall"}
    spans = ", ".join(f"span_{letter}={val[name]:.3f}" for letter, name in short.items())
    losses_told = f"train_loss={train_loss:.4f}, val_loss={val['loss']:.4f}"
    print(f"Epoch {epoch:3d}/{epochs}: {losses_told}, {spans}, time={took:.1f}s", flush=True)


def tell_fifth(record: Record, epoch: int, model: SpanFinder, found: Any) -> None:
    """What is told every fifth epoch: the tasks' weights, and how features drift."""
    sigmas = [log_sigma.exp().item() for log_sigma in model.log_sigma]
    record.write("uncertainty_params", dict(enumerate([epoch, *sigmas, *(s**-2 for s in sigmas)])))
    for phase, of in found.items():
        for name, values in of["features"].items():
            flat: Tensor = values.flatten()
            stats = [f(flat).item() for f in (torch.mean, torch.std, torch.min, torch.max, torch.median)]
            record.write("feature_stats", dict(enumerate([epoch, phase, name, *stats])))


def save(path: Path, model: SpanFinder, optimizer: Any, epoch: int, best: float) -> None:
    """Write a checkpoint whole or not at all."""
    state = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "epoch": epoch, "best": best}
    torch.save({**state, "random": torch.get_rng_state()}, path.with_suffix(".part"))
    path.with_suffix(".part").replace(path)


def resumed(model: SpanFinder, optimizer: Any) -> tuple[int, float]:
    """The epoch to go on after, and the best loss so far."""
    path = os.environ.get("PODIUM_RESUME_FROM")
    if not path:
        return 0, float("inf")
    state = torch.load(path, weights_only=True)
    model.load_state_dict(state["model"])
    optimizer.load_state_dict(state["optimizer"])
    torch.set_rng_state(state["random"])
    print(f"going on after epoch {state['epoch']}")
    return state["epoch"], state["best"]


if __name__ == "__main__":
    sys.exit(main())
