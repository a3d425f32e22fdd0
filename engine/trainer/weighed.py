"""Evaluation figures that do not depend on the batches: means over the tokens or rows they are about."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

from engine.trainer.hooks import PodiumTrainer

Weighed = dict[str, tuple[Any, Any]]
"""Figures of a batch by name: the mean, and over how many (tokens or rows) it is one."""


class WeighedEval(PodiumTrainer):
    """A mixin for TRL's trainers, which would average the means of batches, full or not, alike."""

    @abstractmethod
    def measured(self, inputs: dict[str, Any], loss: Any) -> Weighed:
        """The figures of the eval batch that was just computed, `loss` among them."""

    def evaluation_loop(
        self, dataloader: Any, description: str, *rest: Any, metric_key_prefix: str = "eval", **options: Any
    ) -> Any:
        """All eval batches; every figure is a mean over all of them."""
        import torch

        self._sums: dict[str, Any] = {}
        self._counts: dict[str, Any] = {}
        options["metric_key_prefix"] = metric_key_prefix
        result = super().evaluation_loop(dataloader, description, *rest, **options)
        for name in self._sums:
            pair = torch.tensor([float(self._sums[name]), float(self._counts[name])], dtype=torch.float64)
            total, count = self.accelerator.reduce(pair.to(self.args.device), "sum").tolist()
            if count > 0:
                result.metrics[f"{metric_key_prefix}_{name}"] = total / count
        return result

    def prediction_step(self, model: Any, inputs: dict[str, Any], *rest: Any, **options: Any) -> Any:
        """One eval batch; its figures are summed up."""
        result = super().prediction_step(model, inputs, *rest, **options)
        for name, (value, weight) in self.measured(inputs, result[0].double()).items():
            self._sums[name] = self._sums.get(name, 0.0) + value * weight
            self._counts[name] = self._counts.get(name, 0) + weight
        return result


def taken(figures: dict[str, list[float]]) -> dict[str, float]:
    """The newest of each of TRL's figures, which are then forgotten, so that it does not average them."""
    found = {name: values[-1] for name, values in figures.items() if values}
    figures.clear()
    return found
