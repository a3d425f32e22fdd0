"""The first three lines about a run: who it is, how far it is, what it costs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from textual.content import Content

from engine.analysis.format import UNKNOWN, age, count, dollars, duration, percent, short
from engine.analysis.snapshot import JobDetail
from engine.job.events import Status
from engine.records import Job, Reports
from tui.themes import run_style
from tui.widgets.bars import progress
from tui.widgets.clean import clean
from tui.widgets.detail_view import AgingView

STATUS_STYLES: Final = {
    Status.RUNNING: "$success",
    Status.COMPLETED: "$success",
    Status.FAILED: "$error",
    Status.PAUSED: "$warning",
}
"""The styles of states; what is not here is quiet."""

PHASES: Final = {
    "provision": "renting a machine",
    "upload": "uploading",
    "install": "installing",
    "load": "loading the model",
    "rehearse": "trying the longest batch",
    "train": "training",
    "eval": "evaluating",
    "save": "saving a checkpoint",
    "predict": "generating answers",
    "merge": "merging",
    "push": "pushing",
    "idle": "idle",
}
"""What a phase is called."""

QUIET: Final = "$text-muted"

STALE_PROOF: Final = 300.0
"""From when on a guard's last proof is old, seconds; it proves itself every minute."""


MANY_BEHIND: Final = 1000
"""Events that reports may be behind without anybody being told, as long as the server takes them."""


class RunHeader(AgingView):
    """Name, method, model, place, state; progress; phase, speed and money."""

    FIXED = True

    def draw(self, detail: JobDetail, width: int) -> Content:
        """Three lines; what does not fit is left out from the least important on."""
        lines = (
            self._who(detail, width),
            _how_far(detail.job, width),
            _what_it_costs(detail, self.now, width),
        )
        return Content("\n").join(lines)

    def _who(self, detail: JobDetail, width: int) -> Content:
        job = detail.job
        right = _state(detail, self.now, brief=width < 110)
        name = Content.styled(f"■ {clean(job.name, 60)}", f"bold {run_style(job.number)}")
        facts = [job.method, clean(job.model_name or job.base_model, 60), _machine(job), _place(job)]
        if job.replay:
            facts.insert(0, "REPLAY of a recorded run")
        quiet = [Content.styled(fact, QUIET) for fact in facts if fact]
        return across(Content("  "), name, quiet, right, width, separator=" · ")


def across(
    gap: Content, first: Content, rest: Sequence[Content], right: Content, width: int, *, separator: str
) -> Content:
    """A line with something at both ends; of `rest`, as much as there is room for."""
    between = Content.styled(separator, QUIET)
    shown = list(rest)
    while True:
        left = Content.assemble(first, gap, between.join(shown)) if shown else first
        space = width - left.cell_length - right.cell_length
        if space >= 1 or not shown:
            return Content.assemble(left, " " * max(1, space), right).truncate(width, ellipsis=True)
        shown.pop()


def _machine(job: Job) -> str:
    if not job.gpu_type:
        return ""
    many = f"{job.gpu_count} × " if job.gpu_count and job.gpu_count > 1 else ""
    return many + clean(job.gpu_type, 40)


def _place(job: Job) -> str:
    """The provider, and of a machine over SSH its name."""
    pod = job.config.get("pod")
    if job.provider != "ssh" or not isinstance(pod, Mapping):
        return job.provider or ""
    several = pod.get("hosts")
    hosts = several if isinstance(several, (list, tuple)) and several else [pod.get("host")]
    more = f" +{len(hosts) - 1}" if len(hosts) > 1 else ""
    return f"ssh {clean(str(hosts[0]), 40)}{more}" if hosts[0] else "ssh"


def _state(detail: JobDetail, now: datetime | None, *, brief: bool) -> Content:
    """The run's state, and the sign of life: its age, or that the connection is lost."""
    job = detail.job
    state = Content.styled(job.status.value, f"bold {STATUS_STYLES.get(job.status, QUIET)}")
    if now is None:
        return state
    if not job.status.live:
        ended = job.completed_at or job.failed_at
        return Content("  ").join([state, Content.styled(age(ended, now), QUIET)]) if ended else state
    if job.last_heartbeat_at is None:
        read = job.attached and job.updated_at is not None
        sign = f"last read {age(job.updated_at, now)}" if read else "no sign of life yet"
        return Content("  ").join([state, Content.styled(sign, QUIET)])
    beat = age(job.last_heartbeat_at, now)
    if detail.link != "reconnecting":
        return Content("  ").join([state, Content.styled(f"♥ {beat}", QUIET)])
    words = f"♡ {beat}" if brief else f"♡ last heard {beat}; the run goes on without us"
    return Content.styled(f"reconnecting  {words}", "bold $warning")


