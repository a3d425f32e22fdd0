"""Turns what the Trainer does into events and log lines, and requests from the laptop into what it does."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final, Literal

from engine.job.events import EventType, Phase, number
from engine.trainer import checkpoints, examples, gpus, log
from engine.trainer.attempt import Attempt
from engine.trainer.divergence import ALARMS, Diverged
from engine.trainer.hooks import announce, rotate
from engine.trainer.stop import StopNow
from scorer import Score, order_key
from scorer.score import FORMULA_DPO, FORMULA_REWARD
from scorer.trend import TrendName

if TYPE_CHECKING:
    from transformers import TrainerCallback as _Base
else:
    from transformers.trainer_callback import TrainerCallback as _Base

_COUNTED_HERE: Final = ("num_tokens", "num_input_tokens_seen", "epoch")
_TIMING: Final = ("_runtime", "_per_second", "_time")
_LARGEST_EXPONENT: Final = 700.0
"""e to the power of more overflows."""

_PARTS: Final = {FORMULA_REWARD: ("reward", "kl"), FORMULA_DPO: ("loss", "gap", "accuracy", "bonus")}
"""What the parts of a score are called where its formula has others than the first one's."""

_ALARMS: Final[dict[str, tuple[str, Literal["warning", "error"]]]] = {
    TrendName.NAN: ("loss_nan", "error"),
    TrendName.SPIKE: ("loss_spike", "warning"),
    TrendName.DIVERGING: ("loss_diverging", "error"),
    TrendName.OVERFITTING: ("overfitting", "warning"),
}
"""Verdicts that somebody should know of: the alert's name and severity."""


class Reporter(_Base):
    """The callback through which everything is told.

    Args:
        attempt: What the parts of the trainer share.
        trainer: The trainer, for what callbacks are not given.
        best: The key of the best score so far, for early stopping; None before the first.
    """

    def __init__(self, attempt: Attempt, trainer: Any, best: tuple[Any, ...] | None = None) -> None:
        self.attempt = attempt
        self.trainer = trainer
        self._best = best
        self._verdict = ""
        self._alarmed: set[str] = set()

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Training is about to start, from step 0 or from a checkpoint's step."""
        self.trainer.restore_progress()
        if self.attempt.rate is not None:
            self._put_learning_rate(self.attempt.rate)
            self.attempt.rate = None
        self.attempt.phase(Phase.TRAIN, state.global_step)

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """After each optimizer step: is somebody asking for something?"""
        folder, step = self.attempt.folder, state.global_step
        if self.attempt.looks_closely_at(step):
            self._tell_lengths(step)
        ranks = self.attempt.ranks
        waiting = (ranks.leads and folder.has_request(name) for name in ("save", "learning_rate"))
        leave, save, rate = self.attempt.agreed(*waiting)
        if leave:
            control.should_save = control.should_training_stop = True
            return
        if save:
            if ranks.leads:
                folder.take_request("save")
            control.should_save = True
            self.attempt.alert("save_requested", f"saving at step {step}, as asked", "info", step)
        if rate:
            wanted = ranks.told(folder.take_request("learning_rate") if ranks.leads else None)
            self._set_learning_rate(wanted, step)

    def _tell_lengths(self, step: int) -> None:
        """How long the rows were, of all ranks."""
        if lengths := self.attempt.meter.lengths(self.attempt.ranks.all):
            self.attempt.events.put(EventType.TOKENS, step, lengths)

    def on_prediction_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """After each batch of an evaluation: an evaluation can outlast the time a SIGTERM leaves."""
        if self.attempt.leaving():
            raise StopNow

    def on_log(
        self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **kwargs: Any
    ) -> None:
        """Training figures of one logging window."""
        if not logs or "loss" not in logs:
            return
        attempt, step = self.attempt, state.global_step
        loss, grad_norm, rate = logs["loss"], number(logs.get("grad_norm")), logs.get("learning_rate")
        speed = attempt.meter.read()
        figures = {name: value for name, value in logs.items() if name not in _COUNTED_HERE}
        rewarded = attempt.spec.method == "rlhf"
        figures |= {
            "epoch": state.epoch,
            "tokens": attempt.meter.tokens,
            "tokens_per_second": speed.tokens_per_second,
            "samples_per_second": speed.samples_per_second,
            **_perplexity("train_perplexity", None if rewarded else _cross_entropy(logs)),
            **gpus.figures(gpus.everywhere(attempt.ranks)),
        }
        attempt.events.append(EventType.TRAIN, step, **figures)
        log.line(f"step {step}  {log.figures(loss=loss, grad_norm=grad_norm, lr=rate)}")
        if rewarded and math.isfinite(loss) and math.isfinite(grad_norm or 0.0):
            # A policy's loss is near zero however training goes; only its end as a number says something.
            return
        attempt.progress.scorer.add_train(step, loss)
        attempt.progress.trend.add_train(step, loss, grad_norm)
        self._judge(step)

    def on_evaluate(
        self, args: Any, state: Any, control: Any, metrics: dict[str, Any] | None = None, **kwargs: Any
    ) -> None:
        """An evaluation is done: score it."""
        attempt, step, metrics = self.attempt, state.global_step, metrics or {}
        figures = _eval_figures(metrics)
        eval_loss, reward = figures.get("eval_loss"), figures.get("eval_reward")
        attempt.score = attempt.progress.scorer.add_eval(
            step,
            eval_loss,
            accuracy=figures.get("eval_rewards/accuracies"),
            reward=reward,
            kl=figures.get("eval_kl"),
        )
        attempt.progress.trend.add_eval(step, eval_loss)
        attempt.events.append(
            EventType.EVAL,
            step,
            sync=True,
            **figures,
            train_loss=attempt.score.metrics.train_loss,
            epoch=state.epoch,
            score=attempt.score.to_json(),
            eval_seconds=metrics.get("eval_runtime"),
        )
        attempt.tell_peaks(step)
        if losses := getattr(self.trainer, "example_losses", ()):
            # Several ranks, or other batches, see the examples in another order.
            order = f"{args.world_size}x{args.eval_batch_size}" if args.world_size > 1 else "rows"
            attempt.events.append(EventType.EXAMPLES, step, order=order, losses=examples.told(losses))
        told = log.figures(eval_loss=eval_loss, eval_reward=reward, score=attempt.score.total)
        log.line(f"step {step}  {told}  {_parts(attempt.score)}")
        if eval_loss is not None:
            self._judge(step)
        self._stop_early(step, control)
        saved = attempt.folder.checkpoint(step)
        if attempt.ranks.leads and args.eval_on_start and saved.exists() and not control.should_save:
            announce(attempt, checkpoints.rescore(checkpoints.read(saved), attempt.score))
            rotate(attempt)

    def _judge(self, step: int) -> None:
        """Tell when the trend's verdict changes, and raise the alarm once an attempt for each bad one."""
        verdict = self.attempt.progress.trend.verdict()
        if verdict.name == self._verdict:
            return
        self._verdict = verdict.name
        self.attempt.events.append(
            EventType.TREND, step, verdict=verdict.name, evidence=verdict.evidence, numbers=verdict.numbers
        )
        if (alarm := _ALARMS.get(verdict.name)) and alarm[0] not in self._alarmed:
            self._alarmed.add(alarm[0])
            self.attempt.alert(alarm[0], verdict.evidence, alarm[1], step)
            if alarm[0] in ALARMS and self.attempt.spec.training.on_divergence != "alert":
                raise Diverged(alarm[0], verdict.evidence, step, self.trainer.lr_scheduler.base_lrs[0])

    def _stop_early(self, step: int, control: Any) -> None:
        """Count evaluations without a better score, and stop after as many as the spec says."""
        attempt = self.attempt
        assert attempt.score is not None
        key = order_key(attempt.score)
        if self._best is None or key < self._best:
            self._best, attempt.progress.evals_without_better = key, 0
            return
        attempt.progress.evals_without_better += 1
        patience = attempt.spec.training.early_stopping_evals
        if patience is not None and attempt.progress.evals_without_better >= patience:
            attempt.progress.finished = True
            control.should_training_stop = control.should_save = True
            attempt.alert("early_stop", f"no better score in {patience} evaluations: stopping", "info", step)

    def _set_learning_rate(self, wanted: Any, step: int) -> None:
        """A new peak learning rate; the schedule goes on from it."""
        rate = number(wanted)
        if rate is None or not 0 <= rate < math.inf:
            self.attempt.alert("learning_rate_refused", f"{wanted!r} is no learning rate", "warning", step)
            return
        self._put_learning_rate(rate)
        self.attempt.alert("learning_rate_changed", f"learning rate set to {rate:g}, as asked", "info", step)

    def _put_learning_rate(self, rate: float) -> None:
        schedule, optimizer = self.trainer.lr_scheduler, self.trainer.optimizer
        schedule.base_lrs = [rate] * len(schedule.base_lrs)
        schedule._last_lr = _scheduled(schedule)
        for group, now in zip(optimizer.param_groups, schedule._last_lr, strict=True):
            group["initial_lr"], group["lr"] = rate, now


