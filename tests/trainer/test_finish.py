"""The end of a job: adapter, merged model, card and push, each of them once and whole."""

from __future__ import annotations

import base64
import json
import os
import shutil
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from engine.controller import deploy
from engine.errors import BadSpec
from engine.job.folder import JobFolder
from engine.job.sections import BuildSpec
from engine.job.spec import JobSpec, merged
from engine.trainer import merge
from engine.trainer.card import card, sparkline
from tests.trainer import jobs
from tests.warm import Nursery

MERGED: dict[str, Any] = merged(
    jobs.LORA,
    {"finish": {"merge": True}, "model": {"dtype": "bf16"}, "training": {"learning_rate": 0.1}},
)
SECRET = "hf_averysecrettoken"


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> JobFolder:
    """A job with adapters, merged in bf16."""
    folder = jobs.make_job(tmp_path_factory.mktemp("ended") / "job", MERGED)
    jobs.run_here(folder)
    return folder


def result(folder: JobFolder) -> dict[str, Any]:
    return dict(jobs.events(folder, "result")[-1].data)


def logits(network: Any) -> Any:
    import torch

    with torch.no_grad():
        return network(torch.arange(3, 60)[None]).logits.float()


def test_merging_without_adapters_is_a_mistake() -> None:
    with pytest.raises(BadSpec, match=r"finish\.merge needs lora"):
        JobSpec.parse(merged(jobs.SPEC, {"finish": {"merge": True}}), "x")
    with pytest.raises(BadSpec, match=r"finish\.push_to_hub"):
        JobSpec.parse(merged(jobs.SPEC, {"finish": {"push_to_hub": "no-owner"}}), "x")


@pytest.mark.training
def test_the_adapter_is_the_best_checkpoints(ended: JobFolder) -> None:
    best = ended.path / result(ended)["best_checkpoint_path"]
    name = "adapter_model.safetensors"
    assert (ended.final / "adapter" / name).read_bytes() == (best / name).read_bytes()
    assert {path.name for path in ended.final.iterdir()} == {"adapter", "merged", "README.md", "made.json"}
    assert not (ended.path / ".final.tmp").exists()


@pytest.mark.training
def test_the_merged_model_is_bf16_unquantized_and_says_what_base_and_adapter_say(ended: JobFolder) -> None:
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    path = ended.final / "merged"
    config = json.loads((path / "config.json").read_text())
    assert config["dtype"] == "bfloat16"
    assert "quantization_config" not in config
    whole = AutoModelForCausalLM.from_pretrained(path, dtype=torch.bfloat16).eval()
    base = AutoModelForCausalLM.from_pretrained(ended.path / "base", dtype=torch.bfloat16).eval()
    untrained = logits(base)
    apart = logits(PeftModel.from_pretrained(base, str(ended.final / "adapter")).eval())
    assert AutoTokenizer.from_pretrained(path).chat_template
    assert (logits(whole) - apart).abs().max() < 0.1 * (untrained - apart).abs().max()


@pytest.mark.training
def test_the_result_tells_parity(ended: JobFolder) -> None:
    parity = result(ended)["parity"]
    assert parity["within"] is True
    assert abs(parity["loss_difference"]) <= merge.TOLERANCE
    assert 0 < parity["max_logit_difference"] < 0.1
    assert (parity["rows"], parity["tokens"] > 20) == (merge.ROWS, True)
    assert result(ended)["merged_path"] == "final/merged"
    phases = [event.data["phase"] for event in jobs.events(ended, "phase")]
    assert phases[-2:] == ["save", "merge"]


