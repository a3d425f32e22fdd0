"""Everything before step 1: read the data, load the model, build the trainer, tell what will be trained."""

from __future__ import annotations

import logging
import os
import platform
import warnings
from dataclasses import asdict, dataclass, field
from importlib import metadata
from typing import Any

from engine.errors import BadDataset
from engine.job import dataset
from engine.job.events import EventType
from engine.job.spec import JobSpec
from engine.trainer import checkpoints, failures, fit, loading, log, speed
from engine.trainer.attempt import Attempt
from engine.trainer.code import code_sha256
from engine.trainer.machine import Machine, adapt
from scorer import order_key


@dataclass(frozen=True, slots=True)
class Data:
    """The rows of a job.

    Args:
        train: To train on.
        eval: To evaluate on; none of them is in `train`.
        format: Their format.
        sha256: Of the training data file's rows.
        numbers: The number of each train row in its file, to name it by.
    """

    train: list[dataset.Row]
    eval: list[dataset.Row]
    format: str
    sha256: str
    numbers: list[int] = field(default_factory=list)


def read_data(attempt: Attempt) -> Data:
    """The job's rows, validated and split.

    Raises:
        BadDataset: They can't be trained on.
    """
    folder, spec = attempt.folder, attempt.spec
    demands: Any = {"method": spec.method, "columns": spec.columns}
    given = dataset.read(folder.dataset, spec.dataset.format, limit=spec.dataset.max_samples, **demands)
    for warning in given.warnings:
        attempt.alert("dataset", f"{folder.dataset.name}: {warning}", "warning")
    if not folder.eval_dataset.exists():
        train, held_out = dataset.split(given, spec.dataset, spec.training.seed)
        return Data(train, held_out, given.format, given.sha256, _numbers(given, train))
    beside = dataset.read(folder.eval_dataset, given.format, **demands)
    train = dataset.without(given.rows, beside.rows, given.format)
    if not train:
        raise BadDataset(
            str(folder.eval_dataset), ["holds every training row"], "Give rows of its own to it."
        )
    if shared := dataset.shared(given, beside):
        attempt.alert("dataset", f"{folder.dataset.name}: {shared}", "warning")
    return Data(train, beside.rows, given.format, given.sha256, _numbers(given, train))


def _numbers(given: dataset.Dataset, train: list[dataset.Row]) -> list[int]:
    """The numbers of the rows that are trained on; they are the very objects that were read."""
    numbers = {id(row): number for number, row in zip(given.numbers, given.rows, strict=True)}
    return [numbers[id(row)] for row in train]


def build(attempt: Attempt, data: Data, resumed: checkpoints.Checkpoint | None) -> tuple[Any, int]:
    """The trainer, ready to train, and the number of optimizer steps in all.

    The attempt's spec becomes the one that this machine can run.

    Raises:
        TrainingError: The model, the tokenizer or the data can't be used.
    """
    quiet(attempt.spec)
    machine = Machine.detect()
    attempt.spec, fallbacks = adapt(attempt.spec, machine)
    for fallback in fallbacks:
        attempt.recovery(fallback.failure, fallback.action)
    attempt.spec, choices = speed.choose(attempt.spec, machine, attempt.progress.shrunk)
    import transformers

    from engine.trainer import arguments, methods, model, rehearsal, sharding
    from engine.trainer.predictions import Predictor
    from engine.trainer.reporter import Reporter
    from engine.trainer.too_long import too_long

    build_trainer = methods.builder(attempt.spec)
    loading.end()
    ranks = attempt.ranks
    if attempt.spec.model.build is not None:
        base = ranks.lead_does(lambda: model.built(attempt.spec, attempt.folder, data.train))
        ranks.share(base, attempt.folder.path / base.name)
    with ranks.first_of_each_machine():
        loaded, tokenizer = model.load(attempt.spec, attempt.folder, data.train)
    fit.check_end(tokenizer, data.format)
    if ranks.leads and resumed is None:
        longer = too_long(attempt.spec, data.train, data.numbers, data.format, tokenizer)
        if longer is not None:
            attempt.alert("dataset", f"{attempt.folder.dataset.name}: {longer}", "warning")
    common = arguments.common(attempt.spec, attempt.folder, machine)
    common |= sharding.arguments(attempt.spec, ranks, machine)
    if not ranks.leads:
        common["output_dir"] = str(checkpoints.staging(attempt.folder, f"rank-{ranks.rank}"))
    job = methods.Ingredients(attempt.spec, loaded, tokenizer, data.train, data.eval, data.format, common)
    with failures.refusals(attempt.folder):
        trainer = build_trainer(job)
    fit.check_tokens(trainer)
    if ranks.leads and resumed is None and (warning := fit.beyond_positions(attempt.spec, trainer)):
        attempt.alert("dataset", warning, "warning")
    trainer.attempt = attempt
    if choices.padding == "flat":
        speed.flatten(trainer)
    trainer.remove_callback(transformers.PrinterCallback)
    if rehearsal.wanted(attempt.spec, loaded):
        trainer.add_callback(rehearsal.Rehearsal(attempt, trainer))
    trainer.add_callback(Reporter(attempt, trainer, ranks.told(_best(attempt))))
    if attempt.spec.predictions.enabled:
        trainer.add_callback(Predictor(attempt, trainer, tokenizer, data.eval, data.format))
    return trainer, _tell(attempt, trainer, data, (machine, choices), resumed)


