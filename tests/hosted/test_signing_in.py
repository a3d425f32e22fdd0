"""Every way to sign in, against a real server: an e-mail's code, its link, an access token."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from engine.errors import BadInput, SignedOut
from engine.store.hosted import account, secrets, wire
from engine.store.hosted.project import Project, claims
from engine.store.supabase import SupabaseStore
from tests.conftest import Podium
from tests.hosted import small
from tests.hosted.conftest import Cloud
from tests.store.wire import a_job, a_run

ROOT = Path(__file__).parents[2]
ENV = {"PYTHONPATH": str(ROOT)}
JOB = "9f0c1f36-6d56-4a52-9b07-0c2f3f5a7d11"
ADA = "ada@example.com"


def signed(user_id: str, *, seconds: float = 3600, secret: str = small.SECRET) -> str:
    """An access token as the server makes them."""

    def part(data: bytes) -> str:
        return base64.urlsafe_b64encode(data).rstrip(b"=").decode()

    told = {"sub": user_id, "email": ADA, "role": "authenticated", "aud": "authenticated",
            "exp": int(time.time() + seconds), "iat": int(time.time())}  # fmt: skip
    text = f"{part(json.dumps({'alg': 'HS256', 'typ': 'JWT'}).encode())}.{part(json.dumps(told).encode())}"
    return f"{text}.{part(hmac.new(secret.encode(), text.encode(), hashlib.sha256).digest())}"


def told(result: Any) -> Any:
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


def mailed(cloud: Cloud, email: str = ADA) -> tuple[str, str]:
    """Code and link of the newest e-mail."""
    mail = small.mails(cloud.folder, email)[-1]
    code, link = re.search(r"\b(\d{6})\b", mail), re.search(r"https?://\S+/verify\?\S+", mail)
    assert code and link, mail
    return code[1], link[0]


@contextmanager
def asking(answers: dict[str, Any]) -> Iterator[tuple[str, list[tuple[str, Any]]]]:
    """A server that gives these answers; yields its address, and what it is asked."""
    asked: list[tuple[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            path = self.path.partition("?")[0]
            asked.append((path, json.loads(self.rfile.read(int(self.headers["Content-Length"])))))
            data = json.dumps(answers[path]).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *args: Any) -> None:
            """The tests' output is for the tests."""

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", asked
        finally:
            server.shutdown()
            thread.join()


def shares_a_run(tmp_path: Path, blank: Path, project: Project) -> SupabaseStore:
    """The store of somebody signed in, in step with the server with a run of theirs."""
    (tmp_path / "podium.db").write_bytes(blank.read_bytes())
    store = SupabaseStore(tmp_path / "podium.db", project, live=False)
    store.add(a_job(JOB))
    store.ingest(JOB, a_run().bytes, 0)
    store.sync()
    return store


# ---- e-mail


def test_the_code_of_an_e_mail_signs_in(podium: Podium, cloud: Cloud) -> None:
    user = cloud.sign_in().user_id
    told(podium("store", "init", cloud.project.url, cloud.project.key, "--json", env=ENV))
    sent = podium("store", "sign-in", "--email", ADA, "--link", "--json", env=ENV)
    assert told(sent)["store"] == {"sent": True, "url": cloud.project.url}
    code, _ = mailed(cloud)
    args = ("store", "sign-in", "--email", ADA, "--code-stdin")
    wrong = podium(*args, input="000000\n" if code != "000000" else "000001\n", env=ENV)
    assert wrong.returncode == 2 and "refuses" in wrong.stderr and len(wrong.stderr.splitlines()) == 1
    result = podium(*args, "--json", input=f"{code}\n", env=ENV)
    assert told(result)["store"]["email"] == ADA
    kept = json.loads(Path(os.environ["PODIUM_TEST_KEYS"]).read_text())
    session = json.loads(kept[f"podium/{cloud.project.url} {user}"])
    assert session["user_id"] == user and session["refresh_token"]
    assert told(podium("store", "status", "--json", env=ENV))["store"]["standing"] == "synced"
    # It is good for once.
    assert podium(*args, input=f"{code}\n", env=ENV).returncode == 2


def test_the_link_of_an_e_mail_signs_in_when_it_is_pasted(cloud: Cloud) -> None:
    user = cloud.sign_in().user_id
    client = wire.client(cloud.project)
    account.send_link(client, ADA)
    _, link = mailed(cloud)
    session = account.with_link(client, link)
    assert (session["user_id"], session["email"]) == (user, ADA)
    assert claims(session["access_token"])["sub"] == user
    with pytest.raises(SignedOut):
        account.with_link(client, link)


