"""PPO: rewards for what the policy says, a learnt value to compare them with, and a leash to the reference.

An optimizer step is one update with one minibatch (batch_size · gradient_accumulation_steps completions).
Completions are drawn and measured in blocks of the eval batch, which is halved when memory runs out.
A rollout's completions are used `ppo_epochs` times. Rollouts draw from torch's random state, which
checkpoints keep, and a rollout in use is kept too: a resumed run equals one that never stopped.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset
from transformers import Trainer, TrainingArguments, set_seed

from engine.job.spec import JobSpec
from engine.trainer import lengths, memory, ppo_math, ppo_policy, ppo_prompts, ppo_rollout, ppo_value, rewards
from engine.trainer.hooks import Batch
from engine.trainer.lora import lora_config
from engine.trainer.meter import Seen
from engine.trainer.methods import Ingredients
from engine.trainer.ppo_eval import DrawnEval
from engine.trainer.ppo_prompts import Prompt
from engine.trainer.ppo_rollout import MicroStep, Plan, Rollout

Tensor = Any
Rows = list[dict[str, Any]]

_STEPS = "micro_steps"


class Prompts(Dataset):
    """The prompts to train on; its items are planned micro-steps, which name their prompts themselves."""

    def __init__(self, prompts: list[Prompt]) -> None:
        self.prompts = prompts

    def __len__(self) -> int:
        return len(self.prompts)

    def __getitem__(self, planned: MicroStep) -> MicroStep:
        return planned


class PPO(DrawnEval, Trainer):
    """Proximal policy optimization on transformers' Trainer.

    Args:
        spec: The job.
        tokenizer: The model's tokenizer.
        reference: The frozen reference model; None where adapters are switched off instead.
        options: What Trainer takes; `model` has its value head.
    """

    def __init__(self, spec: JobSpec, tokenizer: Any, reference: Any | None, **options: Any) -> None:
        super().__init__(processing_class=tokenizer, **options)
        assert spec.rlhf is not None
        self.model_accepts_loss_kwargs = False
        self.settings = spec.rlhf
        self.tokenizer = tokenizer
        self.reference = reference
        self.stops = ppo_prompts.stop_tokens(self.model, tokenizer)
        self.pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else self.stops[0]
        self.rewards = rewards.reward_functions(spec)
        self.reward_weights = rewards.reward_weights(spec)
        self.dropped = ppo_policy.without_dropout(self.model)
        self.head = self.model.get_submodule(ppo_value.NAME)
        self._rollout: Rollout | None = None
        self._sums: dict[str, float] = {}

    # Data: the plan says which prompts and completions each micro-step uses.

    def get_train_dataloader(self) -> DataLoader:
        """The micro-steps of an epoch; each process has its own prompts."""
        return DataLoader(
            self.train_dataset,
            batch_sampler=self.plan(),
            collate_fn=lambda planned: {"planned": planned[0]},
            generator=torch.Generator(),
        )

    def plan(self) -> Plan:
        """The schedule of micro-steps."""
        step_rows = self.args.per_device_train_batch_size * self.args.gradient_accumulation_steps
        size = self.settings.rollout_size or step_rows
        world = self.args.world_size
        return Plan(
            prompts=-(-len(self.train_dataset) // world),
            size=-(-size // step_rows) * step_rows,
            passes=self.settings.ppo_epochs,
            step_rows=step_rows,
            micro_rows=self.args.per_device_train_batch_size,
            seed=self.args.seed,
            epoch=self._epoch,
        )

    def _epoch(self) -> int:
        plan = self.plan()
        return self.state.global_step * self.args.gradient_accumulation_steps // len(plan)

    # Training: a rollout where the plan asks for a new one, then the clipped losses.

    def restore_progress(self) -> None:
        """Besides what every method restores: tell that dropout is off."""
        super().restore_progress()
        if self.dropped:
            message = f"dropout {self.dropped:g} is switched off: ppo compares probabilities of one network"
            self.attempt.alert("dropout", message, "info", self.state.global_step)

    def training_step(self, model: Any, inputs: dict[str, Any], *rest: Any, **options: Any) -> Any:
        """One micro-step of the plan."""
        planned: MicroStep = inputs["planned"]
        if self._rollout is None or self._rollout.number != planned.rollout:
            self._rollout = None
            world, own = self.args.world_size, self.args.process_index
            count = len(self.train_dataset)
            chosen = [self.train_dataset.prompts[(place * world + own) % count] for place in planned.prompts]
            with self._unspoilt():
                self._rollout = memory.with_smaller_batches(
                    self, lambda: self.roll_out(planned.rollout, chosen)
                )
        return super().training_step(model, self._micro_batch(self._rollout, planned), *rest, **options)

    def count(self, inputs: dict[str, Any]) -> None:
        """A row is a completion with its prompt; those that are as long as they may be were cut."""
        attention, mask = inputs["attention_mask"], inputs["mask"]
        lengths, answers = attention.sum(1), mask.sum(1)
        cut = (answers >= self.settings.max_completion_length).sum()
        self.attempt.meter.add(Seen(lengths, len(lengths), attention.numel(), answers.sum(), cut))

    def _micro_batch(self, rollout: Rollout, planned: MicroStep) -> dict[str, Any]:
        """What `compute_loss` takes of a rollout."""
        batch = rollout.rows(planned.rows)
        tokens = rollout.rows(planned.minibatch)["mask"].sum()
        named = {"input_ids": batch.pop("tokens"), "attention_mask": batch.pop("attention")}
        return {**named, **batch, "step_tokens": tokens}

    def longest(self, rows: Prompts, count: int) -> tuple[Prompts, int]:
        """The longest prompts; a completion may take `max_completion_length` more."""
        counts = [len(prompt.tokens) for prompt in rows.prompts]
        chosen = lengths.longest(counts, count)
        most = counts[chosen[0]] + self.settings.max_completion_length
        return Prompts([rows.prompts[at] for at in chosen]), most

    def worst_batch(self) -> Batch:
        """A rollout for the longest prompts, none of whose completions ends before it must."""
        plan = self.plan()
        prompts, tokens = self.longest(self.train_dataset, plan.size)
        # Where there are fewer, some come again, as in a plan.
        chosen = [prompts.prompts[at % len(prompts)] for at in range(plan.size)]
        stops, self.stops = self.stops, []
        try:
            self._rollout = memory.with_smaller_batches(self, lambda: self.roll_out(0, chosen))
        finally:
            self.stops = stops
        self.model.train()
        rows = tuple(range(plan.step_rows))
        planned = MicroStep(0, rows, rows, rows[: plan.micro_rows])
        return Batch(self._micro_batch(self._rollout, planned), plan.micro_rows, tokens)

    def compute_loss(self, model: Any, inputs: dict[str, Any], *rest: Any, **options: Any) -> Any:
        """This micro-batch's share of the minibatch's loss, a mean over the minibatch's tokens."""
        settings, mask = self.settings, inputs["mask"]
        said = ppo_policy.speak(
            model,
            self.head,
            inputs["input_ids"],
            inputs["attention_mask"],
            mask.shape[1],
            settings.temperature,
        )
        sums = ppo_math.losses(
            said.logprobs,
            said.values,
            inputs["logprobs"],
            inputs["values"],
            inputs["advantages"],
            mask,
            returns=inputs["returns"],
            clip_range=settings.clip_range,
            value_clip=settings.value_clip,
        )
        # The Trainer divides by the micro-steps of an optimizer step.
        scale = self.args.gradient_accumulation_steps / inputs["step_tokens"]
        entropy = (said.entropy * mask).sum()
        loss = sums.policy + settings.vf_coef * sums.value - settings.entropy_coef * entropy
        self._count(
            policy_loss=sums.policy * scale,
            value_loss=sums.value * scale,
            entropy=entropy * scale,
            clip_fraction=sums.clipped * scale,
            value_clip_fraction=sums.value_clipped * scale,
            policy_moved=sums.moved * scale,
        )
        return loss * scale

    def _count(self, **figures: Tensor) -> None:
        """Sum up a micro-step's figures, its rollout's among them."""
        assert self._rollout is not None
        values = {name: value.item() for name, value in figures.items()} | self._rollout.figures
        for name, value in {**values, _STEPS: 1.0}.items():
            self._sums[name] = self._sums.get(name, 0.0) + value

    def log(self, logs: dict[str, float], *rest: Any, **options: Any) -> None:
        """Training figures get the means of PPO's own over the window."""
        if "loss" in logs and self._sums:
            steps = self._sums.pop(_STEPS)
            logs |= {name: value / steps for name, value in self._sums.items()}
            self._sums = {}
        super().log(logs, *rest, **options)

    def floating_point_ops(self, inputs: Any) -> int:
        """Not counted: what a plan's micro-step costs depends on its rollout."""
        return 0

    # Checkpoints: the value head and the rollout in use, besides what Trainer saves.

    def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
        """The model without the value head, and the value head beside it."""
        state = self.model.state_dict() if state_dict is None else state_dict
        policy = {name: value for name, value in state.items() if not name.startswith(f"{ppo_value.NAME}.")}
        super()._save(output_dir, policy)
        if self.args.should_save:
            ppo_value.save(self.model, Path(output_dir or self.args.output_dir))

    def _save_rng_state(self, output_dir: str) -> None:
        """Each process's random state, and the rollout that was drawn from it."""
        super()._save_rng_state(output_dir)
        ppo_rollout.save(self._rollout_file(output_dir), self._rollout, self._sums)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        """The policy, the value head, and the rollout in use."""
        super()._load_from_checkpoint(resume_from_checkpoint, model)
        ppo_value.load(self.model, Path(resume_from_checkpoint))
        file = self._rollout_file(resume_from_checkpoint)
        self._rollout, self._sums = ppo_rollout.load(file, self.args.device)

    def _rollout_file(self, folder: str) -> Path:
        rank = f"_{self.args.process_index}" if self.args.world_size > 1 else ""
        return Path(folder) / f"rollout{rank}.safetensors"

    def _issue_warnings_after_load(self, load_result: Any) -> None:
        """The value head has a file of its own."""
        head = f"{ppo_value.NAME}."
        missing = [name for name in load_result.missing_keys if not name.startswith(head)]
        super()._issue_warnings_after_load(load_result._replace(missing_keys=missing))


def trainer(job: Ingredients) -> PPO:
    """The trainer for these rows.

    Raises:
        TrainingError: Of kind `tokenizer`, `dataset` or `model`: prompts or reward model can't be used.
    """
    spec, model, tokenizer = job.spec, job.model, job.tokenizer
    prompts = [Prompts(ppo_prompts.read(rows, tokenizer, spec)) for rows in (job.train, job.held_out)]
    # DDP can't see from the policy's outputs that the value head is used.
    args = TrainingArguments(**{**job.arguments, "ddp_find_unused_parameters": False})
    adapters = lora_config(spec)
    if adapters is not None:
        from peft import get_peft_model

        # The adapters begin at random.
        set_seed(args.seed)
        model = get_peft_model(model, adapters)
    reference = ppo_policy.reference_of(model, args.device)
    ppo_value.add(model, spec.training.seed)
    return PPO(
        spec,
        tokenizer,
        reference,
        model=model,
        args=args,
        train_dataset=prompts[0],
        eval_dataset=prompts[1],
    )
