"""Do adapters, tokens and rows fit the model? What does not is told before step 1, not at such a row."""

from __future__ import annotations

from typing import Any

from engine.errors import TrainingError
from engine.job.spec import JobSpec
from engine.trainer.lengths import highest_token, token_counts


def check_adapters(spec: JobSpec, model: Any) -> None:
    """Is every one of `lora.target_modules` there? PEFT alone would leave out those that are not.

    Raises:
        TrainingError: Of kind `model`.
    """
    if spec.lora is None:
        return
    names = [name for name, _ in model.named_modules()]
    lacking = [
        target
        for target in spec.lora.target_modules
        if not any(name == target or name.endswith(f".{target}") for name in names)
    ]
    if lacking:
        weighed = {name.rpartition(".")[2] for name, module in model.named_modules() if _is_matrix(module)}
        raise TrainingError(
            "model",
            f"lora.target_modules: the model has no {', '.join(map(repr, lacking))}",
            f"It has {', '.join(sorted(weighed))}.",
        )


def _is_matrix(module: Any) -> bool:
    return getattr(getattr(module, "weight", None), "ndim", 0) == 2 and not list(module.children())


def check_end(tokenizer: Any, format: str) -> None:
    """Can a text be ended, and a row be filled up? A chat template has an end of its own.

    Raises:
        TrainingError: Of kind `tokenizer`.
    """
    templated = format in ("messages", "prompt") and tokenizer.pad_token_id is not None
    if tokenizer.eos_token_id is None and not templated:
        raise TrainingError(
            "tokenizer",
            f"{tokenizer.name_or_path}: the tokenizer has no token that ends a text",
            "Set eos_token in its tokenizer_config.json.",
        )


def check_tokens(trainer: Any) -> None:
    """Does the model know every token of the rows, and the one that shorter rows are filled up with?

    A tokenizer may know more than it uses here: only what is used counts.

    Raises:
        TrainingError: Of kind `tokenizer`.
    """
    known = int(trainer.model.get_input_embeddings().weight.shape[0])
    tokenizer = trainer.processing_class
    if max(tokenizer.get_vocab().values(), default=-1) < known:
        return
    used = [highest_token(rows) for rows in (trainer.train_dataset, trainer.eval_dataset)]
    highest = max(token for token in (*used, tokenizer.pad_token_id, -1) if token is not None)
    if highest >= known:
        raise TrainingError(
            "tokenizer",
            f"the tokenizer makes tokens up to {highest}, of which the model knows {known}",
            "Use the model's own tokenizer, or resize the model's embeddings to it.",
        )


def beyond_positions(spec: JobSpec, trainer: Any) -> str | None:
    """What to warn of when rows are longer than any that the model was made for; None when none is."""
    positions = getattr(trainer.model.config, "max_position_embeddings", None)
    lengths = None if spec.training.packing else token_counts(trainer.train_dataset)
    if not isinstance(positions, int) or lengths is None or int(lengths.max()) <= positions:
        return None
    return (
        f"rows have up to {int(lengths.max()):,} tokens, but the model was made for {positions:,}: "
        f"what lies beyond is learnt badly, or not at all; training.max_length {positions} would cut them"
    )
