"""What several ranks are started with, how they are sharded, and what their deaths come to."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from engine.errors import TrainingError
from engine.job.events import EventType, Status, decode
from engine.job.spec import JobSpec, merged
from engine.trainer import launch, sharding
from engine.trainer.distributed import AGAIN, FAILED_FOR_GOOD, LOST, Ranks, faltered
from engine.trainer.machine import Machine, adapt
from engine.trainer.writers import writer
from tests.trainer import jobs

GPU = Machine("cuda", bf16=True, bitsandbytes=True, flash_attention=False, threads=1, names=("H100",) * 8)
CPU = Machine("cpu", bf16=False, bitsandbytes=True, flash_attention=False, threads=1)
SECOND_OF_8 = Ranks(rank=1, world=8, local=1)


def spec(**changes: Any) -> JobSpec:
    return JobSpec.model_validate(merged(jobs.SPEC, changes))


def test_one_rank_has_no_arguments_of_its_own() -> None:
    assert sharding.arguments(spec(distributed={"strategy": "fsdp"}), Ranks(), GPU) == {}


def test_ddp_on_cpus_goes_over_gloo_and_on_gpus_over_what_torch_takes() -> None:
    timeout = {"distributed": {"timeout_minutes": 2.5}}
    on_cpu = sharding.arguments(spec(**timeout), SECOND_OF_8, CPU)
    on_gpu = sharding.arguments(spec(**timeout), SECOND_OF_8, GPU)
    assert on_cpu == {"ddp_timeout": 150, "ddp_find_unused_parameters": False, "ddp_backend": "gloo"}
    assert on_gpu == {"ddp_timeout": 150, "ddp_find_unused_parameters": False}


@pytest.mark.training
@pytest.mark.parametrize("checkpointing", [True, False])
def test_fsdp_as_accelerate_gets_it(checkpointing: bool, tmp_path: Path) -> None:
    from accelerate import FullyShardedDataParallelPlugin
    from torch.distributed.fsdp import StateDictType
    from trl import SFTConfig

    job = spec(distributed={"strategy": "fsdp"}, training={"gradient_checkpointing": checkpointing})
    arguments = sharding.arguments(job, SECOND_OF_8, GPU)
    config = SFTConfig(
        output_dir=str(tmp_path), use_cpu=True, bf16=False, gradient_checkpointing=None, **arguments
    )
    plugin = FullyShardedDataParallelPlugin(**config.fsdp_plugin_args)
    assert plugin.fsdp_version == 2
    assert plugin.reshard_after_forward is True
    assert plugin.state_dict_type is StateDictType.FULL_STATE_DICT
    assert plugin.activation_checkpointing is checkpointing
    assert plugin.cpu_ram_efficient_loading is False
    assert (
        plugin.cpu_offload.offload_params is False if hasattr(plugin.cpu_offload, "offload_params") else True
    )
    assert plugin.auto_wrap_policy.__name__ == "transformer_auto_wrap_policy"
    # Not twice.
    assert config.activation_checkpointing is False
    assert not config.gradient_checkpointing


def test_fsdp_falls_back_to_whole_models_without_gpus_and_refuses_four_bits() -> None:
    adapted, fallbacks = adapt(spec(distributed={"strategy": "fsdp"}), CPU)
    assert adapted.distributed.strategy == "ddp"
    assert "fsdp needs GPUs" in [fallback.failure for fallback in fallbacks]
    assert adapt(spec(distributed={"strategy": "fsdp"}), GPU)[0].distributed.strategy == "fsdp"
    four_bits = spec(
        distributed={"strategy": "fsdp"}, model={"build": None}, quantization={}, lora=jobs.LORA["lora"]
    )
    with pytest.raises(TrainingError, match="fsdp can't split a model in 4 bits"):
        adapt(four_bits, GPU)


def test_ranks_that_share_the_model_in_another_way_refuse_a_checkpoint(tmp_path: Path) -> None:
    """The optimizer's file tells how it was saved."""
    split, whole = (SimpleNamespace(is_fsdp_enabled=flag) for flag in (True, False))
    for name, fits, refuses in (("optimizer.bin", split, whole), ("optimizer.pt", whole, split)):
        checkpoint = tmp_path / name / "checkpoint-4"
        checkpoint.mkdir(parents=True)
        (checkpoint / name).touch()
        sharding.check(checkpoint, fits)
        with pytest.raises(TrainingError, match=r"checkpoint-4 was saved by ranks that .*split the model"):
            sharding.check(checkpoint, refuses)


@pytest.mark.parametrize(
    ("codes", "node", "status", "told"),
    [
        ({0: LOST, 1: -9}, 0, 1, "rank 1 was killed by SIGKILL"),
        ({0: LOST}, 0, 1, "one on another machine"),
        ({2: LOST, 3: LOST}, 1, AGAIN, "one on another machine"),
        ({0: AGAIN, 1: LOST}, 0, AGAIN, ""),
        ({0: LOST, 1: AGAIN, 2: FAILED_FOR_GOOD}, 0, FAILED_FOR_GOOD, ""),
        ({1: 1, 0: LOST}, 0, 1, ""),
    ],
)
def test_what_the_ranks_deaths_come_to(
    codes: dict[int, int], node: int, status: int, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    failures = {rank: SimpleNamespace(exitcode=code) for rank, code in codes.items()}
    assert launch._verdict(failures, node) == status
    assert told in capsys.readouterr().out if told else not capsys.readouterr().out


def test_what_torch_says_when_a_rank_has_gone_is_known_from_a_crash() -> None:
    assert faltered(
        RuntimeError("[gloo/transport/tcp/pair.cc:553] Connection closed by peer [10.0.0.2]:1215")
    )
    assert faltered(RuntimeError("NCCL communicator was aborted on rank 0"))
    assert not faltered(RuntimeError("The size of tensor a (3) must match the size of tensor b (4)"))
    assert not faltered(ValueError("gloo"))


@pytest.mark.training
def test_who_waits_for_rank_0_shows_that_it_lives_until_there_is_word() -> None:
    from torch.distributed import HashStore

    ranks, shown = Ranks(rank=1, world=2, local=0, node=1, nodes=2, store=HashStore()), []

    def live() -> None:
        shown.append(True)
        if len(shown) == 2:
            ranks.say("done", of="it")

    ranks.await_lead(lambda: False, live, every=0.0)
    assert len(shown) == 2
    assert ranks.heard() == {"kind": "done", "of": "it"}
    waiting = Ranks(rank=1, world=2, store=HashStore())
    waiting.await_lead(lambda: True, live)
    assert waiting.heard() == {}


def test_only_rank_0_writes_all_events_and_another_machine_its_signs_of_life(tmp_path: Path) -> None:
    written = {}
    for name, ranks in {
        "lead": Ranks(0, 4, 0, 0, 2), "beside": Ranks(1, 4, 1, 0, 2),
        "there": Ranks(2, 4, 0, 1, 2), "beside-there": Ranks(3, 4, 1, 1, 2),
    }.items():  # fmt: skip
        path = tmp_path / name
        with writer(ranks, path, 3) as events:
            events.append(EventType.TRAIN, 7, loss=1.0)
            events.put("tokens", 7, {"mean": 3})
            events.append(EventType.STATE, status=Status.FAILED)
        lines = path.read_bytes().splitlines() if path.exists() else []
        written[name] = [(event.type, event.attempt) for event in map(decode, lines)]
    assert written == {
        "lead": [("train", 3), ("tokens", 3), ("state", 3)],
        "beside": [],
        "there": [("phase", 3), ("state", 3)],
        "beside-there": [],
    }