def test_a_server_is_asked_for_the_e_mail_and_told_its_code_in_the_fields_that_it_has(
    cloud: Cloud,
) -> None:
    session = secrets.kept(cloud.sign_in().account)
    user = {"id": session["user_id"], "aud": "authenticated", "email": ADA, "app_metadata": {},
            "user_metadata": {}, "created_at": "2026-11-21T10:00:00Z"}  # fmt: skip
    opened = {"access_token": session["access_token"], "refresh_token": "r", "token_type": "bearer",
              "expires_in": 3600, "user": user}  # fmt: skip
    with asking({"/auth/v1/otp": {}, "/auth/v1/verify": opened}) as (url, asked):
        client = wire.client(Project(url, "sb_publishable_x"))
        account.send_link(client, ADA)
        assert account.with_code(client, ADA, "123456")["user_id"] == session["user_id"]
        account.with_link(client, f"{url}/auth/v1/verify?token=abc%2Bd&type=invite&redirect_to=https://x")
    (path, sent), (_, coded), (_, linked) = asked
    assert path == "/auth/v1/otp"
    assert (sent["email"], sent["create_user"]) == (ADA, False)
    assert (coded["email"], coded["token"], coded["type"]) == (ADA, "123456", "email")
    assert (linked["token_hash"], linked["type"], "email" in linked) == ("abc+d", "invite", False)


@pytest.mark.parametrize(
    "link",
    ["", "123456", "https://x.example/", "https://x.example/verify?token=a&type=recovery",
     "https://x.example/verify?type=magiclink", "http://[?", "\0"],
)  # fmt: skip
def test_what_is_no_such_link_is_refused_without_asking_anybody(link: str) -> None:
    client = wire.client(Project("http://127.0.0.1:1", "sb_publishable_x"))
    with pytest.raises(BadInput, match="no link"):
        account.with_link(client, link)


def test_an_e_mail_makes_no_new_account(cloud: Cloud) -> None:
    before = cloud.rows("SELECT count(*) FROM auth.users")
    try:
        account.send_link(wire.client(cloud.project), "stranger@example.com")
    except SignedOut as error:
        assert "\n" not in str(error)
    assert cloud.rows("SELECT count(*) FROM auth.users") == before


# ---- access tokens


def test_an_access_token_signs_in_and_what_it_may_do_is_done(
    podium: Podium, cloud: Cloud, tmp_path: Path, blank: Path
) -> None:
    token = signed(cloud.sign_in().user_id)
    Path(os.environ["PODIUM_TEST_KEYS"]).unlink()
    told(podium("store", "init", cloud.project.url, cloud.project.key, "--json", env=ENV))
    result = podium("store", "sign-in", "--token", "--json", input=f"{token}\n", env=ENV)
    assert told(result)["store"]["email"] == ADA
    assert token not in result.stdout + result.stderr
    assert told(podium("store", "status", "--json", env=ENV))["store"]["standing"] == "synced"
    store = shares_a_run(tmp_path, blank, cloud.project.by(claims(token)["sub"], ADA))
    assert store.state.standing == "synced", store.standing
    assert cloud.rows("SELECT count(*) FROM training_events") == [(39,)]
    store.close()
    told(podium("store", "sign-out", "--json", env=ENV))
    assert json.loads(Path(os.environ["PODIUM_TEST_KEYS"]).read_text()) == {}


def test_an_access_token_of_the_environment_signs_in_without_a_keyring(podium: Podium, cloud: Cloud) -> None:
    project = cloud.sign_in()
    token = secrets.kept(project.account)["access_token"]
    env = {**ENV, "PYTHON_KEYRING_BACKEND": "keyring.backends.fail.Keyring", "PODIUM_SUPABASE_TOKEN": token}
    told(podium("store", "init", cloud.project.url, cloud.project.key, "--json", env=env))
    assert told(podium("store", "sign-in", "--json", env=env))["store"]["email"] == ADA
    assert told(podium("store", "status", "--json", env=env))["store"]["standing"] == "synced"


def test_an_access_token_that_ends_says_so_and_the_run_waits_here(
    cloud: Cloud, tmp_path: Path, blank: Path
) -> None:
    project = cloud.sign_in()
    secrets.keep(
        project.account,
        {"access_token": signed(project.user_id, seconds=-5), "expires_at": time.time() - 5},
    )
    store = shares_a_run(tmp_path, blank, project)
    assert store.state.standing == "signed out"
    assert "access token" in store.standing and "39 events wait here" in store.standing
    secrets.forget(project.account)
    secrets.keep(project.account, account.with_token(wire.client(project), signed(project.user_id)))
    store.sync()
    assert store.state.standing == "synced", store.standing
    assert cloud.rows("SELECT count(*) FROM training_events") == [(39,)]
    store.close()


@pytest.mark.parametrize(
    "made, said, kind",
    [
        (lambda user: "hunter2", "no access token", BadInput),
        (lambda user: signed(user, seconds=-5), "expired", BadInput),
        (lambda user: signed(user, secret="x" * 40), "refuses", SignedOut),
        (lambda user: signed("7b1c2f7e-0000-4000-8000-000000000000"), "hosted store", SignedOut),
    ],
    ids=["none", "expired", "forged", "of nobody"],
)
def test_an_access_token_that_is_worthless_signs_nobody_in(
    made: Callable[[str], str], said: str, kind: type[Exception], cloud: Cloud
) -> None:
    token = made(cloud.sign_in().user_id)
    with pytest.raises(kind, match=said) as error:
        account.with_token(wire.client(cloud.project), token)
    assert token not in str(error.value)
