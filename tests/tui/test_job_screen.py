"""The Job screen: what it says in each state, and where its keys go."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from textual.pilot import Pilot

from engine.analysis.snapshot import Question, Snapshot
from engine.job.events import Status
from engine.records import Alert
from tests.tui.fabricated import NOW, STATES, FakeDesk, a_detail, a_job, a_snapshot, host_history, live
from tests.tui.steps import press, settled, until
from tui.app import PodiumApp
from tui.screens.job import JobScreen
from tui.widgets.chart import Chart
from tui.widgets.checkpoints import CheckpointList
from tui.widgets.log_view import LogView
from tui.widgets.machine import MachineView
from tui.widgets.run_header import RunHeader
from tui.wishes import ResumeJob, StopJob


def header(pilot: Pilot[None]) -> list[str]:
    return pilot.app.screen.query_one(RunHeader).render().plain.split("\n")


def on_screen(pilot: Pilot[None]) -> str:
    return "\n".join(strip.text for strip in pilot.app.screen._compositor.render_strips())


async def shown(answer: object, size: tuple[int, int] = (120, 40)) -> str:
    async with PodiumApp(FakeDesk(answer)).run_test(size=size) as pilot:
        await settled(pilot)
        return on_screen(pilot)


async def test_a_live_run_says_who_it_is_how_far_and_what_it_costs(app: PodiumApp) -> None:
    async with app.run_test(size=(120, 40)) as pilot:
        await settled(pilot)
        who, how_far, costs = header(pilot)
    for words in (
        "support-qwen-07",
        "sft",
        "Qwen2.5-7B-Instruct",
        "A100 80GB",
        "runpod",
        "running",
        "♥ 2 s ago",
    ):
        assert words in who
    for words in ("61 %", "step 1 220 / 2 000", "epoch 1.83 / 3", "ETA 41 min"):
        assert words in how_far
    for words in ("training", "3 412 tok/s", "$2.31 of $5.00 cap", "$0.62 since the best checkpoint"):
        assert words in costs


@pytest.mark.parametrize(
    ("pod", "place"),
    [
        ({"host": "gpu-1", "user": "root"}, "ssh gpu-1"),
        ({"hosts": ["root@a:22", "b"]}, "ssh root@a:22 +1"),
        (None, "ssh"),
    ],
)
def test_a_machine_over_ssh_is_named(pod: object, place: str) -> None:
    job = a_job(provider="ssh", config={"pod": pod})
    drawn = RunHeader().draw(a_detail(job), 120).plain.split("\n")[0]
    assert f"· {place}  " in drawn


async def test_of_a_run_that_is_only_watched_nothing_is_asked_and_none_of_it_stopped() -> None:
    def watched(question: Question) -> Snapshot:
        read = NOW - timedelta(seconds=4)
        job = a_job(metadata={"attached": True}, last_heartbeat_at=None, updated_at=read)
        return a_snapshot(job, question.view, guard_proven_at=None, checkpoints=())

    desk = FakeDesk(watched)
    async with PodiumApp(desk).run_test(size=(120, 40)) as pilot:
        await settled(pilot)
        text = on_screen(pilot)
        assert "last read 4 s ago" in text and "guard" not in text and "best checkpoint" not in text
        await press(pilot, "R", "dollar_sign", "N")
        assert len(pilot.app.screen_stack) == 1
        await press(pilot, "s")
        text = on_screen(pilot)
        assert "Stop watching support-qwen-07 for good?" in text and "untouched" in text
        assert "will not be trained" not in text
        await press(pilot, "y")
        assert [type(wish) for wish in desk.wishes] == [StopJob]


async def test_what_is_unknown_is_a_dash_and_never_a_zero() -> None:
    text = await shown(STATES["starting"])
    for words in ("step — / —", "epoch — / —", "ETA —", "— tok/s", "— of $5.00 cap", "uploading"):
        assert words in text
    assert " 0 " not in text.split("log")[0]


async def test_an_empty_screen_says_what_to_do() -> None:
    text = await shown(STATES["empty"])
    assert "No run yet" in text
    assert "podium demo" in text


async def test_a_failed_run_says_why_and_nothing_is_offered_that_would_be_refused() -> None:
    async with PodiumApp(FakeDesk(STATES["failed"])).run_test(size=(120, 40)) as pilot:
        await settled(pilot)
        text, screen = on_screen(pilot), pilot.app.screen
        assert "failed" in text
        assert "CUDA out of memory: 79.1 of 80.0 GB" in text
        assert isinstance(screen, JobScreen) and screen.detail is not None
        for status in Status:
            screen.detail = replace(screen.detail, job=replace(screen.detail.job, status=status))
            assert screen.offers(ResumeJob) is (status is Status.PAUSED)
            assert screen.offers(StopJob) is not status.ended


async def test_a_lost_connection_is_told_apart_from_a_dead_run() -> None:
    text = await shown(STATES["disconnected"])
    assert "reconnecting" in text
    assert "last heard 1 min 34 s ago" in text


async def test_a_replay_is_labelled() -> None:
    job = a_job(metadata={"replay": True})
    assert "REPLAY" in await shown(lambda question: a_snapshot(job, question.view))


async def test_eight_gpus_have_a_line_each() -> None:
    text = await shown(STATES["eight_gpus"])
    assert "8 × A100-SXM4-80GB" in text
    for gpu in range(8):
        assert f"gpu {gpu} " in text


async def test_a_machine_without_gpu_shows_what_it_has() -> None:
    text = await shown(STATES["on_this_machine"])
    assert "5.1 / 16 GB" in text
    assert "util" not in text
    assert "this machine is yours" in text


@pytest.mark.parametrize(
    ("alert", "words"),
    [("gpu_tool", "nvidia-smi does not answer"), ("disk_warning", "no GPU is seen there")],
)
def test_gpus_that_are_not_to_be_seen_are_said(alert: str, words: str) -> None:
    """A hung tool and a missing GPU look the same in the figures, and are not the same."""
    told = Alert("r", NOW, alert, "warning", "text")
    detail = a_detail(host=host_history(gpus=0), alerts=(told,))
    assert words in MachineView().draw(detail, 60).plain


async def test_the_best_checkpoint_stands_first_with_its_parts(app: PodiumApp) -> None:
    async with app.run_test(size=(120, 40)) as pilot:
        await settled(pilot)
        rows = app.screen.query_one(CheckpointList)
        first = rows.draw(0, 48).plain
        assert first.startswith("★")
        assert "900" in first
        await press(pilot, "c", "o")
        assert [row.step for row in rows.rows] == [300, 600, 900, 1200]
        await press(pilot, "o")
        assert rows.rows[0].step == 900


async def test_a_checkpoints_path_is_copied(app: PodiumApp, desk: FakeDesk) -> None:
    job = a_job(job_dir="/home/me/podium/jobs/job-07")
    desk.answer = lambda question: a_snapshot(job, question.view)
    async with app.run_test(size=(120, 40)) as pilot:
        await settled(pilot)
        await press(pilot, "c", "y")
        assert app.clipboard == "/home/me/podium/jobs/job-07/checkpoints/checkpoint-900"


async def test_ages_grow_while_a_run_is_live(app: PodiumApp, desk: FakeDesk) -> None:
    desk.now = lambda: NOW + timedelta(seconds=31)  # type: ignore[method-assign]
    async with app.run_test(size=(120, 40)) as pilot:
        await settled(pilot)
        await until(pilot, lambda: "♥ 33 s ago" in header(pilot)[0])


@pytest.mark.parametrize("status", list(Status))
async def test_every_state_can_be_shown(status: Status) -> None:
    job = a_job(status=status)
    assert status.value in await shown(lambda question: a_snapshot(job, question.view))


HOSTILE = "[red]x[/red]\x1b]0;owned\x07\u202e\x9b2J\n"


def hostile(question: Question) -> Snapshot:
    """Every text that comes from elsewhere is bad."""
    job = a_job(
        name=f"run{HOSTILE}",
        model_name=HOSTILE,
        base_model=HOSTILE,
        gpu_type=HOSTILE,
        phase=HOSTILE,
        error_message=HOSTILE,
        provider="runpod",
    )
    snapshot = a_snapshot(job, question.view)
    detail = snapshot.job
    sample = detail.host[-1]
    host = (replace(sample, gpus=(replace(sample.gpus[0], name=HOSTILE),)),)
    return replace(snapshot, job=replace(detail, host=host, selection_reason=HOSTILE), trouble=HOSTILE)


async def test_texts_from_elsewhere_are_neither_markup_nor_control() -> None:
    text = await shown(hostile)
    assert "[red]x[/red]" in text
    for letter in "\x1b\x07\u202e\x9b":
        assert letter not in text


def panes_with_room(app: PodiumApp) -> list[str]:
    return [
        name for name in app.screen.TAKERS if any(pane.size.height for pane in app.screen.query(f"#{name}"))
    ]


async def test_tab_goes_through_the_panes(app: PodiumApp) -> None:
    async with app.run_test(size=(120, 40)) as pilot:
        await settled(pilot)
        seen = [app.screen.front]
        for _ in app.screen.TAKERS:
            await press(pilot, "tab")
            seen.append(app.screen.front)
        assert seen == [*app.screen.TAKERS, "charts"]
        await press(pilot, "shift+tab")
        assert app.screen.front == "events"


async def test_a_pane_has_the_keys_before_the_next_key_comes(app: PodiumApp) -> None:
    async with app.run_test(size=(80, 24)) as pilot:
        await settled(pilot)
        for name in ("checkpoints", "machine", "log"):
            app.screen.go_to(name)
            assert app.screen.focused is app.screen.query(app.screen.TAKERS[name]).first()
        await settled(pilot)
        assert (app.screen.front, panes_with_room(app)) == ("log", ["log"])


async def test_on_a_small_terminal_one_pane_is_shown_and_has_the_keys(app: PodiumApp) -> None:
    async with app.run_test(size=(80, 24)) as pilot:
        await settled(pilot)
        for name in app.screen.TAKERS:
            assert panes_with_room(app) == [name]
            focused = app.focused
            assert focused is not None
            assert any(node.id == name for node in focused.ancestors_with_self)
            await press(pilot, "tab")


async def test_a_wider_terminal_shows_all_panes_again(app: PodiumApp) -> None:
    async with app.run_test(size=(80, 24)) as pilot:
        await settled(pilot)
        await press(pilot, "tab")
        await pilot.resize_terminal(120, 40)
        await settled(pilot)
        assert panes_with_room(app) == ["charts", "checkpoints", "machine", "verdict", "log"]


async def test_a_new_point_redraws_no_pane_that_it_does_not_concern(app: PodiumApp, desk: FakeDesk) -> None:
    async with app.run_test(size=(120, 40)) as pilot:
        await settled(pilot)
        before = app.screen.detail
        desk.answer = lambda question: replace(live(question), taken_at=NOW + timedelta(seconds=1))
        desk.changed()
        await until(pilot, lambda: app.snapshot.taken_at > NOW)
        assert app.screen.detail is before, "an equal run is the same run"


async def test_the_crosshair_shows_its_moment_in_the_log_and_gives_the_end_back(app: PodiumApp) -> None:
    async with app.run_test(size=(120, 40)) as pilot:
        await settled(pilot)
        log, chart = app.screen.query_one(LogView), app.screen.query_one(Chart)
        await press(pilot, "left", "shift+left")
        await until(pilot, lambda: not log.following and log.told("step") is not None)
        await until(pilot, lambda: abs(log.told("step") - chart.cross) <= 10)
        await press(pilot, "escape")
        await until(pilot, lambda: log.following)


async def test_a_log_line_moves_the_crosshair(app: PodiumApp) -> None:
    async with app.run_test(size=(120, 40)) as pilot:
        await settled(pilot)
        await press(pilot, "o", "g", "j", "j", "enter")
        assert app.screen.query_one(LogView).here.startswith("12:27:56  step 823")
        assert app.screen.query_one(Chart).cross == 823
        assert app.screen.query_one(LogView).cursor == 2, "the log stays where it is"


async def test_a_checkpoint_moves_crosshair_and_log(app: PodiumApp) -> None:
    async with app.run_test(size=(120, 40)) as pilot:
        await settled(pilot)
        await press(pilot, "c", "enter")
        assert app.screen.query_one(Chart).cross == 900
        await until(pilot, lambda: app.screen.query_one(LogView).told("step") == 900)


async def test_the_runs_id_is_copied(app: PodiumApp) -> None:
    async with app.run_test(size=(120, 40)) as pilot:
        await settled(pilot)
        await press(pilot, "y")
        assert app.clipboard == "job-07"


async def test_a_run_that_is_over_is_not_offered_what_only_a_live_one_can_do(desk: FakeDesk) -> None:
    desk.answer = STATES["finished"]
    app = PodiumApp(desk)
    async with app.run_test(size=(120, 40)) as pilot:
        await settled(pilot)
        assert "s stop" not in on_screen(pilot)
        await press(pilot, "s")
        assert len(app.screen_stack) == 1
