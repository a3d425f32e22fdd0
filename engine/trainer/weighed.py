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

    def get_eval_dataloader(self, eval_dataset: Any = None) -> Any:
        """Batches for each rank; what fills the last ones up counts nothing where the loss is by label."""
        rows = self.eval_dataset if eval_dataset is None else eval_dataset
        ranks = self.args.world_size
        filled = _filled(rows, self.args.eval_batch_size * ranks) if ranks > 1 else rows
        return super().get_eval_dataloader(filled)

    def evaluation_loop(
        self, dataloader: Any, description: str, *rest: Any, metric_key_prefix: str = "eval", **options: Any
    ) -> Any:
        """All eval batches; every figure is a mean over all of them."""
        self._sums: dict[str, Any] = {}
        self._counts: dict[str, Any] = {}
        options["metric_key_prefix"] = metric_key_prefix
        result = super().evaluation_loop(dataloader, description, *rest, **options)
        # A rank that saw fillers alone knows no names.
        for name in dict.fromkeys(
            name for names in self.attempt.ranks.all(list(self._sums)) for name in names
        ):
            pair = float(self._sums.get(name, 0.0)), float(self._counts.get(name, 0))
            total, count = self.attempt.ranks.sums(*pair)
            if count > 0:
                result.metrics[f"{metric_key_prefix}_{name}"] = total / count
        return result

    def prediction_step(self, model: Any, inputs: dict[str, Any], *rest: Any, **options: Any) -> Any:
        """One eval batch; its figures are summed up."""
        result = super().prediction_step(model, inputs, *rest, **options)
        for name, (value, weight) in self.measured(inputs, result[0].double()).items():
            if (
                self.args.world_size > 1 and float(weight) == 0
            ):  # nothing but fillers, whose mean is no number
                continue
            self._sums[name] = self._sums.get(name, 0.0) + value * weight
            self._counts[name] = self._counts.get(name, 0) + weight
        return result


def _filled(rows: Any, multiple: int) -> Any:
    """The rows with copies of the first, none of whose labels counts, up to a multiple."""
    spare = -len(rows) % multiple
    if not spare or "labels" not in (getattr(rows, "column_names", None) or ()):
        return rows
    from datasets import concatenate_datasets

    masked = rows.select([0] * spare).map(lambda row: {"labels": [-100] * len(row["labels"])})
    return concatenate_datasets([rows, masked.cast(rows.features)])


def taken(figures: dict[str, list[float]]) -> dict[str, float]:
    """The newest of each of TRL's figures, which are then forgotten, so that it does not average them."""
    found = {name: values[-1] for name, values in figures.items() if values}
    figures.clear()
    return found
