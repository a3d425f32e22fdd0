"""The GPU part of `benchmarks/trainer.py --gpu`: Podium's defaults against TRL's, a 1B LoRA at 2,048 tokens.

The model has the sizes of a 1B Llama and random weights: speed and memory do not depend on what it knows.
Both sides train the same rows, the same number of them a step, in the same order, with the same adapters and
rates; everything else is what each does by itself. Losses must agree within bf16's rounding, and gradients
must not be zero.

    tokens/s   trained tokens, padding left out, over the time from the end of the warm-up to the last step
    MFU        tokens/s · operations a token / the card's peak (data sheet, bf16, dense). Operations are those
               of `engine.job.estimate.flops_a_token` without recomputation: what must be done, not what is
    memory     what the driver says is used at the end, against `engine.job.estimate.memory`
"""

from __future__ import annotations

import gc
import json
import random
import statistics
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.job import estimate
from engine.job.shape import Shape
from engine.job.spec import JobSpec

LENGTH = 2048
ROWS_A_STEP = 32
WARM_UP = 3
"""Steps that are not timed: kernels are compiled and memory is found in them."""

WANTED_MFU = 0.40
WANTED_SPEEDUP = 1.5
MEMORY_WITHIN = 0.15
LOSS_WITHIN = 0.02

SHAPE = Shape(
    vocab=128_256, hidden=2048, layers=16, heads=32, kv_heads=8, head=64, intermediate=8192, tied=True
)
"""Llama 3.2 1B's."""


@dataclass(frozen=True)
class Side:
    """What one side did.

    Args:
        tokens: Trained after the warm-up, padding left out.
        seconds: That they took.
        losses: As logged, each step.
        grad_norms: Likewise.
        used_bytes: Of the GPU's memory at the end, everything counted.
        choices: What was chosen by itself.
    """

    tokens: int
    seconds: float
    losses: list[float]
    grad_norms: list[float]
    used_bytes: int
    choices: str = ""

    @property
    def rate(self) -> float:
        """Tokens a second."""
        return self.tokens / self.seconds


def peak_flops(card: str, given_tflops: float | None = None) -> float:
    """A card's dense bf16 operations a second; the longest name in the table that the card's holds counts.

    Raises:
        ValueError: The card is not in the table.
    """
    if given_tflops is not None:
        return given_tflops * 1e12
    known = [name for name in estimate.TFLOPS if name.lower() in card.lower()]
    if not known:
        names = ", ".join(estimate.TFLOPS)
        raise ValueError(f"the peak of {card} is not known (of {names} it is): give --peak-tflops")
    return estimate.TFLOPS[max(known, key=len)] * 1e12


def flops_a_token(spec: JobSpec, length: float, shape: Shape = SHAPE) -> float:
    """Operations that a trained token needs, whatever is computed again."""
    kept = spec.training.model_copy(update={"gradient_checkpointing": False})
    return estimate.flops_a_token(spec.model_copy(update={"training": kept}), shape, length)


def mfu(rate: float, flops: float, peak: float) -> float:
    """Model operations utilisation: the share of the peak that a rate in tokens/s amounts to."""
    return rate * flops / peak


def off(measured: float, expected: float) -> float:
    """How far an expectation was off, as a share of what was measured; positive when it was too high."""
    return (expected - measured) / measured


def differing(some: list[float], others: list[float], within: float = LOSS_WITHIN) -> list[int]:
    """The places (from 0) where two runs' losses differ by more than a share; all where one is shorter."""
    if len(some) != len(others) or not some:
        return list(range(max(len(some), len(others), 1)))
    pairs = enumerate(zip(some, others, strict=True))
    # Said so that what is no number differs.
    return [at for at, (one, other) in pairs if not abs(off(one, other)) <= within]


def rows(mixed: bool, steps: int, seed: int = 1) -> list[dict[str, Any]]:
    """Questions and long answers of random words: all over 2,048 tokens, or of very different lengths."""
    draw = random.Random(seed)
    syllables = [a + b for a in "bdfgklmnprst" for b in "aeiou"]
    words = ["".join(draw.choices(syllables, k=draw.randint(1, 3))) for _ in range(4000)]
    made = []
    for number in range(steps * ROWS_A_STEP + ROWS_A_STEP):
        count = min(LENGTH, int(draw.lognormvariate(5.3, 0.9)) + 16) if mixed else 2 * LENGTH
        messages = [
            {"role": "user", "content": f"{number}: {' '.join(draw.choices(words, k=12))}?"},
            {"role": "assistant", "content": " ".join(draw.choices(words, k=count))},
        ]
        made.append({"messages": messages})
    return made


