"""What speaks for the best run and against trusting that too much: sentences with numbers. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final

from engine.analysis import format as words
from engine.analysis.metrics import Run, known, pace, price_of_hundredth
from engine.analysis.spending import cost_after
from engine.job.events import Status
from engine.records import Checkpoint, Job
from scorer.ties import curve_noise

_TIE: Final = 1.96 * math.sqrt(2.0)
"""Standard deviations of one eval loss that two runs must differ by, two-sided 5 %."""

_WASTE: Final = 0.05
"""Cost after the best checkpoint that is worth a word, as a share of the cost."""


def names_of(jobs: Sequence[Job]) -> dict[str, str]:
    """What each run is called in sentences: its name, with its number where several bear it."""
    alike = [job.name for job in jobs]
    return {job.id: f"{job.name} #{job.number}" if alike.count(job.name) > 1 else job.name for job in jobs}


def reasons(best: Run, others: Sequence[Run], names: Mapping[str, str]) -> Iterator[str]:
    """Why to keep the best run: quality, checkpoint, price, and what its end was worth.

    Args:
        best: The run.
        others: The other runs that have an eval loss, the best first.
        names: What each run is called.
    """
    if others:
        yield _lead(best, others[0], names)
    yield from _checkpoint(best)
    yield from _price(best, others, names)
    yield from _waste(best)


def _lead(best: Run, second: Run, names: Mapping[str, str]) -> str:
    """How far ahead the best run is of the second."""
    if best.job.best_eval_reward is not None:
        return _lead_by_reward(best, second, names)
    ours, theirs = best.job.best_eval_loss or 0.0, second.job.best_eval_loss or 0.0
    noise = _noise(best, second)
    band = "" if noise is None or ours <= 0 else f" (noise ± {_percent(1.96 * noise / ours)})"
    loss = f"Its lowest eval loss {words.loss(ours)}"
    if ours == theirs:
        return f"{loss} is exactly that of {names[second.job.id]}{band}."
    if theirs <= 0:
        return f"{loss} is {theirs - ours:.4g} below that of {names[second.job.id]}."
    below = _percent((theirs - ours) / theirs)
    return f"{loss} is {below} below {words.loss(theirs)} of {names[second.job.id]}{band}."


def _lead_by_reward(best: Run, second: Run, names: Mapping[str, str]) -> str:
    """The same of runs that are judged by a reward."""
    ours, theirs = best.job.best_eval_reward or 0.0, second.job.best_eval_reward or 0.0
    noise = _noise(best, second)
    band = "" if noise is None else f" (noise ± {words.short(1.96 * noise)})"
    reward = f"Its highest eval reward {words.short(ours)}"
    if ours == theirs:
        return f"{reward} is exactly that of {names[second.job.id]}{band}."
    other = names[second.job.id]
    return f"{reward} is {words.short(ours - theirs)} above {words.short(theirs)} of {other}{band}."


def _checkpoint(best: Run) -> Iterator[str]:
    """What speaks for the checkpoint, and whether the score overruled the lowest eval loss."""
    chosen = best.best
    if chosen is None or known(chosen.eval_loss) is None:
        return
    assert chosen.eval_loss is not None
    train = known(chosen.train_loss)
    gap = ""
    if train is not None and chosen.eval_loss > 0:
        gap = f" and a gap to the train loss of {_percent(abs(chosen.eval_loss - train) / chosen.eval_loss)}"
    total = chosen.score.total if chosen.score is not None else None
    score = f" has the best score {words.loss(total)}," if known(total) is not None else " has"
    yield f"Checkpoint {chosen.step}{score} eval loss {words.loss(chosen.eval_loss)}{gap}."
    lowest = next((item for item in best.checkpoints if item.is_lowest_eval_loss), None)
    if lowest is not None and lowest.step != chosen.step:
        tied = ", within the noise" if lowest.tied else ""
        yield f"The lowest eval loss is at checkpoint {lowest.step}, {words.loss(lowest.eval_loss)}{tied}."


def _price(best: Run, others: Sequence[Run], names: Mapping[str, str]) -> Iterator[str]:
    """What it cost and took beside the cheapest other run that went to its end, and what that bought."""
    ended = [run for run in others if run.job.status is Status.COMPLETED]
    if best.job.status.ended and ended:
        cheapest = min(ended, key=lambda run: _or_endless(run.job.cost_total))
        cost = _more(best.job.cost_total, cheapest.job.cost_total, 0.005, words.dollars, "cost", "more")
        quickest = cheapest if cost else min(ended, key=lambda run: _or_endless(run.job.elapsed_seconds))
        time = _more(
            best.job.elapsed_seconds, quickest.job.elapsed_seconds, 1.0, words.duration, "took", "longer"
        )
        if cost or time:
            both = " and ".join(part for part in (cost, time) if part)
            yield f"It {both} than {names[quickest.job.id]}."
    yield from _efficiency(best, others, names)


def _or_endless(value: float | None) -> float:
    value = known(value)
    return math.inf if value is None else value


def _more(
    ours: float | None,
    theirs: float | None,
    least: float,
    write: Callable[[float | None], str],
    verb: str,
    longer: str,
) -> str:
    """«cost $0.38 more»; empty where it is unknown or next to nothing."""
    ours, theirs = known(ours), known(theirs)
    if ours is None or theirs is None or abs(ours - theirs) < least:
        return ""
    return f"{verb} {write(abs(ours - theirs))} {longer if ours > theirs else 'less'}"


def _efficiency(best: Run, others: Sequence[Run], names: Mapping[str, str]) -> Iterator[str]:
    """What an hour and a dollar bought, beside the run that used its hours best."""
    ours = pace(best)
    if ours is None or ours <= 0 or not best.job.status.ended:
        return
    dollar = price_of_hundredth(best)
    text = f"It gained {ours:.3g} of eval loss an hour"
    if dollar is not None and dollar >= 0.005:
        text += f", {words.dollars(dollar)} for each 0.01"
    paced = [(rate, run) for run in others if (rate := pace(run)) is not None and rate > 0]
    if paced:
        rate, other = max(paced, key=lambda item: item[0])
        text += f"; {names[other.job.id]} gained {rate:.3g}"
    yield f"{text}."


def _waste(best: Run) -> Iterator[str]:
    """What came after the best checkpoint, where it is worth a word."""
    chosen, job = best.best, best.job
    if chosen is None or not job.status.ended:
        return
    spent, epoch = cost_after(job, chosen), known(chosen.epoch)
    if spent and job.cost_total and spent > _WASTE * job.cost_total:
        when = f"after epoch {epoch:.3g}" if epoch is not None else f"after step {chosen.step}"
        share = _percent(spent / job.cost_total)
        yield f"Stop {when} next time: the last {words.dollars(spent)} ({share}) bought nothing."


def caveats(
    best: Run, others: Sequence[Run], runs: Sequence[Run], names: Mapping[str, str], unknown: Sequence[str]
) -> Iterator[str]:
    """What makes it unsure: what is unknown, ties, how the best run ended, runs without a verdict.

    Args:
        best: The run.
        others: The other runs that have an eval loss, the best first.
        runs: All runs.
        names: What each is called.
        unknown: What is not known to be the same in all of them.
    """
    yield from (f"{text[:1].upper()}{text[1:]}." for text in unknown)
    yield from _ties(best, others, names)
    yield from _condition(best, names)
    live = [run.job for run in runs if run.job.status.live and run.job.id != best.job.id]
    if live:
        verb = "is" if len(live) == 1 else "are"
        yield f"{words.listed(names[job.id] for job in live)} {verb} still going and may yet be better."
    blind = [run.job for run in runs if known(run.job.rank_value) is None and not run.job.status.live]
    if blind:
        yield f"There is no evaluation of {words.listed(names[job.id] for job in blind)}."


def _ties(best: Run, others: Sequence[Run], names: Mapping[str, str]) -> Iterator[str]:
    """The runs that can't be told from the best, and the cheapest of them."""
    tied = [run for run in others if _tied(best, run)]
    if not tied:
        return
    text = f"{words.listed(names[run.job.id] for run in tied)} can't be told from it: within the noise"
    ours = known(best.job.cost_total)
    cheaper = [
        run for run in tied if ours is not None and (known(run.job.cost_total) or math.inf) < ours - 0.005
    ]
    if cheaper and ours is not None:
        least = min(cheaper, key=lambda run: run.job.cost_total or 0.0)
        saved = words.dollars(ours - (least.job.cost_total or 0.0))
        text += f", and {names[least.job.id]} cost {saved} less"
    yield f"{text}. A larger evaluation set would decide."


