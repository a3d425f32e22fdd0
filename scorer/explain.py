"""One sentence for a person: which checkpoint won, and why it is not the one with the lowest eval loss."""

from __future__ import annotations

from collections.abc import Sequence

from scorer.score import FORMULA_DPO, FORMULA_REWARD, Score, Validity

_RULE_WORDS = {
    "multi-metric": "the best score",
    "eval-loss": "the lowest eval loss",
    "ema": "the lowest smoothed eval loss",
    "last": "the last step",
}


def explain(
    best: Score | None, lowest: Score | None, tied: Sequence[Score], order: Sequence[Score], rule: str
) -> str:
    """The reason for a choice, in one sentence."""
    if not order:
        return "There are no checkpoints to choose from."
    if best is None:
        why = order[0].reason or "there is no eval loss"
        count = "The only checkpoint has" if len(order) == 1 else f"None of the {len(order)} checkpoints has"
        return f"{count} {'no' if len(order) == 1 else 'a'} usable score: {why}."
    claim = _RULE_WORDS.get(rule, f"the first place by {rule}")
    text = f"Step {best.metrics.step} has {claim}"
    if rule == "multi-metric":
        text += f" ({best.total:.4g})" if best.validity is Validity.VALID else f" though {best.reason}"
    text += _against_lowest(best, lowest, tied, rule)
    return text + _ties(best, lowest, tied) + "."


def _against_lowest(best: Score, lowest: Score | None, tied: Sequence[Score], rule: str) -> str:
    """How the winner stands to the lowest eval loss."""
    ours = best.metrics.eval_loss
    if lowest is None or lowest.metrics.eval_loss is None or ours is None:
        return ""
    loss = lowest.metrics.eval_loss
    if lowest is best:
        also = "" if rule == "eval-loss" else " and the lowest eval loss"
        return f"{also} ({loss:.4g} nats)"
    more = ours - loss
    if more == 0:
        return f" and shares the lowest eval loss ({loss:.4g} nats) with step {lowest.metrics.step}"
    share = f", {100 * more / loss:.2g} %" if loss > 0 else ""
    noise = ", within the noise" if lowest in tied else ""
    text = f", but step {lowest.metrics.step} has the lowest eval loss: {more:.3g} nats{share} lower{noise}"
    return text + (_deciding_part(best, lowest) if rule == "multi-metric" else "")


def _deciding_part(best: Score, lowest: Score) -> str:
    """Which part of the score outweighed the eval loss."""
    if best.validity is not Validity.VALID:
        return ""
    if lowest.validity is not Validity.VALID:
        return f"; it does not count because {lowest.reason}"
    third = "accuracy" if best.formula == FORMULA_DPO else "perplexity"
    gap = "KL" if best.formula == FORMULA_REWARD else "train-eval gap"
    parts = {
        "reward" if best.formula == FORMULA_REWARD else "eval-loss part": (best.eval_loss, lowest.eval_loss),
        gap: (best.gap, lowest.gap),
        third: (best.perplexity, lowest.perplexity),
        "improvement bonus": (best.bonus, lowest.bonus),
    }
    name, (ours, theirs) = max(parts.items(), key=lambda item: item[1][1] - item[1][0])
    if theirs <= ours:
        return ""
    return f"; the {name} decided ({ours:.3g} against {theirs:.3g})"


def _ties(best: Score, lowest: Score | None, tied: Sequence[Score]) -> str:
    """Who else might as well have won."""
    steps = [str(other.metrics.step) for other in tied if other is not lowest or lowest is best]
    if not steps:
        return ""
    if len(steps) > 4:
        return f"; {len(steps)} others can't be told from it by eval loss"
    names = steps[0] if len(steps) == 1 else f"{', '.join(steps[:-1])} and {steps[-1]}"
    return f"; step{'s' * (len(steps) > 1)} {names} can't be told from it by eval loss"
