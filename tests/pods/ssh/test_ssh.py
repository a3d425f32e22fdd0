"""A machine over SSH: commands, keys, secrets, requests, copies; a real server answers."""

from __future__ import annotations

import asyncio
import getpass
import json
import os
import stat
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from engine.errors import BadInput, PodError, PodLost
from engine.home import Home
from engine.pods.ssh_address import SSHAddress
from tests.emulators.sshd import Server, keygen, sshd
from tests.pods.ssh.conftest import Connect
from tests.processes import until

pytestmark = pytest.mark.skipif(getpass.getuser() != "root", reason="sshd on loopback lets only root in here")

NASTY = ["two words", "$HOME", "`id`", "a'b\"c", "; touch /tmp/pwned", "*", "", "\\", "line\nbreak"]


async def test_arguments_arrive_as_they_are(connect: Connect) -> None:
    done = await connect().run(["printf", "%s\\0", *NASTY])
    assert (done.code, done.out.decode().split("\0")[:-1]) == (0, NASTY)


async def test_exit_status_and_both_outputs_come_back(connect: Connect) -> None:
    done = await connect().run(["sh", "-c", "cat; echo wrong >&2; exit 7"], stdin=b"in\xff")
    assert (done.code, done.out, done.err) == (7, b"in\xff", b"wrong\n")


async def test_a_command_that_takes_too_long_is_no_lost_connection(connect: Connect) -> None:
    pod = connect()
    with pytest.raises(PodError, match=r"sleep is not done after 0.2 s") as raised:
        await pod.run(["sleep", "60"], timeout=0.2)
    assert not isinstance(raised.value, PodLost)
    assert (await pod.run(["true"])).code == 0


async def test_secrets_are_in_the_environment_and_in_no_arguments(connect: Connect) -> None:
    secret = "planted $(secret) 'quoted'"
    script = 'cat /proc/$$/cmdline /proc/$PPID/cmdline; echo; printf "%s" "$TOKEN"; cat'
    done = await connect().run(["sh", "-c", script], env={"TOKEN": secret}, stdin=b" and stdin")
    arguments, _, told = done.out.partition(b"\n")
    assert b"planted" not in arguments
    assert told.decode() == f"{secret} and stdin"


@pytest.mark.parametrize("env", [{"A": "two\nlines"}, {"A B": "x"}, {"A;id": "x"}, {"": "x"}])
async def test_a_variable_that_could_smuggle_something_is_refused(
    connect: Connect, env: dict[str, str]
) -> None:
    with pytest.raises(PodError, match="can't be passed"):
        await connect().run(["env"], env=env)


async def test_the_first_key_is_shown_and_pinned_by_pod_id(connect: Connect, here: Home) -> None:
    seen: list[tuple[str, str]] = []
    for _ in range(2):
        pod = connect(first_use=lambda *told: seen.append(told))
        await pod.run(["true"])
        await pod.close()
    assert [name for name, _ in seen] == ["pod-1"]
    assert seen[0][1].startswith("SHA256:")
    assert json.loads(here.host_keys.read_text())["pod-1"].startswith("ssh-ed25519 ")


async def test_a_changed_key_is_refused_and_explained(connect: Connect, server: Server, here: Home) -> None:
    await connect().run(["true"])
    server.stop()
    server.new_host_key()
    server.start()
    with pytest.raises(
        PodError, match=r"host key has changed from SHA256:.* nothing was sent.*host_keys.json"
    ):
        await connect().run(["true"])
    # The same address as another pod: rented addresses are recycled.
    assert (await connect(id="pod-2").run(["true"])).code == 0
    assert set(json.loads(here.host_keys.read_text())) == {"pod-1", "pod-2"}


async def test_without_readable_pins_there_is_no_connection(connect: Connect, here: Home) -> None:
    here.host_keys.write_text("{broken")
    with pytest.raises(PodError, match="pinned host keys can't be read"):
        await connect().run(["true"])


async def test_a_key_that_is_not_let_in_is_said(connect: Connect, server: Server, tmp_path: Path) -> None:
    keygen(tmp_path / "stranger")
    address = SSHAddress("127.0.0.1", "root", server.port, str(tmp_path / "stranger"))
    with pytest.raises(PodError, match="no key of yours is let in"):
        await connect(address=address).run(["true"])


async def test_a_missing_key_file_is_said(connect: Connect, server: Server) -> None:
    address = SSHAddress("127.0.0.1", "root", server.port, "/nowhere/id")
    with pytest.raises(PodError, match="/nowhere/id"):
        await connect(address=address).run(["true"])


async def test_nobody_there_is_a_lost_pod(connect: Connect, server: Server) -> None:
    server.stop()
    with pytest.raises(PodLost, match="can't be reached"):
        await connect().run(["true"])


async def test_the_users_ssh_config_names_host_port_user_and_key(
    connect: Connect, server: Server, tmp_path: Path
) -> None:
    config = tmp_path / "config"
    config.write_text(
        f"Host My-GPU\n HostName 127.0.0.1\n Port {server.port}\n User root\n IdentityFile {server.key}\n"
    )
    pod = connect(address=SSHAddress.parse("My-GPU"), config=[config])
    assert (await pod.run(["true"])).code == 0


@contextmanager
def agent(key: Path) -> Iterator[str]:
    """A real ssh-agent that holds a key; its socket."""
    with tempfile.TemporaryDirectory() as short:  # a socket's path may have 107 bytes
        socket = Path(short) / "agent"
        process = subprocess.Popen(["ssh-agent", "-D", "-a", socket], stdout=subprocess.DEVNULL)
        try:
            until(socket.exists, "the agent")
            inside = {**os.environ, "SSH_AUTH_SOCK": str(socket)}
            subprocess.run(["ssh-add", "-q", key], env=inside, check=True)
            yield str(socket)
        finally:
            process.terminate()
            process.wait()


