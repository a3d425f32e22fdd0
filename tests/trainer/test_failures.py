"""What can't work is told in one line with advice, by exit status 3 and an event; no traceback."""

from __future__ import annotations

import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from engine.errors import TrainingError
from engine.job.folder import JobFolder, read_json, write_json
from engine.job.spec import merged
from engine.trainer import checkpoints, failures
from engine.trainer.__main__ import FAILED_FOR_GOOD, main
from tests.trainer import jobs
from tests.trainer.conftest import ByMethod, Trained

pytestmark = pytest.mark.training


@pytest.fixture(autouse=True)
def own_signals() -> Iterator[None]:
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


def failure(folder: JobFolder, output: pytest.CaptureFixture[str]) -> dict[str, Any]:
    """Run the trainer on a job that must fail; what its state event says."""
    assert main([str(folder.path)]) == FAILED_FOR_GOOD
    state = jobs.events(folder, "state")
    assert len(state) == 1
    data = dict(state[0].data)
    assert data["status"] == "failed"
    assert data["advice"]
    printed = output.readouterr()
    assert "Traceback" not in printed.out + printed.err
    assert f"failed: {data['error']}. {data['advice']}" in printed.out
    assert not folder.final.exists()
    return data


def test_a_broken_row_is_named(job: JobFolder, capsys: pytest.CaptureFixture[str]) -> None:
    lines = job.dataset.read_text().splitlines()
    lines[6] = '{"messages": [}'
    job.dataset.write_text("\n".join(lines))
    data = failure(job, capsys)
    assert data["kind"] == "dataset"
    assert "dataset.jsonl: row 7: is not JSON" in data["error"]


def test_a_missing_dataset_is_told(job: JobFolder, capsys: pytest.CaptureFixture[str]) -> None:
    job.dataset.unlink()
    assert failure(job, capsys)["kind"] == "dataset"


def test_a_broken_spec_is_told(job: JobFolder, capsys: pytest.CaptureFixture[str]) -> None:
    job.spec.write_text('{"name": "x"}')
    assert main([str(job.path)]) == FAILED_FOR_GOOD
    assert jobs.events(job, "state")[0].data["kind"] == "spec"
    assert "model is missing; dataset is missing" in capsys.readouterr().out


def test_a_model_that_is_not_here_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = jobs.make_job(tmp_path / "a", {"model": {"name": "nobody/no-such-model", "build": None}})
    data = failure(folder, capsys)
    assert data["kind"] == "model"
    assert "nobody/no-such-model: not on this machine, and the Hub can't be reached" in data["error"]
    folder = jobs.make_job(tmp_path / "b", {"model": {"name": "/no/such/folder", "build": None}})
    assert "/no/such/folder: no such folder" in failure(folder, capsys)["error"]


def test_a_broken_model_folder_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text("{}")
    folder = jobs.make_job(tmp_path / "a", {"model": {"name": str(tmp_path / "model"), "build": None}})
    assert "can't be loaded" in failure(folder, capsys)["error"]


