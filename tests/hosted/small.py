"""A small Supabase server (npm `@supabase/lite`) on a real PostgreSQL, on loopback, for one database."""

from __future__ import annotations

import asyncio
import re
import secrets
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import httpx
import psycopg

from engine.store.hosted.migrate import migrate

SECRET = "s" * 40
"""What the server signs its access tokens with."""

ROOT = Path(__file__).parents[2]
LITE = ROOT / ".node" / "node_modules" / ".bin" / "lite"

ROLES = """
DO $$ BEGIN
    CREATE ROLE anon NOLOGIN; CREATE ROLE authenticated NOLOGIN; CREATE ROLE service_role NOLOGIN BYPASSRLS;
EXCEPTION WHEN duplicate_object THEN NULL; END $$;
GRANT USAGE ON SCHEMA public, auth TO anon, authenticated, service_role;
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA auth TO anon, authenticated, service_role;
"""

CONFIG = """
[api]
port = {port}

[db]
driver = "postgres"
url = "postgres://postgres:x@127.0.0.1:{database_port}/{database}"

[auth]
enabled = true
jwt_secret = "{secret}"
jwt_expiry = {expiry}
enable_signup = true
publishable_key = "env(SUPABASE_PUBLISHABLE_KEY)"
secret_key = "env(SUPABASE_SECRET_KEY)"

[auth.email]
enable_confirmations = false
"""


def missing() -> str:
    """Why it can't be started here; empty when it can."""
    if shutil.which("node") is None:
        return "node is not installed"
    return (
        "" if LITE.exists() else f"{LITE.relative_to(ROOT)} is not there: make test installs it where npm is"
    )


def mails(folder: Path, address: str) -> list[str]:
    """The e-mails to an address, oldest first: the server writes what it would send into its log."""
    text = (folder / "log").read_text(errors="replace")
    found = re.split(r"email captured \(not delivered\)\n", text)[1:]
    return [mail for mail in found if mail.startswith(f"To: {address}\n")]


@contextmanager
def serving(url: str, folder: Path, *, expiry: int = 3600) -> Iterator[tuple[int, str]]:
    """Serve a database; yields the server's port and its publishable key.

    Args:
        url: The database, on a Unix socket.
        folder: An empty one for its files.
        expiry: How long a session holds, seconds.
    """
    parts = urlsplit(url)
    port, key = _free(), f"sb_publishable_{secrets.token_hex(12)}"
    with _relayed(Path(parse_qs(parts.query)["host"][0]) / ".s.PGSQL.5432") as database_port:
        (folder / "supabase" / "schemas").mkdir(parents=True)
        (folder / "supabase" / "config.toml").write_text(
            CONFIG.format(
                port=port,
                database_port=database_port,
                database=parts.path[1:],
                secret=SECRET,
                expiry=expiry,
            )
        )
        (folder / ".env").write_text(
            f"SUPABASE_PUBLISHABLE_KEY={key}\nSUPABASE_SECRET_KEY=sb_secret_{secrets.token_hex(12)}\n"
        )
        with (folder / "log").open("wb") as log:
            server = subprocess.Popen(
                [LITE, "start", "--no-admin", "--no-telemetry"],
                cwd=folder, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
            )  # fmt: skip
        try:
            _wait(server, port, key, folder / "log")
            with psycopg.connect(url, autocommit=True) as db:
                db.execute(ROLES.encode())
            migrate(url)
            yield port, key
        finally:
            server.terminate()
            try:
                server.wait(10)
            except subprocess.TimeoutExpired:
                server.kill()
                server.wait()


def _wait(server: subprocess.Popen[bytes], port: int, key: str, log: Path) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        with suppress(httpx.TransportError):
            if (
                httpx.get(f"http://127.0.0.1:{port}/auth/v1/settings", headers={"apikey": key}).status_code
                < 500
            ):
                return
        if server.poll() is not None:
            break
        time.sleep(0.1)
    raise RuntimeError(f"the small server did not start: {log.read_text()[-2000:]}")


def _free() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def _relayed(unix: Path) -> Iterator[int]:
    """A port of this machine that leads to a Unix socket."""
    loop = asyncio.new_event_loop()
    ready: list[int] = []
    started = threading.Event()
    tasks: set[asyncio.Task[None]] = set()

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while data := await reader.read(1 << 16):
                writer.write(data)
                await writer.drain()
        writer.close()

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_unix_connection(unix)
        await asyncio.gather(pump(reader, back), pump(there, writer))

    async def serve() -> None:
        server = await asyncio.start_server(relay, "127.0.0.1", 0)
        ready.append(server.sockets[0].getsockname()[1])
        started.set()

    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    asyncio.run_coroutine_threadsafe(serve(), loop).result(10)
    started.wait(10)
    try:
        yield ready[0]
    finally:

        async def end() -> None:
            tasks.update(task for task in asyncio.all_tasks() if task is not asyncio.current_task())
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

        asyncio.run_coroutine_threadsafe(end(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
