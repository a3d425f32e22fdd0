"""The tests' own door to a server on loopback: it can be shut, fail, or lose answers, and mends what must be.

The small server that the tests have writes its users' times in a way that the client library refuses.
"""

from __future__ import annotations

import http.client
import re
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Fault = int | str | bytes | None
"""A status or a body to answer instead; `drop` closes the connection unheard, `lose` after it was heard."""

_TIME = re.compile(rb'"(\d{4}-\d\d-\d\d) (\d\d:\d\d:\d\d(?:\.\d+)?)\+00"')
_NOT_FORWARDED = ("host", "connection", "accept-encoding", "content-length", "transfer-encoding")


def _pump(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(1 << 16):
            target.sendall(data)
    with suppress(OSError):
        target.shutdown(socket.SHUT_RDWR)


class Gateway:
    """Hands requests on to a port of this machine.

    Args:
        port: The server's; `realtime` may be set to that of a realtime server, which sockets then go to.
    """

    def __init__(self, port: int) -> None:
        self.fault: Callable[[str, str], Fault] = lambda method, path: None
        self.asked: list[tuple[str, str]] = []
        self.realtime = 0
        gateway = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def handle_one_request(self) -> None:
                try:
                    super().handle_one_request()
                except (ConnectionError, TimeoutError):
                    self.close_connection = True

            def _hand_on(self) -> None:
                if gateway.realtime and self.path.startswith("/realtime/"):
                    self._tunnel()
                    return
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                gateway.asked.append((self.command, self.path))
                fault = gateway.fault(self.command, self.path)
                if isinstance(fault, int):
                    self._answer(fault, b'{"message":"a fault of the test","code":"x"}', [])
                    return
                if isinstance(fault, bytes):
                    self._answer(200, fault, [("Content-Type", "application/json")])
                    return
                if fault == "drop":
                    self._cut()
                    return
                upstream = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
                headers = {k: v for k, v in self.headers.items() if k.lower() not in _NOT_FORWARDED}
                upstream.request(self.command, self.path, body or None, headers)
                answer = upstream.getresponse()
                data = answer.read()
                upstream.close()
                if fault == "lose":
                    self._cut()
                    return
                if self.path.startswith("/auth/"):
                    data = _TIME.sub(rb'"\1T\2+00:00"', data)
                self._answer(answer.status, data, answer.getheaders())

            def _answer(self, status: int, data: bytes, headers: list[tuple[str, str]]) -> None:
                self.send_response(status)
                for name, value in headers:
                    if name.lower() in ("content-type", "content-range", "proxy-status"):
                        self.send_header(name, value)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def _tunnel(self) -> None:
                """Hand everything on, both ways, to the port that has the realtime server."""
                self.close_connection = True
                with socket.create_connection(("127.0.0.1", gateway.realtime), 10) as there:
                    there.settimeout(None)
                    lines = [self.requestline, *(f"{k}: {v}" for k, v in self.headers.items()), "", ""]
                    there.sendall("\r\n".join(lines).encode())
                    back = threading.Thread(target=_pump, args=(there, self.connection))
                    back.start()
                    _pump(self.connection, there)
                    back.join()

            def _cut(self) -> None:
                self.close_connection = True
                self.connection.shutdown(socket.SHUT_RDWR)

            do_GET = do_POST = do_PATCH = do_DELETE = do_PUT = do_HEAD = _hand_on

            def log_message(self, *args: Any) -> None:
                """The tests' output is for the tests."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    @contextmanager
    def open(self) -> Iterator[Gateway]:
        """Listen."""
        thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        thread.start()
        yield self
        self._server.shutdown()
        thread.join()
        self._server.server_close()

    @contextmanager
    def failing(
        self, fault: Fault, *, method: str = "", path: str = "", times: int = 10**9
    ) -> Iterator[list[str]]:
        """Let requests fail while this is open: those of a method, with something in their path, so often."""
        failed: list[str] = []

        def judge(asked: str, where: str) -> Fault:
            if method in ("", asked) and path in where and len(failed) < times:
                failed.append(where)
                return fault
            return None

        before, self.fault = self.fault, judge
        yield failed
        self.fault = before