def changes(best: Run, others: Sequence[Run], names: Mapping[str, str]) -> Iterator[str]:
    """What would change the recommendation: how far the next run is behind, in percent and in noise.

    Args:
        best: The recommended run.
        others: The other runs that have an eval loss, the best first.
        names: What each is called.
    """
    ours = known(best.job.rank_value)
    apart = [run for run in others if not _tied(best, run)]
    if ours is None or not apart:
        return
    theirs = apart[0].job.rank_value or 0.0
    noise = _noise(best, apart[0])
    times = f", {(theirs - ours) / noise:.0f} times the noise of one evaluation" if noise else ""
    if best.job.best_eval_reward is not None:
        more = words.short(theirs - ours)
        yield f"{names[apart[0].job.id]} would need {more} more reward{times}, to be kept instead."
        return
    if theirs <= 0 or ours <= 0:
        return
    yield (
        f"{names[apart[0].job.id]} would have to come {_percent((theirs - ours) / theirs)} lower{times}, "
        "to be kept instead."
    )


def _tied(best: Run, other: Run) -> bool:
    ours, theirs = best.job.rank_value, other.job.rank_value
    if ours is None or theirs is None:
        return False
    noise = _noise(best, other)
    return ours == theirs or (noise is not None and theirs - ours <= _TIE * noise)


