"""Podium's trainer against bare TRL: the same model, rows and settings, in one process, in turns.

    python benchmarks/trainer.py [JOB.yaml] [--steps 60] [--repeats 3]
    python benchmarks/trainer.py --gpu [--steps 30] [--peak-tflops 989]

Without a job file it takes the demo's first run. Both sides must log the same losses and gradients that
are not zero, else there is nothing to compare. Evaluations and saves are as in the job on both sides:
Podium's saves are hashed, synced and read back, TRL's are only written. Prints seconds and their ratio, taken
by pairs: of two runs one after the other, so that a machine that gets busier slows both.

With --gpu it is each side's defaults, on a GPU: see `benchmarks/trainer_gpu.py`.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from engine.demo import demo_specs, make_dataset
from engine.job.events import EventWriter, decode
from engine.job.folder import JobFolder, write_json
from engine.job.spec import JobSpec, merged
from engine.trainer import arguments, model, setup, sft
from engine.trainer.attempt import Attempt
from engine.trainer.lora import lora_config
from engine.trainer.machine import Machine
from engine.trainer.stop import StopRequest


@dataclass(frozen=True)
class Run:
    """One training: seconds of `trainer.train()`, and the losses and gradient norms that were logged."""

    seconds: float
    losses: list[float]
    grad_norms: list[float]


def podium(spec: JobSpec, data: Path, place: Path) -> Run:
    """The job as `python -m engine.trainer` runs it."""
    folder = prepared(spec, data, place)
    with EventWriter(folder.events) as events:
        attempt = Attempt(folder, spec, events, StopRequest())
        trainer, _ = setup.build(attempt, setup.read_data(attempt), None)
        seconds = timed(trainer)
    logged = [event.data for line in folder.events.open("rb") if (event := decode(line)).type == "train"]
    return Run(seconds, [entry["loss"] for entry in logged], [entry["grad_norm"] for entry in logged])


def bare(spec: JobSpec, data: Path, place: Path) -> Run:
    """TRL's own trainer with the same arguments."""
    from transformers import PrinterCallback
    from trl import SFTConfig, SFTTrainer

    folder = prepared(spec, data, place)
    with EventWriter(folder.events) as events:
        rows = setup.read_data(Attempt(folder, spec, events, StopRequest()))
    loaded, tokenizer = model.load(spec, folder, rows.train)
    masked = rows.format == "messages"
    trainer = SFTTrainer(
        model=loaded,
        args=SFTConfig(
            **arguments.common(spec, folder, Machine.detect()),
            max_length=spec.training.max_length,
            packing=spec.training.packing,
            assistant_only_loss=masked,
            completion_only_loss=not masked,
        ),
        train_dataset=sft.columns(rows.train, rows.format, tokenizer),
        eval_dataset=sft.columns(rows.eval, rows.format, tokenizer),
        processing_class=tokenizer,
        peft_config=lora_config(spec),
    )
    trainer.remove_callback(PrinterCallback)
    seconds = timed(trainer)
    logged = [entry for entry in trainer.state.log_history if "loss" in entry]
    return Run(seconds, [entry["loss"] for entry in logged], [entry["grad_norm"] for entry in logged])


def prepared(spec: JobSpec, data: Path, place: Path) -> JobFolder:
    """A job's folder."""
    folder = JobFolder(place)
    folder.create()
    write_json(folder.spec, spec.to_json())
    folder.dataset.write_bytes(data.read_bytes())
    return folder


def timed(trainer: Any) -> float:
    """Seconds that training takes, without loading; CPU time where there is no GPU: others can't delay it."""
    import torch

    clock = time.perf_counter if torch.cuda.is_available() else time.process_time
    start = clock()
    trainer.train()
    return clock() - start


def compare(spec: JobSpec, data: Path, repeats: int) -> None:
    """Run both in turns and print what they took."""
    seconds: dict[str, list[float]] = {"bare TRL": [], "Podium": []}
    with tempfile.TemporaryDirectory() as place:
        reference = None
        for turn in range(repeats):
            # Who is first changes, for the second may find warm caches.
            order = (("bare TRL", bare), ("Podium", podium))
            for name, side in order if turn % 2 == 0 else reversed(order):
                with contextlib.redirect_stdout(io.StringIO()):
                    run = side(spec, data, Path(place) / f"{name} {turn}")
                reference = reference or run
                assert run.losses == reference.losses, f"{name} has other losses"
                assert all(0 < norm < float("inf") for norm in run.grad_norms), f"{name} has no gradient"
                seconds[name].append(run.seconds)
    pairs = zip(seconds["Podium"], seconds["bare TRL"], strict=True)
    ratios = sorted(ours / theirs for ours, theirs in pairs)
    for name, taken in seconds.items():
        print(
            f"{name:9}  median {statistics.median(taken):7.2f} s  of {', '.join(f'{s:.2f}' for s in taken)}"
        )
    spread = ", ".join(f"{ratio:.3f}" for ratio in ratios)
    print(f"Podium takes {statistics.median(ratios):.3f} times as long (median of {spread})")
    print(f"same {len(reference.losses)} losses, to the bit")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("job", nargs="?", type=Path, help="a job file; the demo's first run without one")
    parser.add_argument("--steps", type=int, default=60, help="optimizer steps")
    parser.add_argument("--repeats", type=int, default=3, help="runs of each side")
    parser.add_argument("--gpu", action="store_true", help="each side's defaults, a 1B LoRA on a GPU")
    parser.add_argument("--peak-tflops", type=float, help="of a card that the table lacks, bf16, dense")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        if options.gpu:
            from benchmarks import trainer_gpu

            sys.exit(trainer_gpu.main(options.steps, options.repeats, options.peak_tflops, Path(place)))
        if options.job is None:
            data = Path(place) / "docstrings.jsonl"
            make_dataset(data)
            spec = demo_specs(data)[0]
        else:
            spec = JobSpec.load(options.job)
            data = Path(spec.dataset.path)
        setup.quiet(spec)
        spec = JobSpec.model_validate(merged(spec.to_json(), {"training": {"max_steps": options.steps}}))
        compare(spec, data, options.repeats)


if __name__ == "__main__":
    main()
