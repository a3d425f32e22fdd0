"""What a dead trainer is said to have died of."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from engine.supervisor.failure import Failure, clean, examine


def examined(tmp_path: Path, text: str, code: int = 1, since: int = 0) -> Failure:
    log = tmp_path / "train.log"
    log.write_text(text)
    return examine(code, log, since)


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        ("OSError: [Errno 28] No space left on device: '/x'", "disk_full"),
        ("torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2 GiB", "out_of_memory"),
        ("MemoryError", "out_of_memory"),
        ("PermissionError: [Errno 13] Permission denied: '/data'", "permission"),
        ("ModuleNotFoundError: No module named 'torch'", "missing"),
        ("huggingface_hub.errors.GatedRepoError: 401 Client Error", "access"),
        ("RuntimeError: CUDA error: device-side assert triggered", "gpu"),
    ],
)
def test_a_known_cause_is_found_behind_later_noise(tmp_path: Path, line: str, kind: str) -> None:
    text = f"step 1\nTraceback (most recent call last):\n{line}\nresource_tracker: leaked semaphore objects\n"
    failure = examined(tmp_path, text)
    assert failure.kind == kind
    assert failure.text == f"exit status 1: {line}"
    assert failure.advice


def test_a_script_is_advised_of_what_it_can_change(tmp_path: Path) -> None:
    log = tmp_path / "train.log"
    ends = {
        "ModuleNotFoundError: No module named 'torch'\n": (1, "script.requirements"),
        "torch.OutOfMemoryError: CUDA out of memory\n": (1, "Let the script take smaller batches"),
        "step 120\n": (-signal.SIGKILL, "let the script take smaller batches"),
    }
    for text, (code, advised) in ends.items():
        log.write_text(text)
        own, scripts = (examine(code, log, 0, script=script).advice for script in (False, True))
        assert advised in scripts and "podium[train]" not in scripts and "training." not in scripts
        assert own and advised not in own


def test_an_unknown_exception_is_preferred_to_the_noise_after_it(tmp_path: Path) -> None:
    assert examined(tmp_path, "Foo\nmy.pkg.OddError: hm\nbye\n").text == "exit status 1: my.pkg.OddError: hm"


def test_without_an_exception_the_last_line_counts(tmp_path: Path) -> None:
    assert examined(tmp_path, "one\ntwo\n\n  \n").text == "exit status 1: two"
    assert examined(tmp_path, "").text == "exit status 1"
    assert examine(7, tmp_path / "none", 0).text == "exit status 7"


def test_only_the_attempts_own_output_counts(tmp_path: Path) -> None:
    before = "MemoryError\n"
    assert examined(tmp_path, before + "ValueError: x\n", since=len(before)).kind == "unknown"


def test_a_signal_is_named_and_not_blamed_on_the_last_step(tmp_path: Path) -> None:
    failure = examined(tmp_path, "step 120 loss 0.4\n", -signal.SIGKILL)
    assert failure.text == "killed by SIGKILL"
    assert "memory" in failure.advice
    assert examined(tmp_path, "x", -64).text.startswith("killed by ")


def test_the_same_failure_at_another_step_has_the_same_identity(tmp_path: Path) -> None:
    one = examined(tmp_path, "ValueError: step 17 at 0x7f3a is bad\n")
    two = examined(tmp_path, "ValueError: step 901 at 0x55bd is bad\n")
    other = examined(tmp_path, "ValueError: step 901 at 0x55bd is worse\n")
    assert one.identity == two.identity != other.identity


def test_a_cause_is_one_clean_short_line_without_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_API_KEY", "very-secret-value")
    monkeypatch.setenv("TOKENIZERS_PARALLELISM", "false-friend")
    dirty = "10%\r20%\r\x1b[31mbad\x1b[0m \x1b]0;title\x07key very-secret-value"
    dirty += " hf_abcdefghijklmnopqrstuvwx\u202e\x9b5m!"
    assert clean(dirty) == "bad key [secret] [secret]!"
    assert clean("false-friend") == "false-friend"
    assert len(clean("x" * 10_000)) == 300


def test_a_log_of_random_bytes_is_examined_all_the_same(tmp_path: Path) -> None:
    log = tmp_path / "train.log"
    log.write_bytes(bytes(range(256)) * 1000)
    failure = examine(1, log, 0)
    assert failure.text.isprintable()
