"""Whatever ends a trainer, wherever: nothing that was written is lost, and the run comes to the same end."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from engine.job.folder import JobFolder, read_json, write_json
from engine.job.spec import merged
from engine.trainer import checkpoints
from tests.processes import contiguous, until
from tests.supervisor.conftest import BRISK
from tests.trainer import jobs
from tests.trainer.test_resume import FIGURES
from tests.warm import Nursery

pytestmark = pytest.mark.training

EVERYTHING: dict[str, Any] = merged(
    jobs.LORA,
    {
        "training": {"max_steps": 20, "rehearsal": True},
        "predictions": {"enabled": True, "sample_count": 2, "max_new_tokens": 4},
        "finish": {"merge": True, "push_to_hub": "me/it"},
        "limits": {"max_restarts": 50},
    },
)
"""A run that comes to every phase; without a token the push is refused, and that is told."""

KILL: dict[str, Any] = {"signal": int(signal.SIGKILL)}
IN: dict[str, dict[str, Any]] = {
    "loading": {"at": "engine.trainer.model:load"},
    "rehearsal": {"at": "engine.trainer.rehearsal:Rehearsal._save"},
    "training": {"at": "engine.trainer.reporter:Reporter.on_step_end", "call": 6},
    "evaluation": {"at": "engine.trainer.reporter:Reporter.on_prediction_step", "call": 2},
    "save": {"at": "engine.trainer.checkpoints:_write_manifest", "call": 2},
    "predictions": {"at": "engine.trainer.predictions:answer", "call": 2},
    "save, not yet told": {"at": "engine.trainer.hooks:announce", "call": 2},
    "rotation": {"at": "engine.trainer.checkpoints:_discard"},
    "merge": {"at": "engine.trainer.merge:_logits", "call": 2},
    "push": {"at": "engine.trainer.hub:push"},
}
"""Where a trainer is to fail, by phase."""


@pytest.fixture(scope="module")
def whole(warm: Nursery, tmp_path_factory: pytest.TempPathFactory) -> JobFolder:
    """The run that nothing happens to."""
    folder = jobs.make_job(tmp_path_factory.mktemp("whole") / "job", EVERYTHING)
    done = warm.train(folder)
    assert done.returncode == 0, done.stdout
    return folder


def assert_same_end(folder: JobFolder, whole: JobFolder) -> None:
    """Every figure of every step and every weight, to the bit; one row of events that tells what is there."""
    assert contiguous(jobs.events(folder))
    figures = ("eval_loss", "train_loss", "score", "perplexity")
    for type, names in (("train", FIGURES), ("eval", figures)):
        assert jobs.by_step(folder, type, *names) == jobs.by_step(whole, type, *names)
    assert asked(folder).items() <= asked(whole).items()
    assert told(folder) == {f"checkpoints/checkpoint-{step}" for step in checkpoints.steps(folder)}
    assert not any(checkpoints.damage(folder.checkpoint(step)) for step in checkpoints.steps(folder))
    results = [dict(jobs.events(place, "result")[-1].data) for place in (folder, whole)]
    for result in results:
        result.pop("seconds")
    assert results[0] == results[1]
    for path in whole.final.rglob("*.safetensors"):
        assert (folder.final / path.relative_to(whole.final)).read_bytes() == path.read_bytes()
    left = {path.name for path in folder.path.iterdir() if path.name.startswith(".")}
    assert not {name for name in left if "tmp" in name}


def asked(folder: JobFolder) -> dict[tuple[int | None, int], str]:
    """What the model answered, by step and sample."""
    return {
        (event.step, event.data["sample_index"]): event.data["prediction"]
        for event in jobs.events(folder, "prediction")
    }


def told(folder: JobFolder) -> set[str]:
    """The checkpoints that are there as the wire has it."""
    there: dict[str, bool] = {}
    for event in jobs.events(folder, "checkpoint"):
        there[event.data["path"]] = event.data.get("removed") is not True
    return {path for path, is_there in there.items() if is_there}


def supervised(folder: JobFolder, warm: Nursery, faults: dict[int, Any]) -> dict[str, Any]:
    """The job under a real supervisor, with what happens to which attempt; how it ended."""
    environment = {**os.environ, **warm.environment, "PODIUM_TEST_FAULTS": json.dumps(faults)}
    environment["PYTHONPATH"] += os.pathsep + str(BRISK.parents[2])
    supervisor = subprocess.Popen(
        [sys.executable, str(BRISK), str(folder.path), '{"trainer": null}'], env=environment
    )
    try:
        assert supervisor.wait(240) == 0
    finally:
        supervisor.kill()
        supervisor.wait()
    return read_json(folder.exit)


def test_sigkill_in_every_phase_costs_nothing_but_time(
    warm: Nursery, whole: JobFolder, tmp_path: Path
) -> None:
    """One job under a real supervisor, ended ten times; three equal deaths without a checkpoint end it."""
    folder = jobs.make_job(tmp_path / "job", EVERYTHING)
    error: dict[str, Any] = {"raise": "ZeroDivisionError"}
    ends = [
        (IN["loading"], KILL),
        (IN["rehearsal"], KILL),
        (IN["training"], KILL),
        (IN["evaluation"], KILL),
        (IN["save"], KILL),
        (IN["predictions"], KILL),
        (IN["save, not yet told"], KILL),
        (IN["rotation"], error),
        (IN["merge"], KILL),
        (IN["push"], KILL),
    ]
    ended = supervised(folder, warm, {at: where | how for at, (where, how) in enumerate(ends, 1)})
    assert (ended["status"], ended["attempt"]) == ("completed", 11), folder.log.read_text()
    deaths = [event.data["failure"] for event in jobs.events(folder, "recovery")]
    crash = "exit status 1: ZeroDivisionError: a fault"
    assert deaths == [*["killed by SIGKILL"] * 7, crash, *["killed by SIGKILL"] * 2]
    resumed = {event.attempt: event.data["resumed_from"] for event in jobs.events(folder, "start")}
    # A rotation that was cut off is made good before anything else: so early was the eighth attempt's crash.
    began = {2: None, 3: None, 4: 4, 5: 4, 6: 8, 7: 8, 9: 16, 10: 20, 11: 20}
    assert resumed == {at: step and f"checkpoint-{step}" for at, step in began.items()}
    assert checkpoints.steps(folder) == checkpoints.steps(whole)
    assert asked(folder) == asked(whole)
    assert_same_end(folder, whole)


def test_sigterm_in_every_phase_saves_and_leaves_with_0(
    warm: Nursery, whole: JobFolder, tmp_path: Path
) -> None:
    folder = jobs.make_job(tmp_path / "job", EVERYTHING)
    phases = ("loading", "rehearsal", "training", "evaluation", "save", "predictions", "merge", "push")
    reached = []
    for attempt, phase in enumerate(phases, 1):
        done = warm.train(folder, attempt, IN[phase] | {"signal": int(signal.SIGTERM)})
        assert done.returncode == 0 and "Traceback" not in done.stdout, (phase, done.stdout)
        reached.append(max(checkpoints.steps(folder), default=0))
        assert not any(checkpoints.damage(folder.checkpoint(step)) for step in checkpoints.steps(folder))
    # A save that is under way is finished, with the step that comes after it; evaluations and predictions
    # are left for later.
    assert reached == [0, 1, 7, 8, 13, 16, 20, 20]
    done = warm.train(folder, 9)
    assert done.returncode == 0, done.stdout
    assert asked(folder) == asked(whole)
    assert_same_end(folder, whole)


@pytest.mark.parametrize("harm", ["truncated", "flipped", "removed"])
def test_a_harmed_file_of_a_real_checkpoint_never_goes_unseen(
    harm: str, whole: JobFolder, tmp_path: Path
) -> None:
    newest = whole.checkpoint(checkpoints.steps(whole)[0])
    names = [str(path.relative_to(newest)) for path in newest.rglob("*") if path.is_file()]
    assert {"adapter_model.safetensors", "optimizer.pt", "scheduler.pt", "rng_state.pth"} < set(names)
    for name in names:
        copy = tmp_path / name.replace("/", "_")
        shutil.copytree(newest, copy)
        _harm(copy / name, harm)
        if name != checkpoints.MANIFEST or harm != "flipped":
            assert name in checkpoints.damage(copy), name


def _harm(path: Path, harm: str) -> None:
    data = path.read_bytes()
    if harm == "removed":
        path.unlink()
    elif harm == "truncated":
        path.write_bytes(data[: len(data) // 2])
    else:
        middle = len(data) // 2
        path.write_bytes(data[:middle] + bytes([data[middle] ^ 0x10]) + data[middle + 1 :])


def test_without_a_whole_checkpoint_the_run_starts_anew_and_says_so(
    warm: Nursery, whole: JobFolder, tmp_path: Path
) -> None:
    folder = JobFolder(tmp_path / "job")
    shutil.copytree(whole.path, folder.path)
    shutil.rmtree(folder.final)
    harms = ["truncated", "flipped", "removed"]
    for step, harm in zip(checkpoints.steps(folder), harms, strict=False):
        _harm(folder.checkpoint(step) / "optimizer.pt", harm)
    done = warm.train(folder, 2)
    assert done.returncode == 0, done.stdout
    assert jobs.events(folder, "start")[-1].data["resumed_from"] is None
    said = [event.data["failure"] for event in jobs.events(folder, "recovery")]
    assert len(said) == len(checkpoints.steps(whole)) and all("is damaged (optimizer.pt" in it for it in said)
    assert_same_end(folder, whole)


def test_a_full_disk_costs_nothing_once_there_is_room(
    warm: Nursery, whole: JobFolder, small_disk: Path
) -> None:
    """A real disk that is full in mid-save: the job says so, and goes on when it is larger."""
    folder = jobs.make_job(small_disk / "job", EVERYTHING)
    ballast = small_disk / "ballast"
    with ballast.open("wb") as file:
        file.write(bytes(shutil.disk_usage(small_disk).free - 420_000))
    done = warm.train(folder)
    assert done.returncode == 3, done.stdout
    assert "no space left on the disk. Free some space" in done.stdout
    assert "Traceback" not in done.stdout
    subprocess.run(["mount", "-o", "remount,size=16m", small_disk], check=True)
    found = checkpoints.readable(folder)
    assert found and not any(checkpoints.damage(item.path) for item in found)
    done = warm.train(folder, 2)
    assert done.returncode == 0, done.stdout
    assert jobs.events(folder, "start")[-1].data["resumed_from"] == found[0].path.name
    assert_same_end(folder, whole)


def test_the_same_crash_three_times_ends_the_job_with_its_cause(warm: Nursery, tmp_path: Path) -> None:
    folder = jobs.make_job(tmp_path / "job", EVERYTHING)
    crash = {**IN["evaluation"], "call": 1, "raise": "ValueError", "saying": "no such thing at 0x7f00"}
    ended = supervised(folder, warm, dict.fromkeys(range(1, 9), crash))
    assert (ended["status"], ended["attempt"]) == ("failed", 3)
    assert ended["error"] == "exit status 1: ValueError: no such thing at 0x7f00 (3 times in a row)"


OUT_OF_MEMORY: dict[str, dict[str, Any]] = {
    "torch's own": {"raise": "OutOfMemoryError", "saying": "CUDA out of memory. Tried to allocate 2.00 GiB."},
    "CUDA's text": {"raise": "RuntimeError", "saying": "CUDA error: out of memory\nCUDA kernel errors might"},
    "the real allocator": {"allocate": 1 << 60},
    "Python's": {"raise": "MemoryError", "saying": ""},
}


IN_TRAINING = {"at": "engine.trainer.hooks:PodiumTrainer.training_step", "call": 6}
IN_EVALUATION = {"at": "engine.trainer.weighed:WeighedEval.prediction_step", "call": 2}


@pytest.mark.parametrize(
    ("kind", "phase"),
    [
        ("torch's own", "an evaluation"),
        ("CUDA's text", "training"),
        ("the real allocator", "training"),
        ("the real allocator", "an evaluation"),
        ("Python's", "an evaluation"),
    ],
)
def test_memory_that_runs_out_is_recovered_from_whatever_says_so(
    kind: str, phase: str, warm: Nursery, small: JobFolder, tmp_path: Path
) -> None:
    """Amid training after a checkpoint, or in an evaluation: smaller batches, the same losses."""
    place, action = {
        "training": (IN_TRAINING, "going on with batches of 2"),
        "an evaluation": (IN_EVALUATION, "evaluating with batches of 1"),
    }[phase]
    folder = jobs.make_job(tmp_path / "job", SMALL)
    done = warm.train(folder, 1, place | OUT_OF_MEMORY[kind])
    assert done.returncode == 0, done.stdout
    assert "Traceback" not in done.stdout
    (recovery,) = [event.data for event in jobs.events(folder, "recovery")]
    assert recovery["failure"].startswith(f"memory ran out in {phase} (")
    assert recovery["action"].startswith(action)
    assert contiguous(jobs.events(folder))
    for type, name in (("train", "loss"), ("eval", "eval_loss")):
        mine, whole = (jobs.by_step(place, type, name) for place in (folder, small))
        assert mine.keys() == whole.keys()
        assert [loss for (loss,) in mine.values()] == pytest.approx(
            [loss for (loss,) in whole.values()], rel=1e-4
        )


SMALL: dict[str, Any] = {"training": {"max_steps": 8}, "predictions": {"enabled": False}}


@pytest.fixture(scope="module")
def small(warm: Nursery, tmp_path_factory: pytest.TempPathFactory) -> JobFolder:
    """A short run with room enough."""
    folder = jobs.make_job(tmp_path_factory.mktemp("small") / "job", SMALL)
    assert warm.train(folder).returncode == 0
    return folder


def test_sigterm_on_the_demo_saves_the_step_that_was_reached_and_leaves_with_0(
    warm: Nursery, tmp_path: Path
) -> None:
    from engine.demo.data import make_dataset
    from engine.demo.specs import demo_specs

    folder = JobFolder(tmp_path / "job")
    folder.create()
    make_dataset(folder.dataset)
    write_json(folder.spec, demo_specs(folder.dataset)[0].to_json())
    environment = {**os.environ, **warm.environment, "PODIUM_ATTEMPT": "1"}
    command = [sys.executable, "-m", "engine.trainer", str(folder.path)]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
    try:
        until(lambda: folder.events.exists() and jobs.events(folder, "train"), "a step", patience=240)
        process.terminate()
        log, _ = process.communicate(timeout=120)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 0 and "Traceback" not in log, log
    (step,) = checkpoints.steps(folder)
    assert step >= max(jobs.by_step(folder, "train", "loss"))
    assert checkpoints.damage(folder.checkpoint(step)) == ""
    assert f"stopped at step {step}, as asked" in log


@pytest.mark.parametrize(
    ("file", "kind"),
    [("tokenizer.json", "tokenizer"), ("model.safetensors", "model"), ("config.json", "model")],
)
def test_a_broken_file_of_the_model_is_told_by_its_kind(
    file: str, kind: str, warm: Nursery, whole: JobFolder, tmp_path: Path
) -> None:
    base = tmp_path / "base"
    shutil.copytree(whole.path / "base", base)
    (base / file).write_bytes((base / file).read_bytes()[:200])
    folder = jobs.make_job(tmp_path / "job", {"model": {"name": str(base), "build": None}})
    done = warm.train(folder)
    assert done.returncode == 3, done.stdout
    assert "Traceback" not in done.stdout
    (state,) = jobs.events(folder, "state")
    assert (state.data["kind"], str(base) in state.data["error"]) == (kind, True)
    assert state.data["advice"]


NOBODY = 65534


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may become another user")
@pytest.mark.parametrize(
    ("name", "told"),
    [("dataset.jsonl", "dataset.jsonl: can't be read (Permission denied)"), ("checkpoints", "no permission")],
)
def test_a_missing_permission_names_the_place(
    name: str, told: str, warm: Nursery, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """A real user that may not read the data, or not write checkpoints."""
    folder = jobs.make_job(tmp_path / "job")
    for path in [folder.path, *folder.path.rglob("*")]:
        os.chown(path, NOBODY, NOBODY)
    os.chown(folder.path / name, 0, 0)
    (folder.path / name).chmod(0o700)
    _let_through(folder.path.parent, request.addfinalizer)
    done = warm.train(folder, uid=NOBODY)
    assert done.returncode == 3, done.stdout
    assert told in done.stdout and str(folder.path / name) in done.stdout
    (state,) = jobs.events(folder, "state")
    assert state.data["advice"]


def _let_through(path: Path, afterwards: Callable[[Callable[[], object]], None]) -> None:
    """Let everybody pass through the folders above."""
    for place in (path, *path.parents):
        mode = place.stat().st_mode & 0o7777
        if not mode & 1:
            place.chmod(mode | 1)
            afterwards(lambda place=place, mode=mode: place.chmod(mode))  # type: ignore[misc]
