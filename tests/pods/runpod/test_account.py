"""Where the key comes from, where it goes, and that it stays unseen; what start-up must not import."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

from engine.errors import BadInput, Missing, Unauthorized
from engine.pods import runpod_sdk
from engine.pods.provider import CreateRequest, pod_name
from engine.pods.runpod_account import Veil, api_key, api_url, connect


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """RunPod's own file, not yet there, of a user whose environment has no key."""
    monkeypatch.delenv("RUNPOD_API_KEY", raising=False)
    monkeypatch.delenv("RUNPOD_API_BASE_URL", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    path = tmp_path / ".runpod" / "config.toml"
    path.parent.mkdir()
    return path


def test_the_environment_wins_over_the_file(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config.write_text('[default]\napi_key = "rpa_file"\n')
    assert api_key().get_secret_value() == "rpa_file"
    monkeypatch.setenv("RUNPOD_API_KEY", " rpa_environment\n")
    assert api_key().get_secret_value() == "rpa_environment"
    assert "rpa_" not in repr(api_key())


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, "there is no RunPod API key"),
        ("", "there is no RunPod API key"),
        ("default = 7", "there is no RunPod API key"),
        ("[default]\napi_key = 7", "there is no RunPod API key"),
        ("[other]\napi_key = 'rpa_x'", "there is no RunPod API key"),
        ("[default]\napi_key = 'rpa_secret", "is not TOML"),
        ("[default]\napi_key = 'rpa secret'", "blanks or strange characters"),
        ("[default]\napi_key = 'rpa_sécret'", "blanks or strange characters"),
    ],
)
def test_without_a_usable_key_the_error_says_where_to_put_one(
    config: Path, text: str | None, words: str
) -> None:
    if text is not None:
        config.write_text(text)
    with pytest.raises(Unauthorized, match=words) as caught:
        api_key()
    assert "RUNPOD_API_KEY" in caught.value.advice
    assert "secret" not in str(caught.value)


def test_a_file_that_can_not_be_read_is_named(config: Path) -> None:
    config.mkdir()
    with pytest.raises(Unauthorized, match=r"config\.toml can't be read"):
        api_key()


def test_the_key_is_sent_over_tls_or_to_this_machine_only(monkeypatch: pytest.MonkeyPatch) -> None:
    for good in ("", "https://example.com/", "http://127.0.0.1:8080", "http://localhost:1"):
        monkeypatch.setenv("RUNPOD_API_BASE_URL", good)
        assert api_url() == (good.rstrip("/") or "https://api.runpod.io")
    for bad in ("http://example.com", "http://127.0.0.1.example.com", "ftp://localhost", "example.com"):
        monkeypatch.setenv("RUNPOD_API_BASE_URL", bad)
        with pytest.raises(BadInput, match="https"):
            api_url()


async def test_the_rest_backend_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUNPOD_API_KEY", "rpa_x")
    provider = connect()
    assert type(provider).__name__ == "RunPodREST"
    await provider.close()


def test_the_sdk_is_missed_with_its_remedy(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config.write_text("[default]\napi_key = 'rpa_x'")
    monkeypatch.setattr(runpod_sdk, "find_spec", lambda name: None)
    with pytest.raises(Missing, match=r"podium\[runpod\]"):
        connect("sdk")


def test_neither_the_sdk_nor_an_http_client_is_imported_before_it_is_needed() -> None:
    code = (
        "import sys, engine.pods.provider, engine.pods.prices, engine.pods.rent, engine.pods.runpod_account\n"
        "print(sorted({'httpx', 'runpod', 'requests', 'asyncssh'} & set(sys.modules)))\n"
        "import engine.pods.runpod_sdk\n"
        "print(sorted({'httpx', 'runpod', 'requests', 'asyncssh'} & set(sys.modules)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False
    )
    assert (done.stdout, done.stderr) == ("[]\n[]\n", "")


def test_a_request_does_not_show_what_it_carries() -> None:
    request = CreateRequest(name=pod_name("7"), image="x", gpu_id="y", env={"HF_TOKEN": "hf_planted"})
    assert "hf_planted" not in f"{request} {request!r}"
    assert request.environment == {"HF_TOKEN": "hf_planted"}


@settings(deadline=None)
@given(st.text(), st.text(min_size=8, alphabet="abcXYZ019_-"), st.text())
def test_a_veil_lets_no_secret_and_no_control_character_through(before: str, secret: str, after: str) -> None:
    shown = Veil(SecretStr(secret))(f"{before}{secret}{after}")
    assert secret not in shown
    assert shown.isprintable()
    assert len(shown) <= 300


def test_a_veil_hides_a_secret_that_holds_another() -> None:
    assert Veil(SecretStr("token-1"))("x token-1-and-more y", also=["token-1-and-more"]) == "x ••• y"


def test_a_veil_hides_a_secret_of_several_lines_however_they_are_joined() -> None:
    secret = "-----BEGIN KEY-----\nc2VjcmV0\nbW9yZQ==\n"
    assert "c2VjcmV0" not in Veil()(f"bad value: {secret!r}", also=[secret])