def _condition(best: Run, names: Mapping[str, str]) -> Iterator[str]:
    """What is wrong with the best run itself."""
    job, name = best.job, names[best.job.id]
    last = best.checkpoints[-1].step if best.checkpoints else None
    falling = best.best is not None and best.best.step == last
    if job.status.live:
        yield f"{name} is still going: this may change."
    elif job.status is not Status.COMPLETED:
        how = {Status.FAILED: "failed", Status.CANCELLED: "was cancelled"}.get(job.status, "is paused")
        at = f" at {job.progress:.0f} %" if job.progress is not None else ""
        better = ", and was still getting better" if falling else ""
        yield f"{name} {how}{at}{better}: it was cut short, yet it is ahead."
    elif falling and len(best.checkpoints) > 1:
        yield f"{name} was best at its very end: it may not have been trained long enough."
    if best.best is not None and best.best.path is None:
        yield f"The files of checkpoint {best.best.step} are gone."


def _noise(*runs: Run) -> float | None:
    """Standard deviation of one evaluation: the greatest of the runs' eval curves; None when unknown."""
    found = (curve_noise([(item.step, _result(item)) for item in run.checkpoints]) for run in runs)
    return max((noise for noise in found if noise is not None), default=None)


def _result(checkpoint: Checkpoint) -> float | None:
    """What a checkpoint is judged by: its eval loss, nats, or its reward."""
    reward = checkpoint.score.metrics.reward if checkpoint.score is not None else None
    return checkpoint.eval_loss if reward is None else reward


def _percent(fraction: float) -> str:
    """A share that is seldom exact: `26 %`, `0.4 %`."""
    value = abs(fraction) * 100
    return f"{value:.0f} %" if value >= 9.95 else f"{value:.1f} %"
