"""A small realtime server of the tests' own: Phoenix channels as far as Supabase's client needs them."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from websockets.exceptions import ConnectionClosed
from websockets.sync.server import Server, ServerConnection, serve

TABLE = "local_training_jobs"


class Phoenix:
    """Takes who joins and tells them of changes; keeps what joins asked for, and later tokens."""

    def __init__(self) -> None:
        self.opened: list[str] = []
        self.joins: list[dict[str, Any]] = []
        self.tokens: list[str] = []
        self.answering = True
        self._sockets: list[tuple[ServerConnection, str]] = []
        self._server: Server
        self.port = 0

    def _serve(self, socket: ServerConnection) -> None:
        assert socket.request is not None
        self.opened.append(socket.request.path)
        with suppress(ConnectionClosed):
            for text in socket:
                told = json.loads(text)
                if told["event"] == "phx_join":
                    self._join(socket, told)
                elif told["event"] == "heartbeat":
                    reply = {"status": "ok", "response": {}}
                    socket.send(_message("phoenix", "phx_reply", reply, told["ref"]))
                elif told["event"] == "access_token":
                    self.tokens.append(told["payload"]["access_token"])

    def _join(self, socket: ServerConnection, told: dict[str, Any]) -> None:
        if not self.answering:
            return
        changes = [
            {"id": 7 + number, **{name: value for name, value in asked.items() if value is not None}}
            for number, asked in enumerate(told["payload"]["config"]["postgres_changes"])
        ]
        socket.send(
            _message(
                told["topic"],
                "phx_reply",
                {"status": "ok", "response": {"postgres_changes": changes}},
                told["ref"],
            )
        )
        self._sockets.append((socket, told["topic"]))
        self.joins.append(told["payload"])

    def changed(self, job_id: str) -> None:
        """Tell all that a job changed."""
        self._to_all(
            lambda topic: _message(
                topic,
                "postgres_changes",
                {
                    "data": {
                        "schema": "public", "table": TABLE, "type": "UPDATE", "errors": None,
                        "commit_timestamp": "2026-11-21T10:00:00Z",
                        "columns": [{"name": "id", "type": "uuid"}],
                        "record": {"id": job_id}, "old_record": {},
                    },
                    "ids": [7],
                },
                None,
            )
        )  # fmt: skip

    def say(self, text: str | bytes) -> None:
        """Send all that text, whatever it is."""
        self._to_all(lambda topic: text)

    def _to_all(self, text: Any) -> None:
        for socket, topic in self._sockets:
            with suppress(ConnectionClosed):
                socket.send(text(topic))

    def drop(self) -> None:
        """Cut all connections, without a word."""
        for socket, _ in self._sockets:
            with suppress(OSError):
                socket.socket.shutdown(2)
        self._sockets.clear()

    @contextmanager
    def open(self) -> Iterator[Phoenix]:
        """Listen."""
        with serve(self._serve, "127.0.0.1", 0, max_size=None) as self._server:
            self.port = self._server.socket.getsockname()[1]
            thread = threading.Thread(target=self._server.serve_forever)
            thread.start()
            try:
                yield self
            finally:
                self.drop()
                self._server.shutdown()
                thread.join()


def _message(topic: str, event: str, payload: dict[str, Any], ref: str | None) -> str:
    return json.dumps({"topic": topic, "event": event, "payload": payload, "ref": ref})
