"""What GRPO and RLOO share: several completions of a prompt, each rewarded against the others.

A row of a batch is a completion. Evaluations draw one completion of each eval prompt, with a fixed seed.
Rollouts draw from torch's random state, which checkpoints keep, and a rollout in use is kept too: a
resumed run equals one that never stopped.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from datasets import Dataset

from engine.errors import TrainingError
from engine.job.spec import JobSpec
from engine.trainer import group_rollout, ppo_prompts, predictions, rewards
from engine.trainer import lengths as lengths_of
from engine.trainer.hooks import Batch
from engine.trainer.lora import lora_config
from engine.trainer.meter import Seen
from engine.trainer.methods import Ingredients
from engine.trainer.stop import StopNow
from engine.trainer.weighed import Weighed, WeighedEval, taken

Rows = list[dict[str, Any]]

_OF_ROLLOUT = ("reward", "completions/", "frac_reward", "kl")
"""How the names of figures begin that TRL tells once a rollout; GRPO tells `kl` at every step."""


class Grouped(WeighedEval):
    """A mixin for TRL's trainers that sample groups of completions."""

    generation_config: Any
    _buffered_inputs: Any
    _metrics: Any
    _rollout_figures: Mapping[str, float] = MappingProxyType({})
    """The newest rollout's: rewards, lengths and the like."""

    def count(self, inputs: Any) -> None:
        """Not yet: how many tokens there are is known once the completions are drawn."""

    def _prepare_inputs(self, generation_batch: Any) -> Any:
        """The micro-batch, its completions drawn if they are not yet."""
        inputs = super()._prepare_inputs(generation_batch)
        if self.model.training:
            asked, said = inputs["prompt_mask"], inputs["completion_mask"]
            lengths, answers = asked.sum(1) + said.sum(1), said.sum(1)
            cut = (answers >= self.max_completion_length).sum()
            slots = asked.numel() + said.numel()
            self.attempt.meter.add(Seen(lengths, len(lengths), slots, answers.sum(), cut))
        return inputs

    def _generate_and_score_completions(self, inputs: Any) -> Any:
        """Draw completions and reward them; SIGTERM ends it at the next token."""
        self.check_weights()
        with self._interruptible():
            return super()._generate_and_score_completions(inputs)

    def longest(self, rows: Any, count: int) -> tuple[Any, int]:
        """The longest prompts; a completion may take `max_completion_length` more."""
        tokenizer = self.processing_class
        lengths = [len(predictions.prompt_tokens(tokenizer, prompt)) for prompt in rows["prompt"]]
        chosen = lengths_of.longest(lengths, count)
        return rows.select(chosen), lengths[chosen[0]] + self.max_completion_length

    def worst_batch(self) -> Batch:
        """A rollout for the longest prompts, none of whose completions ends before it must."""
        size = self.args.per_device_train_batch_size * self.args.steps_per_generation
        prompts, tokens = self.longest(self.train_dataset, -(-size // self.num_generations))
        rows = [prompts[at] for at in range(len(prompts)) for _ in range(self.num_generations)][:size]
        self._buffered_inputs = None
        # The training loop sets it, when it has begun.
        self.current_gradient_accumulation_steps = self.args.gradient_accumulation_steps
        given, self.generation_config = self.generation_config, copy.deepcopy(self.generation_config)
        self.generation_config.min_new_tokens = self.max_completion_length
        try:
            inputs = self._prepare_inputs(rows)
        finally:
            self.generation_config = given
        return Batch(inputs, len(inputs["prompt_mask"]), tokens)

    def log(self, logs: dict[str, Any], *rest: Any, **options: Any) -> None:
        """Steps between two rollouts tell the figures of the rollout that they use."""
        if "loss" in logs:
            figures, self._rollout_figures = self._metrics["train"], self._newest()
            for name, value in self._rollout_figures.items():
                if not figures.get(name):
                    figures[name].append(value)
        super().log(logs, *rest, **options)

    def _newest(self) -> dict[str, float]:
        """The figures of the newest rollout, logged or not yet."""
        found = {name: values[-1] for name, values in self._metrics["train"].items() if values}
        told = {name: value for name, value in found.items() if name.startswith(_OF_ROLLOUT)}
        return {**self._rollout_figures, **told}

    @contextmanager
    def _interruptible(self) -> Iterator[None]:
        """What SIGTERM cuts short leaves the random state as it was: it comes again."""

        def leave_if_asked(*anything: Any) -> None:
            # Several ranks leave together, between steps.
            if self.attempt.stop.requested and self.attempt.ranks.alone:
                raise StopNow

        hook = self.model.register_forward_pre_hook(leave_if_asked)
        before = _random_state()
        try:
            yield
        except StopNow:
            _set_random_state(before)
            raise
        finally:
            hook.remove()

    def evaluation_loop(self, *arguments: Any, **options: Any) -> Any:
        """All eval prompts, their completions drawn with the job's seed; training does not notice."""
        before = _random_state()
        torch.manual_seed(self.args.seed + self.args.process_index)
        try:
            return super().evaluation_loop(*arguments, **options)
        finally:
            _set_random_state(before)

    def measured(self, inputs: Any, loss: Any) -> Weighed:
        """Rewards and lengths by completion, divergence and entropy by token."""
        figures = taken(self._metrics["eval"])
        rows, length = len(inputs), figures["completions/mean_length"]
        by_token = [name for name in ("kl", "entropy") if name in figures]
        found: Weighed = {name: (figures[name], rows * length) for name in by_token}
        each = {f"rewards/{name}": (figures[f"rewards/{name}/mean"], rows) for name in self.reward_func_names}
        return {
            "reward": (figures["reward"], rows),
            "response_length": (length, rows),
            "clipped_ratio": (figures["completions/clipped_ratio"], rows),
            **each,
            **found,
        }

    def _get_train_sampler(self, dataset: Any = None) -> Any:
        """TRL's sampler, whose order depends on the epoch alone, not on how it was reached."""
        sampler = super()._get_train_sampler(dataset)
        return _InOrder(sampler, self)

    # Checkpoints: the completions in use, besides what Trainer saves.

    def restore_progress(self) -> None:
        """Besides what every method restores: the micro-step that the rollout is at."""
        super().restore_progress()
        self._step = self.state.global_step * self.args.gradient_accumulation_steps

    def _save_rng_state(self, output_dir: str) -> None:
        """Each process's random state, and the completions that were drawn from it."""
        super()._save_rng_state(output_dir)
        if self.num_iterations > 1 and self._buffered_inputs is not None:
            group_rollout.save(self._rollout_file(output_dir), self._buffered_inputs, self._newest())

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        """The policy, and the completions in use."""
        super()._load_from_checkpoint(resume_from_checkpoint, model)
        file = self._rollout_file(resume_from_checkpoint)
        if file.exists():
            self._buffered_inputs, self._rollout_figures = group_rollout.load(file, self.args.device)

    def _rollout_file(self, folder: str) -> Path:
        rank = f"_{self.args.process_index}" if self.args.world_size > 1 else ""
        return Path(folder) / f"rollout{rank}.safetensors"


class _InOrder:
    """A sampler that begins each epoch's order from the seed and the epoch."""

    def __init__(self, sampler: Any, trainer: Any) -> None:
        self._sampler = sampler
        self._trainer = trainer

    def __len__(self) -> int:
        return len(self._sampler)

    def __iter__(self) -> Iterator[int]:
        epoch = int(self._trainer.state.epoch or 0)
        self._sampler.generator.manual_seed(self._trainer.args.seed + epoch)
        return iter(self._sampler)


def _random_state() -> tuple[Any, list[Any]]:
    on_gpu = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    return torch.get_rng_state(), on_gpu


def _set_random_state(state: tuple[Any, list[Any]]) -> None:
    torch.set_rng_state(state[0])
    if state[1]:
        torch.cuda.set_rng_state_all(state[1])


def arguments(spec: JobSpec) -> dict[str, Any]:
    """The arguments that TRL's configurations of both algorithms take.

    `num_generations_eval` is 1, so that any eval batch size will do; rewards need no groups.
    """
    assert spec.rlhf is not None
    return {
        "num_generations": spec.rlhf.num_generations or 8,
        "num_generations_eval": 1,
        "max_completion_length": spec.rlhf.max_completion_length,
        "temperature": spec.rlhf.temperature,
        "beta": spec.rlhf.beta,
        "num_iterations": spec.rlhf.ppo_epochs,
        "epsilon": spec.rlhf.clip_range,
        "reward_weights": rewards.reward_weights(spec),
        "remove_unused_columns": False,
        **_reference(spec),
    }


def _reference(spec: JobSpec) -> dict[str, Any]:
    """What TRL must know to load the reference as the model was loaded, where that is not its name alone."""
    if spec.lora is not None or (spec.model.revision is None and not spec.model.trust_remote_code):
        return {}
    named = {"revision": spec.model.revision, "trust_remote_code": spec.model.trust_remote_code}
    return {"model_init_kwargs": named}


def build(kind: type[Grouped], config: Any, job: Ingredients) -> Any:
    """The trainer of an algorithm for these rows.

    Args:
        kind: Its class.
        config: Its configuration.
        job: What it is made of.

    Raises:
        TrainingError: Of kind `tokenizer`, `dataset` or `model`: prompts or reward model can't be used.
    """
    spec = job.spec
    prompts = _prompts(job.train, job.tokenizer, spec)
    needed = config.generation_batch_size // config.num_generations
    if len(prompts) < needed:
        raise TrainingError(
            "dataset",
            f"{len(prompts)} prompts to train on are fewer than the {needed} of one step",
            "Lower training.batch_size or gradient_accumulation_steps, or give more prompts.",
        )
    return kind(
        model=job.model,
        reward_funcs=rewards.reward_functions(spec),
        args=config,
        train_dataset=prompts,
        eval_dataset=_prompts(job.held_out, job.tokenizer, spec),
        processing_class=job.tokenizer,
        peft_config=lora_config(spec),
    )


def _prompts(rows: Rows, tokenizer: Any, spec: JobSpec) -> Dataset:
    """The prompts that leave room for a completion, with the columns that rewards read, as texts."""
    return Dataset.from_list(
        [
            {"prompt": prompt.given, **{name: _text(prompt.columns[name]) for name in spec.columns}}
            for prompt in ppo_prompts.read(rows, tokenizer, spec)
        ]
    )


def _text(value: Any) -> str:
    """A column's value as rewards read it: one column holds values of one kind."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
