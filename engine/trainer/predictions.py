"""What the model answers to a few eval prompts, always the same ones: greedy, marked, one event each.

Nothing that goes wrong here stops training: it becomes an alert.
"""

from __future__ import annotations

import hashlib
import json
import random
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from engine.job.events import EventType, Phase
from engine.job.sections import PredictionsSpec
from engine.trainer import failures, likeness, log, memory
from engine.trainer.attempt import Attempt
from engine.trainer.stop import StopNow
from engine.trainer.validators import validators, verdict

if TYPE_CHECKING:
    from transformers import TrainerCallback as _Base
else:
    from transformers.trainer_callback import TrainerCallback as _Base

_LEAST_PROMPT: Final = 16
"""Tokens of a prompt that are kept when the model has few positions."""


@dataclass(frozen=True, slots=True)
class Sample:
    """A prompt and what the data answers to it.

    Args:
        prompt: A text, or messages.
        truth: The data's answer; None where there is none.
    """

    prompt: Any
    truth: str | None

    @property
    def text(self) -> str:
        """The prompt for people: a single message's content, or a line a message with its role."""
        if isinstance(self.prompt, str):
            return self.prompt
        if len(self.prompt) == 1:
            return str(self.prompt[0].get("content") or "")
        return "\n".join(f"{message['role']}: {message.get('content') or ''}" for message in self.prompt)

    @property
    def id(self) -> str:
        """The sha256 of the prompt as JSON: the same in every run on the same row."""
        return hashlib.sha256(json.dumps(self.prompt, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Answer:
    """What the model said.

    Args:
        text: Without special tokens.
        prompt_tokens: How many tokens it was asked with.
        completion_tokens: How many it said, the end included.
        latency_ms: What that took, milliseconds.
    """

    text: str
    prompt_tokens: int
    completion_tokens: int
    latency_ms: float


class Predictor(_Base):
    """The callback that asks.

    Args:
        attempt: What the parts of the trainer share.
        trainer: The trainer whose model is asked.
        tokenizer: Its tokenizer.
        rows: The eval rows.
        format: Their format.
    """

    def __init__(
        self, attempt: Attempt, trainer: Any, tokenizer: Any, rows: list[dict[str, Any]], format: str
    ) -> None:
        self.attempt = attempt
        self.trainer = trainer
        self.tokenizer = tokenizer
        self.spec: PredictionsSpec = attempt.spec.predictions
        self.samples = sample(rows, format, tokenizer, self.spec.sample_count, attempt.spec.training.seed)
        self._validate, self._lacking = validators(self.spec)
        self._asked_at = -1

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Tell which validators can't be had, once an attempt; ask what the last one was cut off from."""
        for problem in self._lacking:
            self.attempt.alert("validator", problem, "warning", state.global_step)
        if self.attempt.progress.asked is not None:
            self.ask(state, self.attempt.progress.asked)
            self._leave_if_asked()

    def on_evaluate(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """After an evaluation."""
        if self.spec.every == "eval":
            self.ask(state, self.attempt.progress.asked or 0)
            self._leave_if_asked()

    def on_epoch_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """After an epoch."""
        if self.spec.every == "epoch":
            self.ask(state)
            self._end_if_asked(control)

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """After an optimizer step."""
        if isinstance(self.spec.every, int) and state.global_step % self.spec.every == 0:
            self.ask(state)
            self._end_if_asked(control)

    def _leave_if_asked(self) -> None:
        if self.attempt.leaving():
            raise StopNow

    def _end_if_asked(self, control: Any) -> None:
        """Leave, but first let the step be logged."""
        if self.attempt.leaving():
            control.should_save = control.should_training_stop = True

    def ask(self, state: Any, first: int = 0) -> None:
        """Ask all samples, or those from one on, and go on training as if nothing had been."""
        attempt, step = self.attempt, state.global_step
        # Of a model that is split among ranks each holds a part: all ask, and one tells.
        if not (state.is_world_process_zero or self._split) or self._leave() or step == self._asked_at:
            return
        self._asked_at = step
        with attempt.meter.paused():
            attempt.phase(Phase.PREDICT, step)
            try:
                self._ask(step, state.epoch, first)
            # Whatever goes wrong here, training must not: what was bought is the training.
            except Exception as error:  # noqa: BLE001
                told = f"predictions failed: {failures.first_line(error)}"
                attempt.alert("predictions_failed", told, "warning", step)
            memory.free()
            attempt.phase(Phase.TRAIN, step)

    def _ask(self, step: int, epoch: float | None, first: int) -> None:
        import torch

        attempt, model = self.attempt, self.trainer.accelerator.unwrap_model(self.trainer.model)
        memory.free()
        modes = {module: module.training for module in model.modules()}
        devices = [torch.cuda.current_device()] if torch.cuda.is_available() else []
        exact, asked = 0, 0
        attempt.progress.asked = None
        try:
            model.eval()
            with torch.random.fork_rng(devices), torch.no_grad(), self.trainer.accelerator.autocast():
                for index, item in list(enumerate(self.samples))[first:]:
                    said = answer(model, self.tokenizer, item, self.spec.max_new_tokens, self._leave)
                    if self._leave():
                        attempt.progress.asked = index
                        return
                    marks = self._marks(item, said)
                    self._tell(step, epoch, index, item, said, marks)
                    exact, asked = exact + bool(marks["exact_match"]), asked + 1
        finally:
            for module, training in modes.items():
                module.training = training
        log.line(f"step {step}  {asked} predictions, {exact} exact")

    def _leave(self, *tokens: Any, **options: Any) -> bool:
        """Is generating to end at once?"""
        return self.attempt.leaving() if self._split else self.attempt.stop.requested

    @property
    def _split(self) -> bool:
        return not self.attempt.ranks.alone and self.attempt.spec.distributed.strategy == "fsdp"

    def _marks(self, item: Sample, said: Answer) -> dict[str, Any]:
        """How good an answer is; what can't be known is None."""
        passed, wrong = verdict(said.text, self._validate)
        marks: dict[str, Any] = {"validation_pass": passed, "validation_errors": wrong}
        functions = (
            likeness.exact_match,
            likeness.char_error_rate,
            likeness.length_ratio,
            likeness.word_overlap,
        )
        for function in functions:
            marks[function.__name__] = function(said.text, item.truth) if item.truth is not None else None
        return marks

    def _tell(
        self, step: int, epoch: float | None, index: int, item: Sample, said: Answer, marks: dict[str, Any]
    ) -> None:
        self.attempt.events.append(
            EventType.PREDICTION,
            step,
            epoch=epoch,
            sample_index=index,
            prompt_id=item.id,
            prompt=item.text,
            ground_truth=item.truth,
            prediction=said.text,
            **marks,
            prompt_tokens=said.prompt_tokens,
            completion_tokens=said.completion_tokens,
            latency_ms=round(said.latency_ms, 3),
            max_new_tokens=self.spec.max_new_tokens,
        )


def sample(rows: list[dict[str, Any]], format: str, tokenizer: Any, count: int, seed: int) -> list[Sample]:
    """As many of the rows as there are, at most `count`, drawn with a seed; in the data's order."""
    chosen = sorted(random.Random(seed).sample(range(len(rows)), min(count, len(rows))))
    return [exchange(rows[at], format, tokenizer) for at in chosen]


def exchange(row: dict[str, Any], format: str, tokenizer: Any) -> Sample:
    """The prompt and the true answer of a row.

    Of messages the last answer is the true one, and what comes before it the prompt. A plain text is cut
    in the middle, between words.
    """
    if format == "messages":
        messages = row["messages"]
        last = max(at for at, message in enumerate(messages) if message["role"] == "assistant")
        return Sample(messages[:last], str(messages[last].get("content") or ""))
    if format == "text":
        words = row["text"].split(" ")
        half = max(1, len(words) // 2)
        return Sample(" ".join(words[:half]), " ".join(words[half:]))
    if format == "alpaca":
        from engine.trainer import sft

        row = sft.columns([row], format, tokenizer)[0]
    answers = (row.get(name) for name in ("completion", "chosen", "ground_truth"))
    truth = next((found for found in answers if found is not None), None)
    if isinstance(truth, list):
        truth = truth[-1].get("content") or ""
    return Sample(row["prompt"], None if truth is None else str(truth))


def answer(model: Any, tokenizer: Any, item: Sample, longest: int, leave: Any) -> Answer:
    """Ask one prompt, greedily.

    Args:
        model: In eval mode.
        tokenizer: Its tokenizer.
        item: What to ask.
        longest: Tokens to say at most.
        leave: A stopping criterion besides.
    """
    import torch
    from transformers import StoppingCriteriaList

    tokens = prompt_tokens(tokenizer, item.prompt)
    room = getattr(model.config, "max_position_embeddings", None)
    if room is not None:
        # What stands nearest to the answer counts most.
        tokens = tokens[-max(_LEAST_PROMPT, room - longest) :]
    ids = torch.tensor([tokens], device=model.device)
    begun = time.monotonic()
    said = model.generate(
        input_ids=ids,
        attention_mask=torch.ones_like(ids),
        do_sample=False,
        num_beams=1,
        temperature=None,
        top_p=None,
        top_k=None,
        max_new_tokens=longest,
        use_cache=True,
        eos_token_id=_ends(model, tokenizer),
        pad_token_id=tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id,
        stopping_criteria=StoppingCriteriaList([leave]),
    )[0, len(tokens) :].tolist()
    milliseconds = (time.monotonic() - begun) * 1000
    return Answer(tokenizer.decode(said, skip_special_tokens=True), len(tokens), len(said), milliseconds)


def prompt_tokens(tokenizer: Any, prompt: Any) -> list[int]:
    """A prompt's tokens; of messages, as the chat template writes them, up to where the answer begins."""
    if not isinstance(prompt, str):
        text = tokenizer.apply_chat_template(prompt, add_generation_prompt=True, tokenize=False)
        return list(tokenizer(text, add_special_tokens=False)["input_ids"])
    return list(tokenizer(prompt)["input_ids"])


def _ends(model: Any, tokenizer: Any) -> list[int] | None:
    """The tokens that end an answer: those of the model's generation settings and the tokenizer's."""
    known = getattr(model.generation_config, "eos_token_id", None)
    tokens = known if isinstance(known, list) else [known]
    return sorted({token for token in [*tokens, tokenizer.eos_token_id] if token is not None}) or None
