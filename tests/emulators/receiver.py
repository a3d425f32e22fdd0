"""An HTTP server on loopback that keeps what it gets, answers as it is told, and can be away for a while."""

from __future__ import annotations

import json
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self


@dataclass(frozen=True)
class Got:
    """A request; the names of its headers are in lower case."""

    path: str
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Reply:
    """An answer; `hang_up` closes without one, `late` comes after so many seconds, both after the deed."""

    status: int = 200
    body: bytes = b"{}"
    headers: dict[str, str] = field(default_factory=dict)
    hang_up: bool = False
    late: float = 0.0
    before: bool = False
    """Is the request answered so without the deed?"""


def done(got: Got) -> Reply:
    return Reply()


class Receiver:
    """`with Receiver(deed) as there:` serves at `there.url`; `there.next` are its next answers."""

    def __init__(self, deed: Callable[[Got], Reply] = done) -> None:
        self.deed = deed
        self.got: list[Got] = []
        self.next: deque[Reply] = deque()
        self.always: Reply | None = None
        self._port = 0
        self._server: ThreadingHTTPServer | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    def up(self) -> None:
        there = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                there._answer(
                    self, Got(self.path, {name.lower(): value for name, value in self.headers.items()}, body)
                )

            def log_message(self, *what: Any) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *what: Any) -> None:
                pass

        self._server = Server(("127.0.0.1", self._port), Handler)
        self._port = self._server.server_port
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def down(self) -> None:
        """Refuse connections, on a port that stays ours."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def _answer(self, handler: BaseHTTPRequestHandler, got: Got) -> None:
        trouble = self.next.popleft() if self.next else self.always
        reply = trouble if trouble is not None and trouble.before else self.deed(got)
        self.got.append(got)
        if trouble is not None:
            time.sleep(trouble.late)
            if trouble.hang_up:
                handler.close_connection = True
                return
            reply = trouble if trouble.status != 200 else reply
        handler.send_response(reply.status)
        for name, value in {"Content-Length": str(len(reply.body)), **reply.headers}.items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(reply.body)

    def __enter__(self) -> Self:
        self.up()
        return self

    def __exit__(self, *what: object) -> None:
        self.down()