def _eval_figures(metrics: dict[str, Any]) -> dict[str, Any]:
    """An evaluation's figures: the method's own, with a perplexity where it learns likely texts.

    Rewards are what their method is judged by; where it also has a loss, that is near zero and no measure.
    """
    figures = {
        name: value
        for name, value in metrics.items()
        if name.startswith("eval_") and not name.endswith((*_TIMING, *_COUNTED_HERE))
    }
    if "eval_reward" in metrics:
        figures.pop("eval_loss", None)
        return figures
    return figures | _perplexity("perplexity", _cross_entropy(metrics, "eval_"))


def _parts(score: Score) -> str:
    """What a score is the sum of, in brackets; or why it is none."""
    if score.reason:
        return f"({score.reason})"
    names = _PARTS.get(score.formula, ("loss", "gap", "perplexity", "bonus"))
    values = (score.eval_loss, score.gap, score.perplexity, score.bonus)
    return f"({log.figures(**dict(zip(names, values, strict=False)))})"


def _cross_entropy(figures: dict[str, Any], prefix: str = "") -> float | None:
    """The cross entropy among some figures, nats; a preference loss is none, but ORPO's has one as a part."""
    paired = f"{prefix}rewards/accuracies" in figures
    return figures.get(f"{prefix}nll_loss" if paired else f"{prefix}loss")


def _perplexity(name: str, nll: float | None) -> dict[str, float]:
    if nll is None:
        return {}
    # NaN is no less than anything.
    return {name: math.inf if nll >= _LARGEST_EXPONENT else math.exp(nll)}


def _scheduled(schedule: Any) -> list[float]:
    """The learning rates that a LambdaLR gives for the step it is at."""
    shapes = zip(schedule.base_lrs, schedule.lr_lambdas, strict=True)
    return [base * shape(schedule.last_epoch) for base, shape in shapes]
