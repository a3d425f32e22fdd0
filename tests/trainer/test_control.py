"""What the laptop asks for while training runs, and what training does by itself: early stop, alarms."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from engine.job.folder import JobFolder
from engine.trainer import checkpoints
from engine.trainer.distributed import Ranks
from engine.trainer.stop import StopRequest
from tests.trainer import jobs

pytestmark = pytest.mark.training


def alerts(folder: JobFolder) -> list[str]:
    return [event.data["alert"] for event in jobs.events(folder, "alert")]


def test_a_save_that_was_asked_for_comes_with_the_next_step(job: JobFolder) -> None:
    job.request("save")
    jobs.run_here(job)
    assert jobs.events(job, "checkpoint")[0].step == 1
    assert alerts(job) == ["save_requested"]
    assert not job.has_request("save")


def test_a_new_learning_rate_is_the_schedules_new_peak(job: JobFolder) -> None:
    job.request("learning_rate", 0.5)
    jobs.run_here(job)
    peak = 0.5
    expected = [peak / 3, peak, *(peak * (14 - (step - 1)) / 11 for step in (6, 8, 10, 12, 14))]
    rates = [rate for (rate,) in jobs.by_step(job, "train", "learning_rate").values()]
    assert rates == pytest.approx(expected)
    assert alerts(job)[0] == "learning_rate_changed"


def test_a_new_learning_rate_survives_a_resume(tmp_path: Path) -> None:
    folder = jobs.make_job(tmp_path / "a", {"training": {"keep_checkpoints": None}})
    folder.request("learning_rate", 0.01)
    jobs.run_here(folder)
    whole = jobs.by_step(folder, "train", "learning_rate", "loss")
    for step in (12, 14):
        checkpoints.remove(checkpoints.read(folder.checkpoint(step)))
    jobs.run_here(folder, 2)
    assert jobs.events(folder, "start")[-1].data["resumed_from"] == "checkpoint-8"
    assert jobs.by_step(folder, "train", "learning_rate", "loss") == whole


def test_a_sigterm_that_comes_while_the_ranks_agree_is_not_forgotten(
    job: JobFolder, sigterm: StopRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They agreed on what was before it: it counts at the next step."""
    agree = Ranks.any
    sent: list[int] = []

    def interrupted(self: Ranks, *flags: bool) -> list[bool]:
        found = agree(self, *flags)
        if jobs.events(job, "train") and not sent:
            sent.append(1)
            os.kill(os.getpid(), signal.SIGTERM)
        return found

    monkeypatch.setattr(Ranks, "any", interrupted)
    jobs.run_here(job, 1, sigterm)
    assert sent and max(checkpoints.steps(job)) == 4
    assert not jobs.events(job, "result")


@pytest.mark.parametrize("value", ["fast", -1, None, float("1e400")])
def test_what_is_no_learning_rate_is_refused_and_told(job: JobFolder, value: object) -> None:
    (job.control / "learning_rate").write_text(f'"{value}"')
    jobs.run_here(job)
    assert alerts(job)[0] == "learning_rate_refused"
    assert max(rate for (rate,) in jobs.by_step(job, "train", "learning_rate").values()) <= 5e-3


def test_early_stopping_ends_training_and_the_best_checkpoint_wins(tmp_path: Path) -> None:
    overfit = {"max_steps": 400, "schedule": "constant", "learning_rate": 0.02, "early_stopping_evals": 2}
    folder = jobs.make_job(tmp_path / "a", {"training": {**overfit, "eval_steps": 20, "log_steps": 20}})
    jobs.run_here(folder)
    result = jobs.events(folder, "result")[0].data
    last = jobs.events(folder, "eval")[-1].step
    assert result["stopped_early"] is True
    assert last is not None and last < 400
    assert result["best_step"] == last - 2 * 20
    assert "early_stop" in alerts(folder)
    jobs.run_here(folder, 2)
    assert not jobs.events(folder, "train", lambda event: event.attempt == 2)


def test_a_loss_that_is_no_number_is_told_as_such(tmp_path: Path) -> None:
    folder = jobs.make_job(
        tmp_path / "a", {"training": {"learning_rate": 1e30, "warmup_steps": 0, "max_grad_norm": 0}}
    )
    jobs.run_here(folder)
    assert "NaN" in [loss for (loss,) in jobs.by_step(folder, "train", "loss").values()]
    assert alerts(folder).count("loss_nan") == 1
    assert "nan" in [event.data["verdict"] for event in jobs.events(folder, "trend")]
    last = jobs.events(folder, "eval")[-1].data
    assert last["eval_loss"] == "NaN"
    assert last["score"]["validity"] == "not_finite"