def spec_of(model: Path, data: Path, steps: int) -> JobSpec:
    """The job: what must be said, and nothing that Podium would choose."""
    return JobSpec.model_validate(
        {
            "name": "1B LoRA",
            "model": {"name": str(model)},
            "dataset": {"path": str(data), "train_split": steps / (steps + 1)},
            "lora": {"r": 16, "alpha": 32, "dropout": 0.0},
            "training": {
                "max_steps": steps,
                "max_length": LENGTH,
                "batch_size": 8,
                "gradient_accumulation_steps": ROWS_A_STEP // 8,
                "learning_rate": 1e-4,
                "warmup_steps": 0,
                "schedule": "constant",
                "log_steps": 1,
                "eval_steps": 10 * steps,
                "statistics_steps": 0,
                "rehearsal": False,
            },
        }
    )


def make_model(path: Path, sample: list[dict[str, Any]]) -> None:
    """A 1B Llama with random weights in bf16, and a byte-level tokenizer that knows the sample's words."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    from engine.job.sections import BuildSpec
    from engine.trainer.build import _tokenizer

    tokenizer = _tokenizer(BuildSpec(vocab_size=8192), sample)
    config = LlamaConfig(
        vocab_size=SHAPE.vocab,
        hidden_size=SHAPE.hidden,
        num_hidden_layers=SHAPE.layers,
        num_attention_heads=SHAPE.heads,
        num_key_value_heads=SHAPE.kv_heads,
        head_dim=SHAPE.head,
        intermediate_size=SHAPE.intermediate,
        max_position_embeddings=2 * LENGTH,
        tie_word_embeddings=SHAPE.tied,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        dtype="bfloat16",
    )
    torch.manual_seed(1)
    LlamaForCausalLM(config).to(torch.bfloat16).save_pretrained(path)
    tokenizer.save_pretrained(path)


def watched(trainer: Any) -> Side:
    """Train, and watch tokens, time and memory."""
    import torch
    from transformers import TrainerCallback

    counts: list[Any] = []
    begun: list[tuple[float, int]] = []
    step = trainer.training_step

    def counted(model: Any, inputs: dict[str, Any], *rest: Any, **options: Any) -> Any:
        mask = inputs.get("attention_mask")
        # Not read here: that would wait for the GPU.
        counts.append(mask.sum() if mask is not None else inputs["input_ids"].numel())
        return step(model, inputs, *rest, **options)

    class Clock(TrainerCallback):  # type: ignore[misc]
        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            if state.global_step in (WARM_UP, state.max_steps):
                torch.cuda.synchronize()
                begun.append((time.perf_counter(), len(counts)))

    trainer.training_step = counted
    trainer.add_callback(Clock())
    trainer.train()
    (start, first), (end, last) = begun
    free, total = torch.cuda.mem_get_info()
    logged = [entry for entry in trainer.state.log_history if "loss" in entry]
    return Side(
        sum(int(count) for count in counts[first:last]),
        end - start,
        [entry["loss"] for entry in logged],
        [entry["grad_norm"] for entry in logged],
        total - free,
    )


def podium(spec: JobSpec, place: Path) -> Side:
    """Podium, as it would run this job."""
    from dataclasses import replace

    from benchmarks.trainer import prepared
    from engine.job.events import EventWriter, decode
    from engine.trainer import setup
    from engine.trainer.attempt import Attempt
    from engine.trainer.stop import StopRequest

    folder = prepared(spec, Path(spec.dataset.path), place)
    with EventWriter(folder.events) as events:
        attempt = Attempt(folder, spec, events, StopRequest())
        trainer, _ = setup.build(attempt, setup.read_data(attempt), None)
        side = watched(trainer)
    with folder.events.open("rb") as file:
        start = next(event for event in map(decode, file) if event.type == "start")
    return replace(side, choices=json.dumps(start.data["speed"]))


def trl(spec: JobSpec, place: Path) -> Side:
    """TRL with its defaults, as its documentation starts it, and the same rows a step."""
    from trl import SFTConfig, SFTTrainer

    from benchmarks.trainer import prepared
    from engine.job.events import EventWriter
    from engine.trainer import setup, sft
    from engine.trainer.attempt import Attempt
    from engine.trainer.lora import lora_config
    from engine.trainer.stop import StopRequest

    folder = prepared(spec, Path(spec.dataset.path), place)
    with EventWriter(folder.events) as events:
        data = setup.read_data(Attempt(folder, spec, events, StopRequest()))
    config = SFTConfig(
        output_dir=str(place / "out"),
        max_length=LENGTH,
        max_steps=spec.training.max_steps,
        gradient_accumulation_steps=spec.training.gradient_accumulation_steps,
        learning_rate=spec.training.learning_rate,
        lr_scheduler_type="constant",
        weight_decay=spec.training.weight_decay,
        seed=spec.training.seed,
        assistant_only_loss=True,
        logging_steps=1,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
    )
    train = sft.columns(data.train, data.format, None)
    trainer = SFTTrainer(
        model=spec.model.name, args=config, train_dataset=train, peft_config=lora_config(spec)
    )
    assert config.per_device_train_batch_size * config.gradient_accumulation_steps == ROWS_A_STEP
    return watched(trainer)


def compare(place: Path, steps: int, repeats: int, given_tflops: float | None) -> bool:
    """Run both sides in turns on both kinds of rows, print, and say whether what was wanted was reached."""
    import torch

    from engine.trainer import setup

    card = torch.cuda.get_device_name(0)
    peak = peak_flops(card, given_tflops)
    print(f"{card}, {peak / 1e12:.0f} TFLOP/s; {setup._versions()}; {time.strftime('%Y-%m-%d')}")
    make_model(place / "model", rows(True, 1))
    reached = True
    for kind in ("full", "mixed"):
        data = place / f"{kind}.jsonl"
        lines = rows(kind == "mixed", steps)
        data.write_text("".join(json.dumps(row) + "\n" for row in lines), encoding="utf-8")
        spec = spec_of(place / "model", data, steps)
        setup.quiet(spec)
        sides: dict[str, list[Side]] = {"TRL": [], "Podium": []}
        for turn in range(repeats):
            for name, run in (("TRL", trl), ("Podium", podium)):
                sides[name].append(run(spec, place / f"{kind} {name} {turn}"))
                gc.collect()
                torch.cuda.empty_cache()
        reached = _report(kind, spec, sides, peak, steps) and reached
    return reached


def _report(kind: str, spec: JobSpec, sides: dict[str, list[Side]], peak: float, steps: int) -> bool:
    """Print what both did with one kind of rows."""
    first = sides["TRL"][0]
    for name, runs in sides.items():
        for run in runs:
            places = differing(first.losses, run.losses)
            assert not places, f"{name} has other losses at steps {[at + 1 for at in places]}"
            assert all(0 < norm < float("inf") for norm in run.grad_norms), f"{name} has no gradient"
    rates = {name: statistics.median(run.rate for run in runs) for name, runs in sides.items()}
    length = first.tokens / ((steps - WARM_UP) * ROWS_A_STEP)
    flops = flops_a_token(spec, length)
    print(f"\n{kind} rows, {length:.0f} tokens on average, {flops / 1e9:.2f} GFLOP a token")
    for name, rate in rates.items():
        used = max(run.used_bytes for run in sides[name]) / 1e9
        print(f"{name:7} {rate:10,.0f} tokens/s  MFU {mfu(rate, flops, peak):5.1%}  {used:6.1f} GB used")
    speedup, share = rates["Podium"] / rates["TRL"], mfu(rates["Podium"], flops, peak)
    choices = json.loads(sides["Podium"][0].choices)
    print(f"speed-up {speedup:.2f} (wanted {WANTED_SPEEDUP}); losses within {LOSS_WITHIN:.0%}")
    for reason in choices["why"]:
        print(f"  {reason}")
    measured = max(run.used_bytes for run in sides["Podium"])
    wrong = off(measured, choices["estimated_bytes"])
    expected = choices["estimated_bytes"] / 1e9
    print(f"memory: {expected:.1f} GB expected, {wrong:+.0%} (wanted ±{MEMORY_WITHIN:.0%})")
    fast = speedup >= WANTED_SPEEDUP and (kind == "mixed" or share >= WANTED_MFU)
    return fast and (kind == "mixed" or abs(wrong) <= MEMORY_WITHIN)


def main(steps: int, repeats: int, given_tflops: float | None, place: Path) -> int:
    """Run on the first GPU; exit status 2 without one, 1 where something wanted was missed."""
    import torch

    if not torch.cuda.is_available():
        sys.stderr.write("benchmarks/trainer.py --gpu: there is no GPU here that torch can use\n")
        return 2
    if steps <= WARM_UP:
        sys.stderr.write(f"--steps must be above {WARM_UP}, which are the warm-up\n")
        return 2
    try:
        return 0 if compare(place, steps, repeats, given_tflops) else 1
    except ValueError as error:
        sys.stderr.write(f"{error}\n")
        return 2