@pytest.mark.training
def test_an_adapter_of_a_quantized_base_is_merged_into_the_whole_one(tmp_path: Path) -> None:
    """In bf16 although it was trained in fp32, without a trace of NF4, and how both compare is told."""
    import torch
    from transformers import AutoModelForCausalLM

    from engine.trainer import build

    sizes = BuildSpec(vocab_size=320, hidden_size=64, layers=1, heads=2, intermediate_size=128)
    build.build(sizes, jobs.rows(), 7, tmp_path / "base")  # NF4 packs by 64 weights
    model = {"name": str(tmp_path / "base"), "dtype": "fp32", "build": None}
    folder = jobs.make_job(tmp_path / "job", merged(MERGED, {"quantization": {}, "model": model}))
    jobs.run_here(folder)
    assert jobs.events(folder, "start")[0].data["config"]["quantization"]["bits"] == 4
    path = folder.final / "merged"
    assert "quantization_config" not in (path / "config.json").read_text()
    whole = AutoModelForCausalLM.from_pretrained(path, dtype="auto")
    assert {weights.dtype for weights in whole.parameters()} == {torch.bfloat16}
    base = AutoModelForCausalLM.from_pretrained(tmp_path / "base", dtype=torch.bfloat16)
    untouched = [name for name, _ in base.named_parameters() if "q_proj" not in name and "v_proj" not in name]
    mine, theirs = dict(whole.named_parameters()), dict(base.named_parameters())
    # Had the base been taken back from its four bits, its other weights would be rounded too.
    assert all(torch.equal(mine[name], theirs[name]) for name in untouched)
    parity = result(folder)["parity"]
    assert parity["within"] is True
    # Tiny weights lose much to four bits, and something at least: were it the same base, it would be equal.
    assert 0 < abs(parity["quantized_loss"] - parity["loss"]) < 0.5
    assert f"loss is {parity['quantized_loss']:.4f}" in (folder.final / "README.md").read_text()


