"""PPO's evaluations: completions of the eval prompts, drawn with a fixed seed; training does not notice."""

from __future__ import annotations

from typing import Any

import torch
from torch.utils.data import DataLoader
from transformers.trainer_utils import EvalLoopOutput

from engine.trainer import ppo_math
from engine.trainer.ppo_drawing import Drawing
from engine.trainer.ppo_prompts import Prompt

Tensor = Any


class DrawnEval(Drawing):
    """A mixin that evaluates a policy by what it earns and how far it has gone from its reference."""

    control: Any

    def get_eval_dataloader(self, eval_dataset: Any = None) -> DataLoader:
        """Batches of prompts; each process has its own."""
        rows = self.eval_dataset if eval_dataset is None else eval_dataset
        prompts = rows.prompts[self.args.process_index :: self.args.world_size]
        return DataLoader(prompts, self.args.eval_batch_size, collate_fn=list, generator=torch.Generator())

    @torch.no_grad()
    def evaluation_loop(
        self,
        dataloader: DataLoader,
        description: str,
        *rest: Any,
        metric_key_prefix: str = "eval",
        **options: Any,
    ) -> EvalLoopOutput:
        """Mean rewards of a completion, mean divergence of a token from the reference, and the like."""
        devices = [torch.cuda.current_device()] if torch.cuda.is_available() else []
        names = [function.__name__ for function in self.rewards]
        sums = torch.zeros(5 + len(names), dtype=torch.float64, device=self.args.device)
        with torch.random.fork_rng(devices):
            torch.manual_seed(self.args.seed + self.args.process_index)
            for prompts in dataloader:
                sums += self._evaluate_batch(prompts)
                self._batch_done()
        # Where ranks agree on going on, all are asked as often.
        for _ in range(max(self.attempt.ranks.all(len(dataloader))) - len(dataloader)):
            self._batch_done()
        rows, tokens, reward, square, divergence, *each = self.accelerator.reduce(sums, "sum").tolist()
        figures = {
            "reward": reward / rows,
            "reward_std": max(square / rows - (reward / rows) ** 2, 0.0) ** 0.5,
            "kl": divergence / tokens,
            "response_length": tokens / rows,
            **{f"rewards/{name}": total / rows for name, total in zip(names, each, strict=True)},
        }
        named = {f"{metric_key_prefix}_{name}": value for name, value in figures.items()}
        return EvalLoopOutput(None, None, named, int(rows))

    def _batch_done(self) -> None:
        self.control = self.callback_handler.on_prediction_step(self.args, self.state, self.control)

    def _evaluate_batch(self, prompts: list[Prompt]) -> Tensor:
        """Rows, tokens, scores, their squares, divergences and each reward, summed over a batch."""
        drawn = self._draw(prompts)
        logprobs, reference, _ = self._measure(drawn.tokens, drawn.attention, drawn.mask.shape[1])
        divergence = (ppo_math.divergence(logprobs, reference) * drawn.mask).sum()
        scores = drawn.scores.double()
        rows = drawn.mask.new_tensor(len(scores))
        each = [values.sum() for values in drawn.rewards.values()]
        sums = [rows, drawn.mask.sum(), scores.sum(), scores.square().sum(), divergence, *each]
        return torch.stack([item.double() for item in sums])
