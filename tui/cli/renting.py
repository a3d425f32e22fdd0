"""What is asked before money is spent: the limits, and whether price, stock and worst cost are agreed to."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import click

from engine.analysis import format as words
from engine.errors import BadInput
from engine.job.placement import LimitsSpec
from tui.cli.output import fields, interactive, line, one_line

if TYPE_CHECKING:
    from engine.job.estimate import Estimate
    from engine.job.spec import JobSpec
    from engine.pods.provider import Offer
    from engine.pods.quote import Quote
    from engine.records import Job
    from engine.store.base import Store

LIMITS: Final[Mapping[str, tuple[str, str]]] = {
    "max_hours": ("--max-hours", "Hours that it may run at most"),
    "max_cost_usd": ("--max-cost", "Dollars that it may cost at most"),
    "stall_minutes": ("--stall-minutes", "Minutes without a sign of life until it is started again"),
    "retrieve_minutes": ("--retrieve-minutes", "Minutes that the machine is kept for fetching"),
}
"""The limits that are asked for: the option, and the question."""

_A_DAY: Final = 24.0

Say = Callable[[str], None]


def limit_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options that set the limits."""
    for name, (option, question) in reversed(list(LIMITS.items())):
        command = click.option(option, name, type=float, metavar="N", help=f"{question}.")(command)
    return command


def limits_set(given: Mapping[str, float | None]) -> list[str]:
    """The changes that set the limits which were given as options."""
    return [f"limits.{name}={value!r}" for name, value in given.items() if value is not None]


def may_rent(spec: JobSpec, yes: bool) -> None:
    """See that somebody can confirm, or has.

    Raises:
        BadInput: Nobody is there to ask and --yes was not given, or nothing would bound the bill.
    """
    if yes and spec.limits.max_hours is None and spec.limits.max_cost_usd is None:
        raise BadInput("a rented machine needs a limit", "Give --max-hours or --max-cost.")
    if not yes and not interactive():
        raise BadInput("renting a machine has to be confirmed, and this is no terminal", "Give --yes.")


def asked(spec: JobSpec, given: Mapping[str, float | None], estimate: Estimate, quote: Quote) -> JobSpec:
    """The spec with the limits that a person at the terminal wants, but for those given as options."""
    values = spec.limits.model_dump()
    for name, (_, question) in LIMITS.items():
        if given.get(name) is not None:
            continue
        proposed = values[name] if values[name] is not None else _proposed(name, values, estimate, quote)
        values[name] = click.prompt(question, default=proposed, type=click.FloatRange(min=0), err=True)
    try:
        limits = LimitsSpec.model_validate(values)
    except ValueError:
        raise BadInput("a limit of 0 leaves nothing to run", "Give more than 0.") from None
    return spec.model_copy(update={"limits": limits})


def _proposed(name: str, values: Mapping[str, Any], estimate: Estimate, quote: Quote) -> float:
    """A limit for a job that has none: twice the estimate, and what that costs with boot and fetching."""
    if name == "max_hours":
        return _A_DAY if estimate.seconds is None else max(1.0, math.ceil(2 * estimate.seconds / 3600))
    limits = LimitsSpec.model_validate({**values, "max_cost_usd": None})
    return math.ceil(100 * (replace(quote, limits=limits).worst_cost or 0.0)) / 100


def show(rows: Sequence[tuple[str, str]], *, err: bool) -> None:
    """Show names and values, on stderr where stdout is for a program."""
    if not err:
        fields(rows)
    else:
        for name, value in rows:
            line(one_line(f"{name}: {value}"), err=True)