def quiet(spec: JobSpec) -> None:
    """No progress bars, no telemetry, no libraries' notes to each other, and no network without need."""
    warnings.filterwarnings("ignore", category=FutureWarning)
    os.environ.update(
        HF_HUB_DISABLE_TELEMETRY="1", HF_HUB_DISABLE_PROGRESS_BARS="1", TRL_EXPERIMENTAL_SILENCE="1"
    )
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    # Read when torch is loaded: waiting threads sleep instead of spinning.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    if spec.model.build is not None and spec.finish.push_to_hub is None:
        os.environ["HF_HUB_OFFLINE"] = "1"
    # It warns of kernels that it does without, in a line that is none of the log's.
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
    import datasets
    import transformers

    transformers.utils.logging.disable_progress_bar()
    datasets.disable_progress_bars()


def _best(attempt: Attempt) -> tuple[Any, ...] | None:
    """The key of the best score among the checkpoints that are there."""
    best = checkpoints.by_score(checkpoints.readable(attempt.folder))
    return order_key(best[0].score) if best and best[0].score is not None else None


def _length(trainer: Any) -> tuple[int, float]:
    """Optimizer steps and epochs in all, as the training loop will count them."""
    values = trainer.set_initial_training_values(trainer.args, trainer.get_train_dataloader())
    steps_an_epoch, batches_an_epoch, total_steps = int(values[1]), int(values[5]), int(values[6])
    epochs, rest = divmod(total_steps, steps_an_epoch)
    return total_steps, epochs + rest * trainer.args.gradient_accumulation_steps / batches_an_epoch


def _tell(
    attempt: Attempt,
    trainer: Any,
    data: Data,
    place: tuple[Machine, speed.Choices],
    resumed: checkpoints.Checkpoint | None,
) -> int:
    """The `start` event; returns the number of optimizer steps in all."""
    total_steps, total_epochs = _length(trainer)
    counts = {"train": len(trainer.train_dataset), "eval": len(trainer.eval_dataset)}
    from engine.trainer.card import started
    from engine.trainer.model import tokenizer_sha256

    if attempt.ranks.leads and resumed is not None:
        before = started(attempt.folder.events).get("data_sha256", data.sha256)
        if before != data.sha256:
            message = f"not the rows that {resumed.path.name} was trained on; going on with them"
            attempt.alert("dataset", f"{attempt.folder.dataset.name}: {message}", "warning")
    model = trainer.model
    parameters = {"total": model.num_parameters(), "trainable": model.num_parameters(only_trainable=True)}
    attempt.events.append(
        EventType.START,
        resumed.step if resumed else 0,
        sync=True,
        config=attempt.spec.to_json(),
        total_steps=total_steps,
        total_epochs=total_epochs,
        samples=counts,
        rows={"train": len(data.train), "eval": len(data.eval)},
        format=data.format,
        data_sha256=data.sha256,
        eval_sha256=dataset.sha256_of(data.eval),
        tokenizer_sha256=tokenizer_sha256(trainer.processing_class),
        parameters=parameters,
        ranks={"world": attempt.ranks.world, "nodes": attempt.ranks.nodes},
        machine=asdict(place[0]),
        speed=asdict(place[1]),
        code_sha256=code_sha256(),
        versions=_versions(),
        resumed_from=resumed.path.name if resumed else None,
    )
    log.line(
        f"{counts['train']:,} rows to train on, {counts['eval']:,} to evaluate on, {total_steps:,} steps, "
        f"{parameters['trainable']:,} of {parameters['total']:,} parameters"
    )
    _warn(attempt, counts, {"train": len(data.train), "eval": len(data.eval)}, total_steps)
    return total_steps


def _warn(attempt: Attempt, counts: dict[str, int], rows: dict[str, int], total_steps: int) -> None:
    """Tell what is odd about the data and the settings."""
    training = attempt.spec.training
    for side, count in counts.items():
        if not training.packing and count < rows[side]:
            lost = f"{rows[side] - count} of {rows[side]} {side} rows"
            message = f"{lost} have no answer within max_length {training.max_length}: left out"
            attempt.alert("dataset", message, "warning")
    if training.warmup_steps >= total_steps:
        message = f"warmup_steps {training.warmup_steps} is not below the {total_steps} steps in all"
        attempt.alert("warmup", message, "warning")


def _versions() -> dict[str, str]:
    names = ("torch", "transformers", "trl", "peft", "accelerate", "datasets", "tokenizers", "bitsandbytes")
    found = {"python": platform.python_version()}
    for name in names:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found