def _how_far(job: Job, width: int) -> Content:
    share = job.progress / 100 if job.progress is not None else 0.0
    facts = [
        percent(job.progress),
        f"step {_of(job.current_step, job.total_steps)}",
        f"epoch {_of(job.current_epoch, job.total_epochs)}",
    ]
    if job.status.live:
        facts.append(f"ETA {duration(job.remaining_seconds)}")
    facts.append(
        f"{duration(job.elapsed_seconds)} so far"
        if job.status.live
        else f"took {duration(job.elapsed_seconds)}"
    )
    while facts:
        words = "   ".join(facts)
        room = width - len(words) - 2
        if room >= min(20, width // 4) or len(facts) == 1:
            break
        facts.pop()
    done, left = progress(share, max(0, room))
    style = (
        "$error"
        if job.status is Status.FAILED
        else "$success"
        if job.status is Status.COMPLETED
        else "$accent"
    )
    return Content.assemble((done, style), (left, "$rule"), "  ", words)


def _of(value: float | None, total: float | None) -> str:
    def written(number: float | None) -> str:
        return count(number) if number is None or float(number).is_integer() else f"{number:.2f}"

    return f"{written(value)} / {written(total)}"


def _what_it_costs(detail: JobDetail, now: datetime | None, width: int) -> Content:
    """Phase, speed, money, guard; where there is no room for all, in fewer words, then fewer facts."""
    job = detail.job
    if job.status is Status.FAILED and job.error_message:
        return Content.styled(clean(job.error_message, 400), "$error").truncate(width, ellipsis=True)
    for brief in (False, True):
        parts = list(_costs(detail, now, brief=brief))
        line = Content.styled(" · ", QUIET).join(parts)
        if line.cell_length <= width:
            return line
    while line.cell_length > width and len(parts) > 1:
        parts.pop()
        line = Content.styled(" · ", QUIET).join(parts)
    return line


def _costs(detail: JobDetail, now: datetime | None, *, brief: bool) -> Iterator[Content]:
    """The facts of the third line, the most important first."""
    job = detail.job
    if job.status.live:
        yield Content(PHASES.get(job.phase or "", clean(job.phase, 30)) or UNKNOWN)
        yield Content(f"{count(job.tokens_per_second)} tok/s")
        if told := report_words(detail.reports, brief=brief):
            yield Content.styled(told, "$warning")
    yield _money(job, brief=brief)
    if not _free(job) and (detail.checkpoints or not job.attached):
        yield _since_best(detail, brief=brief)
    if job.status.live and not job.attached:
        yield guard_words(detail, now, brief=brief)
    if job.best_step is not None and not job.status.live:
        yield Content.assemble(("★ ", "$warning"), f"checkpoint {count(job.best_step)}")
    if job.bad_lines:
        yield Content.styled(f"{count(job.bad_lines)} unreadable event lines", "$warning")
    if job.loss is not None and not brief:
        yield Content.assemble(("loss ", QUIET), short(round(job.loss, 4)))


def _since_best(detail: JobDetail, *, brief: bool) -> Content:
    """What was spent for nothing better."""
    spent, total = detail.cost_since_best, detail.job.cost_total
    what = "since best" if brief else "since the best checkpoint"
    wasteful = bool(spent and total and spent / total > 0.25)
    return Content.styled(f"{dollars(spent)} {what}", "$warning" if wasteful else "")


def _free(job: Job) -> bool:
    return job.cost_per_hour == 0 and not job.cost_total


def _money(job: Job, *, brief: bool) -> Content:
    cap = limits(job).get("max_cost_usd")
    if _free(job):
        return Content("free" if brief else "free: this machine is yours")
    of = f" of {dollars(cap)}{'' if brief else ' cap'}" if cap else ""
    spent = f"cost {UNKNOWN}" if job.cost_total is None and not cap else dollars(job.cost_total)
    near = bool(job.status.live and cap and job.cost_total and job.cost_total > 0.8 * cap)
    return Content.styled(f"{spent}{of}", "$error" if near else "")


def limits(job: Job) -> dict[str, Any]:
    """The limits in the run's spec."""
    found = job.config.get("limits")
    return dict(found) if isinstance(found, dict) else {}


def guard_words(detail: JobDetail, now: datetime | None, *, brief: bool = False) -> Content:
    """When the guard last proved that it can end the pod; where nobody rents one, when the run is ended."""
    if detail.guard_proven_at is not None and now is not None:
        seconds = max(0.0, (now - detail.guard_proven_at).total_seconds())
        words = f"guard {duration(seconds)} ago" if brief else f"guard verified {duration(seconds)} ago"
        return Content.styled(words, "$warning" if seconds > STALE_PROOF else QUIET)
    hours = limits(detail.job).get("max_hours")
    if isinstance(hours, (int, float)) and not _rented(detail.job):
        return Content.styled(f"≤ {hours:g} h" if brief else f"stops after {hours:g} h at the latest", QUIET)
    return Content.styled(f"guard {UNKNOWN}", QUIET)


def report_words(reports: Reports | None, *, brief: bool = False) -> str:
    """What is wrong with a run's own reports; empty while nothing is."""
    if reports is None or (reports.state == "ok" and reports.behind < MANY_BEHIND):
        return ""
    if brief:
        short_why = {"ok": "", "down": ", server down", "refused": ", refused"}[reports.state]
        return f"reports {count(reports.behind)} behind{short_why}"
    why = {"ok": "catching up", "down": "server down", "refused": "refused by the server"}[reports.state]
    waits = "1 event" if reports.behind == 1 else f"{count(reports.behind)} events"
    return f"reports: {waits} behind, {why} for {duration(reports.seconds)}"


def _rented(job: Job) -> bool:
    return job.provider == "runpod"
