"""The emulator's HTTP server.

Every request is judged by the official description, where it is at hand, and so is every answer: what breaks
it is kept in `violations`. `fault` makes the next requests of a kind go wrong in a way of one's choice.
"""

from __future__ import annotations

import json
import re
import socket
import struct
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from tests.emulators.runpod import rest
from tests.emulators.runpod.account import Account, Clock, Pod, Refusal
from tests.emulators.runpod.contract import contract

PROBLEM = "application/problem+json"
TITLES = {
    400: "Bad Request",
    401: "Unauthorized",
    402: "Payment Required",
    403: "Forbidden",
    404: "Not Found",
}
TITLES |= {409: "Conflict", 422: "Unprocessable Entity", 429: "Too Many Requests"}


@dataclass
class Fault:
    """How a request goes wrong.

    Args:
        status: The status that is answered instead; None keeps the true answer.
        performed: Is the request carried out all the same?
        drop: Break the connection instead of answering.
        hang: Say nothing for so many (real) seconds first.
        raw: A body to answer with, as it is.
    """

    status: int | None = None
    detail: str = "something went wrong"
    headers: dict[str, str] = field(default_factory=dict)
    performed: bool = False
    drop: bool = False
    hang: float = 0.0
    raw: bytes | None = None


@dataclass
class Request:
    method: str
    path: str
    query: dict[str, str]
    body: Any
    token: str
    field: str = ""
    """The root field of a GraphQL query."""

    @property
    def line(self) -> str:
        return " ".join(filter(None, (self.method, self.path, self.field)))


@dataclass
class Answer:
    status: int
    body: Any = None
    kind: str | None = "application/json"
    headers: dict[str, str] = field(default_factory=dict)
    raw: bytes | None = None

    @property
    def content(self) -> bytes:
        if self.raw is not None:
            return self.raw
        return b"" if self.body is None else json.dumps(self.body).encode()


class Emulator:
    """The server and its account."""

    def __init__(self, account: Account | None = None, *, clock: Clock | None = None) -> None:
        self.account = account or Account(clock)
        self.requests: list[Request] = []
        self.violations: list[str] = []
        self.down = False
        """Is every request answered with 503?"""
        self.pods_may_terminate = True
        """May a pod's own key end that pod, and not just stop it?"""
        self.pods_may_end_clusters = False
        """May a pod's own key end the cluster that it is in?"""
        self._faults: list[tuple[re.Pattern[str], Fault]] = []
        self._closing = threading.Event()
        self._contract = contract()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)

    def __enter__(self) -> Emulator:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    @property
    def lines(self) -> list[str]:
        """What was asked, such as `POST /v2/pods` and `POST /graphql podStop`."""
        return [request.line for request in self.requests]

    def fault(self, where: str, fault: Fault, times: int = 1) -> None:
        """Let the next `times` requests whose line matches `where` go wrong."""
        self._faults += [(re.compile(where), fault)] * times

    def serve(self, request: Request) -> Answer | None:
        """The answer; None to break the connection."""
        with self.account.lock:
            self.requests.append(request)
            fault = self._fault(request)
            if fault is None:
                return self._judged(request, self._perform(request))
            answer = None
            if fault.performed or (fault.status is None and not fault.drop and fault.raw is None):
                answer = self._perform(request)
        if fault.hang:
            self._closing.wait(fault.hang)
        if fault.drop:
            return None
        if fault.raw is not None:
            return Answer(fault.status or 200, raw=fault.raw, headers=fault.headers)
        if fault.status is not None:
            answer = self._refused(request, Refusal(fault.status, fault.detail))
            answer.headers |= fault.headers
        return self._judged(request, answer) if answer else None

    def _fault(self, request: Request) -> Fault | None:
        for place, (pattern, fault) in enumerate(self._faults):
            if pattern.search(request.line):
                del self._faults[place]
                return fault
        return Fault(503, "service unavailable") if self.down else None

    def _perform(self, request: Request) -> Answer:
        try:
            only = self._authorize(request)
            if request.path == "/graphql":
                from tests.emulators.runpod.graphql import execute

                return Answer(200, execute(self.account, request.body["query"]))
            self._check(request)
            rights = (self.pods_may_terminate, self.pods_may_end_clusters)
            status, body = rest.handle(self.account, request, only, *rights)
            return Answer(status, body, "application/json" if body is not None else None)
        except Refusal as refusal:
            return self._refused(request, refusal)

    def _authorize(self, request: Request) -> Pod | None:
        """The pod whose own key it is, if it is not the account's."""
        if request.token == self.account.key:
            return None
        for pod in self.account.pods.values():
            if request.token == pod.key:
                return pod
        raise Refusal(401, "invalid bearer token" if request.token else "missing bearer token")

    def _check(self, request: Request) -> None:
        if self._contract is None:
            return
        problems = self._contract.request(request.method, request.path, request.query, request.body)
        if problems:
            self.violations += [f"{request.line}: {problem}" for problem in problems]
            raise Refusal(422, "Request validation failed.", problems)

    def _refused(self, request: Request, refusal: Refusal) -> Answer:
        if request.path == "/graphql" and refusal.status in (400, 402, 403, 404, 409, 422):
            return Answer(200, {"errors": [{"message": refusal.detail}]})
        if request.path == "/graphql":
            return Answer(refusal.status, kind="text/html", raw=b"<html>oops</html>")
        title = TITLES.get(refusal.status, "Internal Server Error")
        body: dict[str, Any] = {"title": title, "status": refusal.status, "detail": refusal.detail}
        if refusal.errors:
            body["errors"] = refusal.errors
        return Answer(refusal.status, body, PROBLEM)

    def _judged(self, request: Request, answer: Answer) -> Answer:
        if self._contract is not None and request.path.startswith("/v2/"):
            found = self._contract.answer(
                request.method, request.path, answer.status, answer.kind, answer.body
            )
            self.violations += [f"{request.line} -> {problem}" for problem in found]
        return answer


def _handler(emulator: Emulator) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = 60

        def _serve(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            text = self.rfile.read(length)
            parts = urlsplit(self.path)
            body = json.loads(text) if text else None
            token = (self.headers.get("Authorization") or "").removeprefix("Bearer ")
            request = Request(self.command, parts.path, dict(parse_qsl(parts.query)), body, token)
            if request.path == "/graphql":
                from tests.emulators.runpod.graphql import root_field

                request.field = root_field(request.body["query"])
            answer = emulator.serve(request)
            if answer is None:
                self._break()
            else:
                self._answer(answer)

        def _answer(self, answer: Answer) -> None:
            try:
                self.send_response(answer.status)
                for name, value in answer.headers.items():
                    self.send_header(name, value)
                if answer.kind and answer.content:
                    self.send_header("Content-Type", answer.kind)
                if answer.status != 204:
                    self.send_header("Content-Length", str(len(answer.content)))
                self.end_headers()
                self.wfile.write(answer.content)
            except (BrokenPipeError, ConnectionResetError):
                self.close_connection = True  # the client gave up waiting

        def _break(self) -> None:
            """A reset, not an orderly end."""
            self.close_connection = True
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()

        do_GET = do_POST = do_PATCH = do_DELETE = do_PUT = _serve

        def log_message(self, *_: object) -> None:
            """Nothing on the terminal."""

    return Handler
