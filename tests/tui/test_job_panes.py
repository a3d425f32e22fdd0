"""Beside the charts: machine, verdict, criteria, checkpoints, predictions, events; the guard's proof."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest
from textual.content import Content

from engine.analysis.gpus import idle_seconds, mean_utilization
from engine.analysis.health import Flag
from engine.analysis.snapshot import JobDetail, Moment, Pointed, Question, Snapshot
from engine.job.events import Event, Status
from engine.records import Gpu, HostSample, Place
from tests.tui.fabricated import NOW, STATES, FakeDesk, a_detail, a_job, host_history, live, predictions
from tests.tui.steps import press, settled, until
from tui.app import PodiumApp
from tui.caps import question
from tui.widgets.chart import Chart
from tui.widgets.checkpoints import CheckpointList
from tui.widgets.difference import difference
from tui.widgets.events_pane import EventList, in_words
from tui.widgets.machine import MachineView
from tui.widgets.notes import NotesView
from tui.widgets.predictions import PredictionsPane, answers
from tui.widgets.run_header import RunHeader
from tui.widgets.ssh_words import ssh_command
from tui.widgets.title_line import TitleLine


def busy(*percents: float | None, gpus: int = 1) -> tuple[HostSample, ...]:
    """Heartbeats 30 s apart; the first GPU does so much, the others 95 %."""
    history = host_history(gpus, len(percents))
    return tuple(
        replace(
            sample,
            ts=NOW - timedelta(seconds=30 * (len(percents) - 1 - at)),
            gpus=(replace(sample.gpus[0], utilization_percent=percent), *(
                replace(gpu, utilization_percent=95.0) for gpu in sample.gpus[1:]
            )),
        )
        for at, (sample, percent) in enumerate(zip(history, percents, strict=True))
    )  # fmt: skip


def lines(view: type[MachineView] | type[NotesView], detail: JobDetail, width: int = 48) -> list[str]:
    drawn: Content = view().draw(detail, width)
    return drawn.plain.split("\n")


def test_an_idle_gpu_says_for_how_long() -> None:
    assert "idle for 4 min 30 s" in lines(MachineView, a_detail(host=busy(90, *[0] * 10)))
    shown = lines(MachineView, a_detail(host=busy(90, *[0] * 10, gpus=8)), 70)
    assert "gpu 0 idle for 4 min 30 s" in shown
    assert all("°C" in line and line.endswith(" W") for line in shown if line[:3] == "gpu" and "%" in line)
    assert not any("idle" in line for line in lines(MachineView, a_detail(host=busy(*[0] * 10, 90))))
    assert not any("idle" in line for line in lines(MachineView, a_detail(host=busy(*[None] * 10))))
    over = a_job(status=Status.COMPLETED)
    assert not any("idle" in line for line in lines(MachineView, a_detail(over, host=busy(*[0] * 10))))


def test_a_gpu_that_is_half_busy_wants_a_larger_batch() -> None:
    half = a_detail(host=busy(*[62] * 12))
    assert "62 % busy, below 80 %: raise the batch" in lines(MachineView, half)
    evaluating = replace(half, job=replace(half.job, phase="eval"))
    assert not any("raise" in line for line in lines(MachineView, evaluating))
    assert not any("raise" in line for line in lines(MachineView, a_detail(host=busy(*[88] * 12))))


def test_before_the_first_heartbeat_the_machine_is_not_shown_as_it_is_now() -> None:
    early = Pointed(Moment("step", 1), Place(ts=NOW, step=1))
    assert lines(MachineView, a_detail(host=busy(90), pointed=early)) == ["nothing recorded by then"]
    nowhere = Pointed(Moment("step", 1))
    assert any("90 %" in line for line in lines(MachineView, a_detail(host=busy(90), pointed=nowhere)))


def test_gpus_of_several_machines_are_named_with_their_machine() -> None:
    each = [(0, 90.0), (0, 88.0), (1, 91.0), (1, 0.0)]
    gpus = tuple(Gpu(place % 2, "H100", used, node=node) for place, (node, used) in enumerate(each))
    host = tuple(replace(sample, gpus=gpus) for sample in busy(*[90] * 10))
    shown = lines(MachineView, a_detail(host=host), 60)
    for name, figure in (("gpu 0:0", "90 %"), ("gpu 0:1", "88 %"), ("gpu 1:0", "91 %"), ("gpu 1:1", "0 %")):
        assert any(line.startswith(name) and figure in line for line in shown), (name, shown)
    assert any(line.startswith("gpu 1:1 idle for") for line in shown)


def test_figures_of_gpus_that_say_nothing_are_unknown() -> None:
    assert idle_seconds((), 0) == 0
    assert mean_utilization(busy(None, None)) is None
    assert mean_utilization(busy(50, None, 100)) == 75


def test_flags_stand_first_each_once_the_worst_on_top() -> None:
    flags = (Flag("gpu_idle", "warning", "GPU 50 % busy"), Flag("nan", "error", "loss not finite at step 7"))
    shown = lines(NotesView, a_detail(flags=(*flags, flags[1])), 60)
    assert shown[:2] == ["⚑ loss not finite at step 7", "⚑ GPU 50 % busy"]
    assert sum("not finite" in line for line in shown) == 1


def test_criteria_say_what_was_asked_and_what_there_is() -> None:
    detail = STATES["criteria"](Question()).job
    assert detail is not None
    shown = lines(NotesView, detail, 60)
    assert "criteria  minimum reached" in shown
    assert "  ✓ eval_loss -30 %  11 (-37.9 %)" in shown
    assert "  ✗ probability_stats/separation > 0.10  0.04" in shown
    assert "  · span_f1 > 0.45  —" in shown
    assert "⚑ head: gradient norm 41.2, 212 times the median layer's" in shown


@pytest.mark.parametrize(
    ("ago", "words"),
    [(12, "guard verified 12 s ago"), (400, "guard verified 6 min 40 s ago"), (None, "guard —")],
)
async def test_the_header_tells_the_guards_last_proof(ago: int | None, words: str) -> None:
    proven = None if ago is None else NOW - timedelta(seconds=ago)

    def answer(question: Question) -> Snapshot:
        snapshot = live(question)
        return replace(snapshot, job=replace(snapshot.job, guard_proven_at=proven))

    app = PodiumApp(FakeDesk(answer))
    async with app.run_test(size=(140, 40)) as pilot:
        await settled(pilot)
        assert words in app.screen.query_one(RunHeader).render().plain


async def test_checkpoints_say_where_their_files_are() -> None:
    def answer(question: Question) -> Snapshot:
        snapshot = live(question)
        gone = tuple(
            replace(row, path=None if row.step == 300 else row.path) for row in snapshot.job.checkpoints
        )
        return replace(snapshot, job=replace(snapshot.job, checkpoints=gone, here=frozenset({900})))

    app = PodiumApp(FakeDesk(answer))
    async with app.run_test(size=(200, 50)) as pilot:
        await settled(pilot)
        rows = app.screen.query_one(CheckpointList)
        said = {row.step: rows.draw(at, 70).plain.split()[-1] for at, row in enumerate(rows.rows)}
        assert said == {900: "here", 600: "pod", 1200: "pod", 300: "removed"}


# Predictions


def test_a_difference_is_told_word_by_word() -> None:
    told = list(difference("We open at 10 on Sundays.", "We open at 9 on Sundays."))
    assert told == [
        ("same", "We open at "), ("missing", "10"), ("added", "9"), ("same", " on Sundays."),
    ]  # fmt: skip
    assert list(difference("a b c d", "completely other words here")) == [
        ("added", "completely other words here")
    ]
    assert list(difference("", "new")) == [("added", "new")]


def styled(content: Content, style: str) -> str:
    return "".join(content.plain[span.start : span.end] for span in content.spans if span.style == style)


@pytest.mark.parametrize(("against", "told"), [("truth", "10"), ("before", "9"), ("nothing", "")])
def test_answers_are_compared_with_what_is_asked_for(against: str, told: str) -> None:
    rows = [row for row in predictions() if row["sample_index"] == 1][1:]
    assert [row["prediction"] for row in rows] == ["We open at 9 on Sundays.", "We open at 10 on Sundays."]
    assert styled(answers(rows, against, newest_first=True), "$error strike") == told


async def test_predictions_are_read_while_they_are_looked_at(app: PodiumApp, desk: FakeDesk) -> None:
    async with app.run_test(size=(120, 40)) as pilot:
        await settled(pilot)
        assert desk.questions[-1].extras == frozenset()
        await press(pilot, "p")
        pane = app.screen.query_one(PredictionsPane)
        await until(pilot, lambda: "prompt 1 of 2" in pane._title.facts.plain)
        assert desk.questions[-1].extras == {"predictions"}
        text: Callable[[], str] = lambda: str(pane._text.render())  # noqa: E731
        assert text().index("step 900") < text().index("step 300")
        await press(pilot, "r")
        assert text().index("step 300") < text().index("step 900")
        await press(pilot, "l")
        assert "Sundays" in text()
        await press(pilot, "l")
        assert "lamp" in text()
        await press(pilot, "h", "D", "D")
        assert "compared with nothing" in pane._title.facts.plain
        assert "10" not in text().split("step 600")[1].split("\n")[0]
        await press(pilot, "o")
        assert desk.questions[-1].extras == frozenset()


# Events


def test_events_are_told_in_words() -> None:
    assert (
        in_words({"failure": "CUDA out of memory", "action": "batch 8 → 4"})
        == "CUDA out of memory · batch 8 → 4"
    )
    assert in_words({"eval_loss": 0.5, "score": {"total": 0.25}}) == "eval loss 0.5000 · score 0.2500"
    assert in_words({"path": "checkpoints/checkpoint-1", "removed": True}).endswith("removed")
    assert in_words({"eval_loss": "NaN"}) == "eval loss NaN"
    assert "\x1b" not in in_words({"message": "\x1b]0;owned\x07x"})


async def test_an_event_moves_the_crosshair(app: PodiumApp) -> None:
    async with app.run_test(size=(120, 40)) as pilot:
        await settled(pilot)
        await press(pilot, "v")
        events = app.screen.query_one(EventList)
        await until(pilot, lambda: events.row_of(5) is not None)
        assert events.here.type == "alert", "the newest has the cursor"
        await press(pilot, "k", "enter")
        await until(pilot, lambda: app.screen.query_one(Chart).cross == 640)
        await press(pilot, "y")
        assert "CUDA out of memory" in app.clipboard


async def test_more_events_are_followed_unless_somebody_looks_back(app: PodiumApp, desk: FakeDesk) -> None:
    async with app.run_test(size=(120, 40)) as pilot:
        await settled(pilot)
        await press(pilot, "v")
        events = app.screen.query_one(EventList)
        await until(pilot, lambda: len(events.rows) == 6)
        events.rows = (*events.rows, Event(7, NOW, 1, "phase", None, {"phase": "merge"}))
        assert events.row == 6
        events.move_to(2)
        events.rows = (*events.rows, Event(8, NOW, 1, "phase", None, {"phase": "idle"}))
        assert events.row == 2


async def test_a_pane_fills_the_screen_and_gives_it_back(app: PodiumApp) -> None:
    async with app.run_test(size=(120, 40)) as pilot:
        await settled(pilot)
        await press(pilot, "o", "F")
        assert not app.screen.query_one("#upper").size.height
        assert app.screen.query_one("#log").size.height > 30
        await press(pilot, "F")
        assert app.screen.query_one("#upper").size.height


# Acting


async def test_the_learning_rate_is_asked_for_and_wished(app: PodiumApp, desk: FakeDesk) -> None:
    async with app.run_test(size=(120, 40)) as pilot:
        await settled(pilot)
        await press(pilot, "R")
        await press(pilot, *["backspace"] * 12, *"5e-5", "enter")
        await until(pilot, lambda: desk.wishes)
        [wish] = desk.wishes
        assert (type(wish).__name__, wish.job_ids, wish.value) == ("SetLearningRate", ("job-07",), 5e-5)
        await press(pilot, "R")
        await press(pilot, *"soon", "enter")
        assert len(desk.wishes) == 1


async def test_a_checkpoint_is_downloaded_unless_it_is_here(app: PodiumApp, desk: FakeDesk) -> None:
    def answer(question: Question) -> Snapshot:
        snapshot = live(question)
        return replace(snapshot, job=replace(snapshot.job, here=frozenset({900})))

    desk.answer = answer
    async with app.run_test(size=(120, 40)) as pilot:
        await settled(pilot)
        await press(pilot, "c", "d")
        assert not desk.wishes
        await press(pilot, "j", "d")
        await until(pilot, lambda: desk.wishes)
        assert (type(desk.wishes[0]).__name__, desk.wishes[0].step) == ("PullCheckpoint", 600)


async def test_the_next_run_is_opened_around_the_end(app: PodiumApp, desk: FakeDesk) -> None:
    async with app.run_test(size=(120, 40)) as pilot:
        await settled(pilot)
        await press(pilot, "greater_than_sign")
        assert desk.questions[-1].job_id == "job-06"
        await press(pilot, "less_than_sign")
        assert desk.questions[-1].job_id == "job-02", "the fake desk shows run 7 whatever it is asked for"


@pytest.mark.parametrize(
    ("pod", "command"),
    [
        (
            {"host": "gpu.lab", "user": "me", "port": 2222, "key": "/k ey"},
            "ssh -p 2222 -i '/k ey' me@gpu.lab",
        ),
        ({"host": "gpu.lab", "port": 22}, "ssh gpu.lab"),
        ({"hosts": ["ssh://me@a:2222", "b"], "key": "/k"}, "ssh -p 2222 -i /k me@a"),
        ({"hosts": ["[fe80::1]", "b"]}, "ssh fe80::1"),
        ({"provider": "local"}, ""),
        (None, ""),
    ],
)
def test_the_ssh_command_of_a_runs_machine(pod: object, command: str) -> None:
    assert ssh_command(a_job(config={"pod": pod})) == command


def test_the_ssh_command_of_a_rented_machine() -> None:
    shell = {"host": "203.0.113.7", "user": "root", "port": 40022, "key": "/k"}
    rented = a_job(config={"pod": {"provider": "runpod"}})
    assert ssh_command(rented, shell) == "ssh -p 40022 -i /k root@203.0.113.7"
    assert ssh_command(rented, {}) == ""


async def test_the_title_of_the_pane_that_has_the_keys_stands_out_and_no_other(app: PodiumApp) -> None:
    async with app.run_test(size=(120, 40)) as pilot:
        await settled(pilot)
        accent = app.theme_variables["accent"].lower()
        for key, name in (("o", "log"), ("c", "checkpoints"), ("p", "predictions"), ("tab", "events")):
            await press(pilot, key)
            loud = [
                title.parent.id
                for title in app.screen.query(TitleLine)
                if title.parent and title.parent.id and title.styles.color.hex.lower() == accent
            ]
            assert loud == [name]


def test_new_limits_are_asked_about_in_words_and_dollars() -> None:
    limits = {"limits": {"max_hours": 1}}
    paid = a_job(config={**limits, "pod": {"cost_per_hour": 2.0}}, cost_per_hour=2.0, cost_total=0.5)
    assert "It can cost $3.00 at most now (was $2.00), $0.50 so far." in question(paid, {"max_hours": 1.5})
    free = question(a_job(config=limits, cost_per_hour=0.0), {"max_cost_usd": 9})
    assert "$" not in free and "It is ended after 1 h" in free
