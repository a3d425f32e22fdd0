"""Several ranks train as one: same losses, one set of events, one way of stopping, failing and going on."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from engine.errors import TrainingError
from engine.job.events import Event
from engine.job.folder import JobFolder, read_json, write_json
from engine.supervisor.process import end_leftovers
from engine.trainer import checkpoints
from tests.processes import contiguous, until
from tests.trainer import jobs
from tests.warm import Nursery

pytestmark = pytest.mark.training

ROOT = Path(__file__).parents[2]
SIX_EVAL_ROWS = {"train_split": 0.83}
"""28 rows to train on, so that each step of four is whole; 6 to evaluate on, which two ranks can't halve."""


class Machines:
    """Supervisors, each on a folder of its own, as on machines of their own."""

    def __init__(self) -> None:
        self.started: list[tuple[subprocess.Popen[bytes], JobFolder]] = []

    def start(self, folder: JobFolder, **environment: str) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            [sys.executable, "-m", "engine.supervisor", str(folder.path)],
            env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        )
        self.started.append((process, folder))
        return process

    def end(self) -> None:
        for process, folder in self.started:
            process.kill()
            process.wait()
            end_leftovers(folder, None, None, grace=0)


@pytest.fixture
def machines() -> Iterator[Machines]:
    found = Machines()
    yield found
    found.end()


def training(**settings: Any) -> dict[str, Any]:
    return {"dataset": SIX_EVAL_ROWS, "training": settings}


def ranks_of(folder: JobFolder) -> list[psutil.Process]:
    """The rank processes that run on a folder now."""
    pid = read_json(folder.memory).get("trainer_pid")
    try:
        return list(psutil.Process(pid).children()) if pid else []
    except psutil.NoSuchProcess:
        return []


def figures(folder: JobFolder) -> dict[tuple[str, int], list[float]]:
    trained = jobs.by_step(folder, "train", "loss", "grad_norm", "learning_rate", "tokens")
    evaluated = jobs.by_step(folder, "eval", "eval_loss", "mean_token_accuracy")
    return {
        **{("train", step): list(values) for step, values in trained.items()},
        **{("eval", step): [value for value in values if value] for step, values in evaluated.items()},
    }


def assert_same(several: JobFolder, one: JobFolder) -> None:
    expected, found = figures(one), figures(several)
    assert found.keys() == expected.keys()
    for at, values in expected.items():
        assert found[at] == pytest.approx(values, rel=2e-5), at


def once(folder: JobFolder, type: str) -> None:
    steps = [event.step for event in jobs.events(folder, type, lambda event: not event.data.get("removed"))]
    assert len(steps) == len(set(steps)), f"{type} events came twice: {steps}"


def forked(warm: Nursery, patch: Path | None = None) -> dict[str, str]:
    """The environment in which ranks are forked from a process that has loaded torch and a patch."""
    patched = {"PODIUM_TEST_PATCH": str(patch)} if patch is not None else {}
    path = os.pathsep.join([warm.environment["PYTHONPATH"], str(ROOT)])
    return {**warm.environment, **patched, "PYTHONPATH": path}


def test_two_ranks_learn_what_one_does_and_tell_it_once(
    tmp_path: Path, machines: Machines, warm: Nursery
) -> None:
    one = jobs.make_job(tmp_path / "one", training(batch_size=4))
    jobs.run_here(one)
    changes = {**training(batch_size=2, eval_batch_size=2), "distributed": {"processes": 2}}
    two = jobs.make_job(tmp_path / "two", changes)
    assert machines.start(two, **forked(warm)).wait(300) == 0
    assert read_json(two.exit)["status"] == "completed", two.log.read_text()
    assert_same(two, one)
    assert contiguous(jobs.events(two))
    for type in ("train", "eval", "checkpoint", "start", "result"):
        once(two, type)
    (start,) = jobs.events(two, "start")
    assert start.data["ranks"] == {"world": 2, "nodes": 1}
    newest = two.checkpoint(14)
    assert {"rng_state_0.pth", "rng_state_1.pth"} <= jobs.manifest(newest)["files"].keys()
    assert jobs.manifest(newest)["files"].keys() == jobs.manifest(one.checkpoint(14))["files"].keys() - {
        "rng_state.pth"
    } | {"rng_state_0.pth", "rng_state_1.pth"}
    assert {path.name for path in two.checkpoints.iterdir()} == {
        path.name for path in one.checkpoints.iterdir()
    }
    assert (two.final / "model.safetensors").is_file()