async def test_a_key_that_only_the_agent_holds_lets_us_in(
    connect: Connect, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The key's file is gone, and there are none of the user's own."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    address = SSHAddress("127.0.0.1", "root", server.port)
    with agent(server.key) as socket:
        server.key.unlink()
        with pytest.raises(PodError, match="no key of yours is let in"):
            await connect(address=address).run(["true"])
        monkeypatch.setenv("SSH_AUTH_SOCK", socket)
        assert (await connect(address=address).run(["echo", "in"])).out == b"in\n"


async def test_a_jump_host_is_passed_through(connect: Connect, server: Server, tmp_path: Path) -> None:
    jump = sshd(tmp_path / "jump")
    try:
        known = tmp_path / "known_hosts"
        key = (jump.folder / "host_key.pub").read_text()
        known.write_text(f"[127.0.0.1]:{jump.port} {key}")
        config = tmp_path / "config"
        config.write_text(
            f"Host far\n HostName 127.0.0.1\n Port {server.port}\n User root\n IdentityFile {server.key}\n"
            " ProxyJump jump\n"
            f"Host jump\n HostName 127.0.0.1\n Port {jump.port}\n User root\n IdentityFile {jump.key}\n"
            f" UserKnownHostsFile {known}\n"
        )
        pod = connect(address=SSHAddress("far"), config=[config])
        done = await pod.run(["sh", "-c", "echo $SSH_CONNECTION"])
        assert done.out.split()[3].decode() == str(server.port)
        assert jump.sessions()
        await pod.close()
    finally:
        jump.stop()


async def test_requests_are_left_whole(connect: Connect, server: Server) -> None:
    pod = connect()
    await pod.request("a-job", "learning_rate", 1e-4)
    await pod.request("a-job", "stop")
    control = server.root / "jobs" / "a-job" / "control"
    assert {path.name: json.loads(path.read_text()) for path in control.iterdir()} == {
        "learning_rate": 1e-4,
        "stop": True,
    }
    with pytest.raises(ValueError, match="unknown control request"):
        await pod.request("a-job", "../../evil")


async def test_a_folder_below_home_is_found(connect: Connect) -> None:
    pod = connect(root="~/somewhere else")
    home = (await pod.run(["sh", "-c", 'printf %s "$HOME"'])).out.decode()
    assert await pod.absolute(pod.folder("a-job")) == f"{home}/somewhere else/jobs/a-job"


async def test_copies_are_the_same_there_and_back(connect: Connect, tmp_path: Path) -> None:
    pod, folder = connect(), tmp_path / "folder"
    (folder / "below").mkdir(parents=True)
    (folder / "below" / "file").write_bytes(os.urandom(300_000))
    await pod.put(folder, str(tmp_path / "there"))
    await pod.get(str(tmp_path / "there"), tmp_path / "back")
    assert (tmp_path / "back" / "below" / "file").read_bytes() == (folder / "below" / "file").read_bytes()
    with pytest.raises(PodError, match=r"(?i)no such file"):
        await pod.get(str(tmp_path / "missing"), tmp_path / "nothing")


async def test_a_copy_goes_on_where_it_was_cut_off(connect: Connect, tmp_path: Path) -> None:
    pod, source = connect(), tmp_path / "source"
    source.write_bytes(os.urandom(9_000_000))
    there, back = tmp_path / "there", tmp_path / "back"
    there.write_bytes(source.read_bytes()[:5_000_000])
    back.write_bytes(source.read_bytes()[:5_000_000])
    sent: list[tuple[int, int]] = []
    await pod.files.upload(source, str(there), 5_000_000, lambda *now: sent.append(now))
    assert there.read_bytes() == source.read_bytes()
    assert sent[0][0] > 5_000_000
    assert sent[-1] == (9_000_000, 9_000_000)
    await pod.files.download(str(there), back, 9_000_000)
    assert back.read_bytes() == source.read_bytes()
    with pytest.raises(PodError, match="shorter than it should be"):
        await pod.files.download(str(there), back, 9_000_001)


async def test_many_callers_share_one_connection(connect: Connect, server: Server) -> None:
    pod = connect()
    await asyncio.gather(*(pod.run(["true"]) for _ in range(5)))
    done = await asyncio.gather(*(pod.run(["sh", "-c", "echo $SSH_CONNECTION"]) for _ in range(5)))
    assert len({each.out for each in done}) == 1


async def test_the_pins_are_the_users_alone(connect: Connect, here: Home) -> None:
    await connect().run(["true"])
    assert not stat.S_IMODE(here.host_keys.stat().st_mode) & 0o022


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("gpu", SSHAddress("gpu")),
        ("root@gpu", SSHAddress("gpu", "root")),
        ("ssh://root@10.0.0.7:2222", SSHAddress("10.0.0.7", "root", 2222)),
        ("me@[::1]:22", SSHAddress("::1", "me", 22)),
        ("My-GPU", SSHAddress("My-GPU")),
    ],
)
def test_addresses_are_read_and_written(text: str, address: SSHAddress) -> None:
    assert SSHAddress.parse(text) == address
    assert SSHAddress.parse(str(address)) == address


@pytest.mark.parametrize(
    "text",
    ["", "ssh://", "http://x", "-oProxyCommand=id", "a b", "x:port", "u:p@h", "h/path", "root@-x", "h:70000"],
)
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(BadInput, match="is no SSH address"):
        SSHAddress.parse(text)