def test_messages_need_a_chat_template_that_marks_the_answers(
    trained: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = {"name": str(trained.folder.path / "base"), "build": None}
    plain = "{% for message in messages %}{{ message['content'] }}{% endfor %}"
    folder = jobs.make_job(tmp_path / "a", {"model": {**model, "chat_template": plain}})
    data = failure(folder, capsys)
    assert data["kind"] == "tokenizer"
    assert "does not mark what the assistant says" in data["error"]
    folder = jobs.make_job(tmp_path / "b", {"model": {**model, "chat_template": ""}})
    assert "has no chat template" in failure(folder, capsys)["error"]


def test_training_without_an_answer_to_learn_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = jobs.make_job(tmp_path / "a", {"training": {"max_length": 5}})
    data = failure(folder, capsys)
    assert data["kind"] == "dataset"
    assert "no answer is left within max_length 5" in data["error"]
    assert not jobs.events(folder, "train")


def test_quantization_without_bitsandbytes_is_refused_before_the_model_is_loaded(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    changes = {"model": {"name": "x", "build": None}, "quantization": {}, **jobs.LORA}
    data = failure(jobs.make_job(tmp_path / "a", changes), capsys)
    assert "bitsandbytes" in data["error"]


def test_a_disk_that_fills_up_leaves_the_last_checkpoint_whole(
    small_disk: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = jobs.make_job(small_disk / "job", {"training": {"keep_checkpoints": None, "eval_steps": 1}})
    assert main([str(folder.path)]) == FAILED_FOR_GOOD
    assert f"{folder.path}: no space left on the disk" in capsys.readouterr().out
    steps = checkpoints.steps(folder)
    assert steps
    assert not any(checkpoints.damage(folder.checkpoint(step)) for step in steps)


@pytest.mark.parametrize(
    "told",
    [
        "[enforce fail at inline_container.cc:672] . unexpected pos 8448 vs 8342",
        "basic_ios::clear: iostream error",
        "PytorchStreamWriter failed writing file data/2: file write failed",
    ],
)
def test_a_write_that_failed_is_blamed_on_the_disk_where_it_is_full(
    told: str, small_disk: Path, tmp_path: Path
) -> None:
    found = failures.classify(RuntimeError(told), JobFolder(small_disk))
    assert found is not None and found.kind == "disk_full"
    if shutil.disk_usage(tmp_path).free > 1 << 30:
        assert failures.classify(RuntimeError(told), JobFolder(tmp_path)) is None


def test_no_permission_names_the_file(tmp_path: Path) -> None:
    found = failures.classify(PermissionError(13, "Permission denied", "/data/x"), JobFolder(tmp_path))
    assert found is not None
    assert (found.kind, found.what) == ("permission", "/data/x: no permission")


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError(
            "[enforce fail at alloc_cpu.cpp:116] DefaultCPUAllocator: can't allocate memory: you tried"
        ),
        RuntimeError("CUDA error: out of memory\nCUDA kernel errors might be asynchronously reported"),
        MemoryError(),
    ],
)
def test_out_of_memory_is_known_by_its_words(error: BaseException, tmp_path: Path) -> None:
    found = failures.classify(error, JobFolder(tmp_path))
    assert found is not None
    assert found.kind == "out_of_memory"
    assert "batch_size" in found.advice


def test_a_real_failed_allocation_is_out_of_memory(tmp_path: Path) -> None:
    import torch

    with pytest.raises(RuntimeError) as caught:
        torch.empty(1 << 60, dtype=torch.uint8)
    assert failures.out_of_memory(caught.value)
    with pytest.raises(TrainingError) as wrapped:
        try:
            torch.empty(1 << 60, dtype=torch.uint8)
        except RuntimeError as error:
            raise TrainingError("unknown", "wrapped") from error
    assert failures.out_of_memory(wrapped.value)


def test_an_unknown_error_is_a_crash_and_not_a_verdict(tmp_path: Path) -> None:
    assert failures.classify(ZeroDivisionError("x"), JobFolder(tmp_path)) is None


def test_a_folder_without_a_job_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path)]) == 2
    assert "job.json: no such file" in capsys.readouterr().err
    assert not list(tmp_path.glob("*.jsonl"))


def test_sigterm_while_loading_leaves_at_once_with_nothing_half_done(job: JobFolder) -> None:
    process = jobs.start(job)
    deadline = time.monotonic() + 120
    while not (job.events.exists() and jobs.events(job, "phase")):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.01)
    process.terminate()
    log, _ = process.communicate(timeout=120)
    assert process.returncode == 0, log
    assert "Traceback" not in log
    assert [event.type for event in jobs.events(job)] == ["phase"]
    assert list(job.checkpoints.iterdir()) == []