def test_a_rank_lost_on_another_machine_ends_the_attempt_and_both_go_on_from_the_checkpoint(
    tmp_path: Path, machines: Machines, warm: Nursery
) -> None:
    settings = {"max_steps": 120, "eval_steps": 20, "log_steps": 10, "keep_checkpoints": 9}
    one = jobs.make_job(tmp_path / "one", training(batch_size=4, **settings))
    jobs.run_here(one)
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        port = listening.getsockname()[1]
    hosts = []
    for node in range(2):
        changes = {
            **training(batch_size=2, eval_batch_size=2, **settings),
            "distributed": {"nodes": 2, "processes": 1},
        }
        folder = jobs.make_job(tmp_path / f"host-{node}", changes)
        write_json(folder.node, {"node": node, "nodes": 2, "address": "127.0.0.2", "port": port})
        hosts.append(folder)
    first, second = hosts
    # The second machine is there sooner, and waits.
    supervisors = [machines.start(folder, **forked(warm)) for folder in reversed(hosts)]
    until(lambda: first.checkpoint(20).exists(), "a checkpoint", 240)
    (rank,) = ranks_of(second)
    rank.send_signal(signal.SIGKILL)
    assert [supervisor.wait(300) for supervisor in supervisors] == [0, 0]
    assert [read_json(folder.exit)["status"] for folder in hosts] == ["completed", "completed"], (
        first.log.read_text() + second.log.read_text()
    )
    (lost,) = jobs.events(first, "recovery")
    assert lost.data["kind"] == "rank_lost"
    assert "another machine" in lost.data["failure"]
    assert "was killed by SIGKILL" in second.log.read_text()
    starts = jobs.events(first, "start")
    assert [event.attempt for event in starts] == [1, 2]
    assert starts[1].data["resumed_from"].startswith("checkpoint-")
    assert_same(first, one)
    # Neither curves nor checkpoints on the other machine: its own signs of life alone.
    assert {event.type for event in jobs.events(second)} <= {
        "phase", "state", "heartbeat", "alert", "recovery", "result",
    }  # fmt: skip
    assert not any(second.checkpoints.glob("checkpoint-*"))
    assert not second.final.exists()


FSDP_ON_CPUS = """
import os
if os.environ.get("RANK"):
    # accelerate splits models among GPUs alone; torch can among CPUs, too.
    from accelerate import state
    from accelerate.accelerator import Accelerator
    from accelerate.utils import DistributedType
    from torch.distributed._functional_collectives import AsyncCollectiveTensor
    from engine.trainer import setup

    began, adapted, gathered = state.AcceleratorState.__init__, setup.adapt, Accelerator.get_state_dict

    def begin(self, *arguments, **options):
        began(self, *arguments, **options)
        if (plugin := options.get("fsdp_plugin")) is not None:
            self.distributed_type, self.fsdp_plugin = DistributedType.FSDP, plugin
            state.PartialState._shared_state["distributed_type"] = DistributedType.FSDP

    def gather(self, *arguments, **options):
        # Where tensors come from a GPU, moving them has waited for them.
        found = gathered(self, *arguments, **options)
        late = AsyncCollectiveTensor
        return {name: item.wait() if isinstance(item, late) else item for name, item in found.items()}

    def adapt(spec, here):
        found, fallbacks = adapted(spec, here)
        return found.model_copy(update={"distributed": spec.distributed}), fallbacks

    state.AcceleratorState.__init__, setup.adapt, Accelerator.get_state_dict = begin, adapt, gather
"""


