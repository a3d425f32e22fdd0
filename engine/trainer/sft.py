"""Supervised fine-tuning: the loss is on the answers only, through TRL's SFTTrainer."""

from __future__ import annotations

from typing import Any

from datasets import Dataset
from trl import SFTConfig, SFTTrainer
from trl.chat_template_utils import get_training_chat_template

from engine.errors import TrainingError
from engine.trainer import examples
from engine.trainer.lora import lora_config
from engine.trainer.methods import Ingredients
from engine.trainer.refusals import need_chat_template, nothing_left
from engine.trainer.weighed import Weighed, WeighedEval, taken

Rows = list[dict[str, Any]]


class SFT(WeighedEval, SFTTrainer):
    """TRL's trainer with figures that are means over tokens, whatever the eval batch size."""

    example_losses: tuple[float, ...] = ()
    """Of the newest evaluation's first examples, nats."""

    def evaluation_loop(self, *arguments: Any, **options: Any) -> Any:
        """All eval batches; the loss of each example is kept."""
        self.example_losses = ()
        return super().evaluation_loop(*arguments, **options)

    def prediction_step(self, model: Any, inputs: dict[str, Any], *rest: Any, **options: Any) -> Any:
        """One eval batch."""
        if len(self.example_losses) >= examples.LIMIT:
            return super().prediction_step(model, inputs, *rest, **options)
        with examples.overheard(model) as heard:
            result = super().prediction_step(model, inputs, *rest, **options)
        self.example_losses += tuple(examples.losses(heard[0], inputs))
        return result

    def measured(self, inputs: dict[str, Any], loss: Any) -> Weighed:
        """The loss and the share of tokens that are the likeliest, by trained token."""
        figures = taken(self._metrics["eval"])
        tokens = (inputs["labels"][:, 1:] != -100).sum()
        accuracy = figures["mean_token_accuracy"]
        return {"loss": (loss, tokens), "mean_token_accuracy": (accuracy, tokens)}


def trainer(job: Ingredients) -> SFT:
    """TRL's trainer for these rows, tokenized and masked.

    Raises:
        TrainingError: Of kind `tokenizer` without a usable chat template, of kind `dataset` when
            every label is masked.
    """
    spec, tokenizer, masked = job.spec, job.tokenizer, job.format == "messages"
    if masked:
        _check_template(tokenizer)
    config = SFTConfig(
        **job.arguments,
        max_length=spec.training.max_length,
        packing=spec.training.packing,
        assistant_only_loss=masked,
        completion_only_loss=not masked,
    )
    try:
        built = SFT(
            model=job.model,
            args=config,
            train_dataset=columns(job.train, job.format, tokenizer),
            eval_dataset=columns(job.held_out, job.format, tokenizer),
            processing_class=tokenizer,
            peft_config=lora_config(spec),
        )
    except (RuntimeError, StopIteration, IndexError) as error:
        if "assistant" in str(error) or isinstance(error, (StopIteration, IndexError)):
            raise nothing_left(spec) from error
        raise
    if not _any_label(built.train_dataset) or not _any_label(built.eval_dataset):
        raise nothing_left(spec)
    return built


def columns(rows: Rows, format: str, tokenizer: Any) -> Dataset:
    """The columns that TRL reads."""
    if format == "messages":
        return Dataset.from_list([{"messages": row["messages"]} for row in rows])
    if format == "alpaca":
        rows = [_instruction(row, chat=bool(tokenizer.chat_template)) for row in rows]
    return Dataset.from_list([{"prompt": row["prompt"], "completion": row["completion"]} for row in rows])


def _instruction(row: dict[str, Any], chat: bool) -> dict[str, Any]:
    """An alpaca row as prompt and completion: a conversation for a chat model, else Alpaca's own text."""
    task, given, answer = row["instruction"], row.get("input") or "", row["output"]
    if chat:
        question = f"{task}\n\n{given}" if given else task
        return {
            "prompt": [{"role": "user", "content": question}],
            "completion": [{"role": "assistant", "content": answer}],
        }
    given = f"### Input:\n{given}\n\n" if given else ""
    return {"prompt": f"### Instruction:\n{task}\n\n{given}### Response:\n", "completion": answer}


def _check_template(tokenizer: Any) -> None:
    """Can the chat template say which tokens are the assistant's?"""
    need_chat_template(tokenizer, "rows", "prompt and completion rows")
    try:
        get_training_chat_template(tokenizer)
    except ValueError:
        raise TrainingError(
            "tokenizer",
            "the chat template does not mark what the assistant says",
            "Set model.chat_template to one with {% generation %}, or use prompt and completion rows.",
        ) from None


def _any_label(dataset: Dataset) -> bool:
    """Is there a token to learn from?"""
    return any(any(label != -100 for label in row["labels"]) for row in dataset)