def test_a_template_that_refuses_the_data_is_told(
    trained: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    refusing = "{% generation %}{{ raise_exception('Roles must alternate') }}{% endgeneration %}"
    model = {"name": str(trained.folder.path / "base"), "build": None, "chat_template": refusing}
    data = failure(jobs.make_job(tmp_path / "a", {"model": model}), capsys)
    assert data["kind"] == "tokenizer"
    assert "the chat template refuses the data (Roles must alternate)" in data["error"]


def test_lora_modules_that_the_model_lacks_are_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One that is there does not hide another one that is not."""
    lora = {**jobs.LORA["lora"], "target_modules": ["q_proj", "query"]}
    data = failure(jobs.make_job(tmp_path / "a", {"lora": lora}), capsys)
    assert (data["kind"], data["error"]) == ("model", "lora.target_modules: the model has no 'query'")
    assert "o_proj" in data["advice"]


def test_what_a_library_refuses_is_told_once_and_not_tried_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lora = {**jobs.LORA["lora"], "target_modules": ["lm_head"]}
    data = failure(jobs.make_job(tmp_path / "a", {"lora": lora}), capsys)
    assert data["kind"] == "spec"
    assert "`lm_head` is not supported" in data["error"]


@pytest.fixture
def base(trained: Trained, tmp_path: Path) -> Path:
    """A copy of the tiny model."""
    return Path(shutil.copytree(trained.folder.path / "base", tmp_path / "base"))


def of_base(base: Path) -> dict[str, Any]:
    return {"model": {"name": str(base), "build": None}}


def test_tokens_that_the_model_does_not_know_are_told_before_one_comes(
    base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Those that no row has are no matter: tokenizers may know more than their models."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(base)
    known = len(tokenizer)
    tokenizer.add_tokens(["<image>"])
    tokenizer.save_pretrained(base)
    jobs.built(jobs.make_job(tmp_path / "a", of_base(base)))
    rows = jobs.rows()
    rows[0]["messages"][1]["content"] += "<image>"
    data = failure(jobs.make_job(tmp_path / "b", of_base(base), rows), capsys)
    assert data["kind"] == "tokenizer"
    assert data["error"] == f"the tokenizer makes tokens up to {known}, of which the model knows {known}"


def test_a_tokenizer_that_can_end_no_text_is_told(
    base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = base / "tokenizer_config.json"
    told = read_json(config)
    write_json(config, {name: told[name] for name in told if name != "eos_token"})
    jobs.built(jobs.make_job(tmp_path / "a", of_base(base)))  # its template ends what is said
    rows = [{"prompt": f"{n}: ", "completion": f"it is {n}"} for n in range(12)]
    data = failure(jobs.make_job(tmp_path / "b", of_base(base), rows), capsys)
    assert (data["kind"], data["error"]) == (
        "tokenizer",
        f"{base}: the tokenizer has no token that ends a text",
    )


def test_rows_longer_than_the_models_positions_are_told(tmp_path: Path) -> None:
    changes = {"model": {"build": {**jobs.BUILD, "max_positions": 20}}}
    folder = jobs.make_job(tmp_path / "a", changes)
    jobs.built(folder)
    (alert,) = jobs.events(folder, "alert")
    assert "but the model was made for 20" in alert.data["message"]


def test_an_index_that_a_table_lacks_is_told_in_the_models_words(tmp_path: Path) -> None:
    import torch

    with pytest.raises(IndexError) as caught:
        torch.nn.functional.embedding(torch.tensor([2]), torch.zeros(2, 2))
    found = failures.classify(caught.value, JobFolder(tmp_path))
    assert found is not None and found.kind == "model"


@pytest.mark.parametrize(
    ("changes", "kind", "told"),
    [
        ({"lora": {"r": 8}}, "model", "the checkpoint does not fit the model (size mismatch for "),
        ({"lora": None}, "model", "the checkpoint does not fit the model ("),
        ({"training": {"optimizer": "adafactor"}}, "spec", "the checkpoint does not fit the optimizer ("),
    ],
    ids=["other adapters", "no adapters", "another optimizer"],
)
def test_a_checkpoint_of_another_spec_is_not_gone_on_from(
    changes: dict[str, Any],
    kind: str,
    told: str,
    by_method: ByMethod,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = jobs.at_step(by_method("sft"), 2, tmp_path / "job")
    write_json(folder.spec, merged(read_json(folder.spec), changes))
    capsys.readouterr()
    data = failure(folder, capsys)
    assert data["kind"] == kind and data["error"].startswith(told)
    assert checkpoints.steps(folder) == [2]


def test_other_rows_than_the_checkpoint_was_trained_on_are_told(by_method: ByMethod, tmp_path: Path) -> None:
    folder = jobs.at_step(by_method("sft"), 2, tmp_path / "job")
    lines = folder.dataset.read_text().splitlines(keepends=True)
    folder.dataset.write_text("".join(lines[:-3]))
    jobs.run_here(folder, 2)
    told = "dataset.jsonl: not the rows that checkpoint-2 was trained on; going on with them"
    assert told in [event.data["message"] for event in jobs.events(folder, "alert")]


def test_a_folder_that_cannot_be_written_is_told(
    small_disk: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = jobs.make_job(small_disk / "job")
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    assert main([str(folder.path)]) == FAILED_FOR_GOOD
    assert "Read-only file system" in capsys.readouterr().out