def test_ranks_that_split_the_model_learn_the_same_and_save_whole_checkpoints(
    tmp_path: Path, machines: Machines, warm: Nursery
) -> None:
    """FSDP2 as accelerate sets it up, on CPUs: what is left to GPUs are their kernels and NCCL."""
    import torch
    from transformers import AutoModelForCausalLM

    one = jobs.make_job(tmp_path / "one", training(batch_size=4))
    jobs.run_here(one)
    cpus = tmp_path / "cpus.py"
    cpus.write_text(FSDP_ON_CPUS)
    changes = {
        **training(batch_size=2, eval_batch_size=2),
        "predictions": {"enabled": True, "sample_count": 1, "max_new_tokens": 4},
        "distributed": {"processes": 2, "strategy": "fsdp"},
    }
    two = jobs.make_job(tmp_path / "two", changes)
    assert machines.start(two, **forked(warm, cpus)).wait(300) == 0
    assert read_json(two.exit)["status"] == "completed", two.log.read_text()
    assert_same(two, one)
    assert [event.step for event in jobs.events(two, "prediction")] == [4, 8, 12, 14]
    files = jobs.manifest(two.checkpoint(14))["files"]
    # The optimizer's name is what tells that it was split.
    assert "optimizer.bin" in files and "optimizer.pt" not in files
    whole, expected = (
        AutoModelForCausalLM.from_pretrained(folder.final).state_dict() for folder in (two, one)
    )
    for name, weights in expected.items():
        torch.testing.assert_close(whole[name], weights, rtol=1e-3, atol=1e-4, msg=name)
    assert not list(two.final.glob("*.bin"))
    # One rank alone can't take the optimizer in, and says so at once.
    checkpoints.remove(checkpoints.read(two.checkpoint(14)))
    write_json(two.spec, read_json(two.spec) | {"distributed": {"processes": 1}})
    with pytest.raises(
        TrainingError, match=r"checkpoint-12 was saved by ranks that split the model \(fsdp\)"
    ):
        jobs.run_here(two, 2)


NARROW = """
import os
if os.environ.get("RANK") == "1":
    import torch
    def refuse(module, args):
        if isinstance(module, torch.nn.Embedding) and module.training:
            if args[0].shape[0] > 1:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")
            if os.path.exists(os.environ["POISON"]):
                os.remove(os.environ["POISON"])
                module.weight.data.fill_(float("nan"))
    torch.nn.modules.module.register_module_forward_pre_hook(refuse)
"""


def test_memory_that_runs_out_and_losses_that_are_none_on_one_rank_turn_all_and_requests_reach_all(
    tmp_path: Path, machines: Machines, warm: Nursery
) -> None:
    narrow = tmp_path / "narrow.py"
    narrow.write_text(NARROW)
    changes = {
        **training(
            batch_size=2,
            eval_batch_size=1,
            max_steps=100_000,
            eval_steps=50,
            log_steps=5,
            on_divergence="rollback",
        ),
        "distributed": {"processes": 2},
    }
    folder = jobs.make_job(tmp_path / "job", changes)
    poison = tmp_path / "poison"
    supervisor = machines.start(folder, **forked(warm, narrow), POISON=str(poison))
    until(lambda: folder.events.exists() and jobs.events(folder, "train"), "training", 240)
    (told,) = jobs.events(folder, "recovery")
    assert "memory ran out in training (CUDA out of memory" in told.data["failure"]
    assert told.data["action"] == "going on with batches of 1, 2 of them a step"
    assert jobs.events(folder, "start")[-1].data["config"]["training"]["batch_size"] == 1
    assert read_json(folder.memory)["restarts"] == 0
    folder.request("learning_rate", 1e-4)
    folder.request("save")
    until(lambda: alerts(folder) >= {"learning_rate_changed", "save_requested"}, "both requests", 120)
    until(lambda: jobs.events(folder, "checkpoint", scored), "a checkpoint with a score", 120)
    poison.touch()
    until(lambda: len(jobs.events(folder, "recovery")) == 2, "going back", 120)
    went_back = jobs.events(folder, "recovery")[-1]
    until(lambda: jobs.events(folder, "train", lambda event: event.seq > went_back.seq), "going on", 120)
    again = jobs.events(folder, "start")[-1]
    assert went_back.data["action"] == (
        f"going back to {again.data['resumed_from']} with a learning rate of 5e-05"
    )
    assert again.data["config"]["training"]["learning_rate"] == 5e-5
    for event in jobs.events(folder, "train", lambda event: event.seq > again.seq):
        assert isinstance(event.data["loss"], float) and event.data["learning_rate"] <= 5e-5
    folder.request("pause")
    assert supervisor.wait(300) == 0
    assert jobs.events(folder, "state")[-1].data["status"] == "paused", folder.log.read_text()
    assert "not_saved" not in alerts(folder)
    saved = [event for event in jobs.events(folder, "checkpoint") if not event.data.get("removed")]
    assert saved[-1].data["verified"]
    progress = json.loads((folder.checkpoint(saved[-1].step or 0) / "progress.json").read_text())
    shrunk = {"batch_size": 1, "gradient_accumulation_steps": 2, "learning_rate": 5e-5}
    assert progress["shrunk"] == shrunk


def scored(event: Event) -> bool:
    return bool(event.data.get("score"))


def alerts(folder: JobFolder) -> set[str]:
    return {event.data["alert"] for event in jobs.events(folder, "alert")}