@pytest.mark.training
def test_a_merge_that_says_something_else_is_an_alert(
    ended: JobFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from peft import PeftModel

    def base_alone(adapted: Any, **options: Any) -> Any:
        return adapted.unload()

    monkeypatch.setattr(PeftModel, "merge_and_unload", base_alone, raising=False)
    folder = copied(ended, tmp_path)
    jobs.run_here(folder, 2)
    told = jobs.events(folder, "alert", lambda event: event.data["alert"] == "merge_parity")
    assert len(told) == 1
    assert result(folder)["parity"]["within"] is False


def copied(ended: JobFolder, place: Path) -> JobFolder:
    """A job that has trained and not ended."""
    folder = JobFolder(place / "job")
    shutil.copytree(ended.path, folder.path)
    shutil.rmtree(folder.final)
    return folder


@pytest.mark.training
def test_a_crash_in_the_merge_is_gone_on_from_there(
    ended: JobFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = copied(ended, tmp_path)

    class Crash(BaseException):
        """What no handler holds, as SIGKILL."""

    def crash(*arguments: Any, **options: Any) -> None:
        raise Crash

    with monkeypatch.context() as patched, pytest.raises(Crash):
        patched.setattr(merge, "_logits", crash)
        jobs.run_here(folder, 2)
    aside = folder.path / ".final.tmp"
    assert not folder.final.exists() and (aside / "adapter").is_dir()
    (aside / "adapter" / "kept").touch()
    jobs.run_here(folder, 3)
    assert (folder.final / "adapter" / "kept").exists()
    whole = (ended.final / "merged" / "model.safetensors").read_bytes()
    assert (folder.final / "merged" / "model.safetensors").read_bytes() == whole
    assert not jobs.events(folder, "train", lambda event: event.attempt > 1)


@pytest.mark.training
def test_what_was_begun_from_another_checkpoint_is_not_gone_on_with(ended: JobFolder, tmp_path: Path) -> None:
    folder = copied(ended, tmp_path)
    aside = folder.path / ".final.tmp"
    (aside / "adapter").mkdir(parents=True)
    (aside / "adapter" / "stray").touch()
    (aside / "made.json").write_text('{"checkpoint": "another"}')
    jobs.run_here(folder, 2)
    assert not (folder.final / "adapter" / "stray").exists()


@pytest.mark.training
def test_a_merge_that_memory_is_too_short_for_leaves_the_adapter(
    ended: JobFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from peft import PeftModel

    def short(*arguments: Any, **options: Any) -> None:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes")

    monkeypatch.setattr(PeftModel, "merge_and_unload", short, raising=False)
    folder = copied(ended, tmp_path)
    jobs.run_here(folder, 2)
    told = [event.data["message"] for event in jobs.events(folder, "alert")]
    assert any("not merged: memory ran out" in message for message in told)
    assert result(folder)["merged_path"] is None
    assert (folder.final / "adapter" / "adapter_model.safetensors").exists()


@pytest.mark.training
def test_the_card_tells_data_settings_versions_score_and_curve(ended: JobFolder) -> None:
    text = (ended.final / "README.md").read_text()
    start = jobs.events(ended, "start")[0].data
    best = result(ended)["best_step"]
    losses = jobs.by_step(ended, "eval", "eval_loss")
    assert start["data_sha256"] in text
    assert f"torch {start['versions']['torch']}" in text
    assert '"learning_rate": 0.1' in text and '"r": 4' in text
    for step, (loss,) in losses.items():
        row = next(line for line in text.splitlines() if line.startswith(f"| {step} |"))
        assert f"{loss:.4f}" in row and row.endswith("| best |") == (step == best)
    assert sparkline([loss for (loss,) in losses.values()]) in text
    assert f"checkpoint at step {best}" in text


@pytest.mark.training
def test_the_same_run_has_the_same_card(ended: JobFolder, tmp_path: Path) -> None:
    folder = copied(ended, tmp_path)
    jobs.run_here(folder, 2)
    assert (folder.final / "README.md").read_text() == (ended.final / "README.md").read_text()


def test_a_card_tells_nothing_of_this_machine_and_no_markup_of_a_name() -> None:
    changes = {
        "name": "a <b>|[x](y)",
        "model": {"name": "/home/me/models/mine", "build": None},
        "dataset": {"path": "/home/me/data.jsonl"},
        "finish": {"push_to_hub": "me/it"},
    }
    spec = JobSpec.model_validate(merged(jobs.SPEC, changes))
    text = card(spec, {}, {}, 3, None)
    assert "/home" not in text and "me/it" not in text
    assert 'base_model: "mine"' in text and '"path": "data.jsonl"' in text
    assert r"# a \<b\>\|\[x\](y)" in text


def test_a_sparkline_has_a_bar_for_each_number() -> None:
    assert sparkline([0.0, 7.0, float("nan"), 3.5]) in ("▁█ ▄", "▁█ ▅")
    assert sparkline([2.0, 2.0]) == "▁▁"
    assert sparkline([]) == ""


class Hub(BaseHTTPRequestHandler):
    """As much of the Hub as a small commit needs; what it was sent stands in its server's lists."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        place: Any = self.server
        place.asked.append((self.path, self.headers.get("Authorization"), body))
        if place.refuses:
            return self.answer({"error": "no"}, place.refuses)
        if self.path == "/api/repos/create":
            return self.answer({"url": f"http://127.0.0.1:{place.server_port}/me/it", "name": "me/it"})
        if "/preupload/" in self.path:
            files = json.loads(body)["files"]
            return self.answer(
                {
                    "files": [
                        {"path": f["path"], "uploadMode": "regular", "shouldIgnore": False} for f in files
                    ]
                }
            )
        address = f"http://127.0.0.1:{place.server_port}/me/it/commit/1"
        return self.answer({"success": True, "commitUrl": address, "commitOid": "1"})

    def answer(self, value: dict[str, Any], status: int = 200) -> None:
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments: Any) -> None:
        """Nothing: tests are quiet."""


@contextmanager
def hub(refuses: int = 0) -> Iterator[Any]:
    server: Any = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    server.asked, server.refuses = [], refuses
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


PROXIES = ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "all_proxy")


def to_push(ended: JobFolder, place: Path, monkeypatch: pytest.MonkeyPatch) -> JobFolder:
    """A job that is to be pushed, on a machine that reaches the Hub's stand-in directly."""
    for name in PROXIES:
        monkeypatch.delenv(name, raising=False)
    folder = copied(ended, place)
    spec = json.loads(folder.spec.read_text())
    folder.spec.write_text(json.dumps(merged(spec, {"finish": {"push_to_hub": "me/it"}})))
    return folder


HUB = """
import os
from huggingface_hub import constants
constants.ENDPOINT, constants.HF_HUB_OFFLINE = os.environ["HF_ENDPOINT"], False
constants.HF_HUB_DISABLE_XET = True
"""
"""What the library reads when it is loaded, which it was before."""


def with_hub(warm: Nursery, place: Path, monkeypatch: pytest.MonkeyPatch, port: int) -> None:
    """Processes that are started from now on take that port for the Hub."""
    patch = place / "hub.py"
    patch.write_text(HUB)
    environment = {**warm.environment, "PODIUM_TEST_PATCH": str(patch), "HF_HUB_OFFLINE": "0"}
    for name, value in (environment | {"HF_ENDPOINT": f"http://127.0.0.1:{port}"}).items():
        monkeypatch.setenv(name, value)


def push_here(folder: JobFolder, monkeypatch: pytest.MonkeyPatch, port: int) -> None:
    """The job in this process, with another address put into the library."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{port}")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    jobs.run_here(folder, 2)


@pytest.mark.training
def test_a_machine_that_kills_every_merge_costs_the_merged_model_alone(
    ended: JobFolder, tmp_path: Path, warm: Nursery
) -> None:
    folder = copied(ended, tmp_path)
    killed = {"at": "engine.trainer.merge:_logits", "call": 2, "signal": int(signal.SIGKILL)}
    statuses = [warm.train(folder, attempt, killed).returncode for attempt in (2, 3, 4)]
    assert statuses == [-signal.SIGKILL, -signal.SIGKILL, 0]
    (alert,) = [event.data for event in jobs.events(folder, "alert", lambda event: event.attempt == 4)]
    assert alert["alert"] == "merge_failed" and "killed 2 times" in alert["message"]
    assert result(folder)["merged_path"] is None
    assert {path.name for path in folder.final.iterdir()} == {"adapter", "README.md", "made.json"}


@pytest.mark.training
def test_the_merged_model_and_its_card_are_pushed(
    ended: JobFolder, tmp_path: Path, warm: Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", SECRET)
    folder = to_push(ended, tmp_path, monkeypatch)
    with hub() as server:
        with_hub(warm, tmp_path, monkeypatch, server.server_port)
        process = jobs.start(folder, 2)
        log, _ = process.communicate(timeout=300)
    assert process.returncode == 0, log
    assert SECRET not in log and SECRET.encode() not in folder.events.read_bytes()
    created = json.loads(server.asked[0][2])
    assert (created["name"], created["organization"]) == ("it", "me")
    assert created.get("private") is True or created.get("visibility") == "private"
    assert {authorization for _, authorization, _ in server.asked} == {f"Bearer {SECRET}"}
    sent = {}
    for line in server.asked[-1][2].splitlines():
        operation = json.loads(line)
        if operation["key"] == "file":
            sent[operation["value"]["path"]] = base64.b64decode(operation["value"]["content"])
    assert sent["README.md"] == (folder.final / "README.md").read_bytes()
    assert sent["model.safetensors"] == (folder.final / "merged" / "model.safetensors").read_bytes()
    assert "tokenizer.json" in sent
    assert SECRET.encode() not in b"".join(sent.values())
    assert str(result(folder)["hub_url"]).endswith("/me/it/commit/1")


@pytest.mark.training
@pytest.mark.parametrize(
    ("token", "refuses", "says"),
    [
        (SECRET, 403, "access refused (403)"),
        (SECRET, None, "can't be reached"),
        ("", 0, "HF_TOKEN is not set"),
    ],
)
def test_a_push_that_fails_is_told_and_the_job_ends_well(
    token: str,
    refuses: int | None,
    says: str,
    ended: JobFolder,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("HF_TOKEN", token)
    folder = to_push(ended, tmp_path, monkeypatch)
    with hub(refuses or 0) as server:
        port = server.server_port
        if refuses is not None:
            push_here(folder, monkeypatch, port)
    if refuses is None:
        # Nobody listens there any more.
        push_here(folder, monkeypatch, port)
    assert SECRET not in capsys.readouterr().out and SECRET.encode() not in folder.events.read_bytes()
    told = [e.data["message"] for e in jobs.events(folder, "alert") if e.data["alert"] == "push_failed"]
    assert len(told) == 1 and says in told[0], told
    assert result(folder)["hub_url"] is None
    assert (folder.final / "merged").is_dir()
    assert os.environ["HF_TOKEN"] == token


@pytest.mark.training
async def test_any_checkpoint_is_merged_and_published_later_without_a_trace_in_the_job(
    ended: JobFolder, tmp_path: Path, warm: Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = copied(ended, tmp_path)
    best = folder.path / result(folder)["best_checkpoint_path"]
    before = folder.events.read_bytes()
    monkeypatch.setenv("HF_TOKEN", SECRET)
    monkeypatch.setenv("RUNPOD_API_KEY", "not for the trainer")
    for name in PROXIES:
        monkeypatch.delenv(name, raising=False)
    lines: list[str] = []
    with hub() as server:
        with_hub(warm, tmp_path, monkeypatch, server.server_port)
        done = await deploy.publish(folder, best, "me/it", told=lines.append)
    assert done.url.endswith("/me/it/commit/1") and done.size_bytes > 10_000
    sent = {
        json.loads(line)["value"]["path"]
        for line in server.asked[-1][2].splitlines()
        if json.loads(line)["key"] == "file"
    }
    assert {"model.safetensors", "tokenizer.json", "README.md"} <= sent
    assert not any("adapter" in name or "optimizer" in name for name in sent)
    assert folder.events.read_bytes() == before and not folder.final.exists()
    assert any("merging" in line for line in lines) and SECRET not in "".join(lines)
    made = [path.name for path in (folder.path / "deploy").iterdir()]
    assert made == [best.name.replace("checkpoint", "step")]