def offered(spec: JobSpec, quote: Quote, estimate: Estimate) -> list[tuple[str, str]]:
    """What would be rented: machine, price times count, stock, disks, and what the job takes."""
    first, *others = quote.offers
    count, price = _count(quote), quote.price_per_hour
    together = f"{quote.nodes} machines of " if quote.nodes > 1 else ""
    hours = estimate.seconds / 3600 if estimate.seconds is not None else None
    needs = f", about {quote.memory_gb:.0f} GB needed" if quote.memory_gb is not None else ""
    gpus = f"{together}{quote.gpu_count} × {first.gpu_name}, {first.memory_gb:g} GB each{needs}"
    rows = [
        ("machine", f"{gpus} · {_stock(first)}"),
        ("price", f"{count} × ${first.price_per_hour:.2f} = ${price:.2f} an hour"),
    ]
    if others:
        rows.append(("or else", "; ".join(_other(offer, quote) for offer in others)))
    rows += [
        ("disk", _disks(spec, quote)),
        ("time", words.UNKNOWN if hours is None else f"about {hours:.1f} h by the estimate"),
        ("cost", words.UNKNOWN if hours is None else f"about {words.dollars(hours * price)} by the estimate"),
    ]
    return rows


def _count(quote: Quote) -> str:
    """What the price of a GPU is multiplied with: machines, where there are several, and GPUs of each."""
    return f"{quote.nodes} × {quote.gpu_count}" if quote.nodes > 1 else str(quote.gpu_count)


def bounds(quote: Quote) -> list[tuple[str, str]]:
    """What bounds the bill, and the most that it can come to."""
    return [("limits", _limits(quote.limits)), ("worst cost", words.dollars(quote.worst_cost))]


def _stock(offer: Offer) -> str:
    stock = "stock unknown" if offer.stock == "unknown" else f"{offer.stock} stock"
    return f"{offer.cloud} cloud, {stock}"


def _other(offer: Offer, quote: Quote) -> str:
    price = offer.price_per_hour * quote.gpus
    return f"{_count(quote)} × {offer.gpu_name} at ${price:.2f}/h ({_stock(offer)})"


def _disks(spec: JobSpec, quote: Quote) -> str:
    rent = spec.pod.rent
    if rent is None:
        return words.UNKNOWN
    if quote.nodes > 1 and quote.volume is None:
        return f"{rent.disk_gb + (rent.volume_gb or 0)} GB each, lost with them: a cluster can't be stopped"
    kept = f", {rent.volume_gb} GB at /workspace" if rent.volume_gb else ""
    if quote.volume is not None:
        kept = f", the volume {quote.volume.name} in {quote.volume.data_center}"
    return f"{rent.disk_gb} GB{kept}"


def _limits(limits: LimitsSpec) -> str:
    said = [
        f"{limits.max_hours:g} h" if limits.max_hours is not None else "no end of hours",
        f"${limits.max_cost_usd:.2f}" if limits.max_cost_usd is not None else "no end of dollars",
        f"{limits.stall_minutes:g} min of silence" if limits.stall_minutes is not None else "any silence",
        f"{limits.retrieve_minutes:g} min for fetching",
    ]
    return " · ".join(said)


class Telling:
    """Says what is being done for a job on its way to its start.

    Args:
        store: Where it is told.
        say: What to do with a line.
    """

    def __init__(self, store: Store, say: Say) -> None:
        self._store, self._say = store, say
        self._told: tuple[object, ...] = ()

    def __enter__(self) -> Telling:
        self._cancel = self._store.subscribe(self._changed)
        return self

    def __exit__(self, *_: object) -> None:
        self._cancel()

    def trying(self, offer: Offer) -> None:
        """A candidate is being asked for."""
        self._say(f"asking for {offer.gpu_name} ({offer.cloud}) at ${offer.price_per_hour:.2f}/h a GPU")

    def _changed(self, job_ids: frozenset[str]) -> None:
        for job_id in job_ids:
            job = self._store.job(job_id)
            facts = (job.pod_id, job.phase)
            if job.status.live and facts != self._told and (job.pod_id or job.phase):
                self._told = facts
                self._say(_progress(job))


def _progress(job: Job) -> str:
    where = f" · pod {job.pod_id} at {words.dollars(job.cost_per_hour)}/h" if job.pod_id else ""
    return f"{job.name} · {job.phase or job.status}{where}"
