"""Commands on an SSH machine: argument vectors and small programs; secrets on stdin, never in arguments."""

from __future__ import annotations

import contextlib
import json
import re
import shlex
from collections.abc import Mapping, Sequence
from typing import Any, Final

from engine.errors import PodError
from engine.pods.base import Completed
from engine.pods.remote import invocation
from engine.pods.ssh_connection import Connection

_WITH_ENVIRONMENT: Final = 'while IFS= read -r pair && [ -n "$pair" ]; do export "$pair"; done; exec "$@"'
"""Reads NAME=VALUE lines up to an empty one; arguments would show in `ps`, and sshd accepts few variables."""
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_NOT_FOUND: Final = 127


class NoPython(PodError):
    """There is no such Python on the machine."""


class Calls:
    """Runs things on a machine.

    Args:
        connection: The way there.
        python: The Python there that programs run with.
    """

    def __init__(self, connection: Connection, python: str = "python3") -> None:
        self.connection, self.python = connection, python

    @property
    def where(self) -> str:
        """The machine, for errors."""
        return str(self.connection.address)

    async def run(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        timeout: float = 60,  # noqa: ASYNC109
        stdin: bytes = b"",
    ) -> Completed:
        """Run a command to its end.

        Args:
            argv: Its arguments, each of which arrives as it is.
            env: Variables for it alone.
            timeout: Seconds.
            stdin: What it reads.
        """
        import asyncssh

        if env:
            argv = ["sh", "-c", _WITH_ENVIRONMENT, "sh", *argv]
            stdin = _pairs(env) + stdin
        connection = await self.connection.get()
        try:
            async with self.connection.translated():
                process: Any = await connection.create_process(shlex.join(argv), encoding=None)
                with contextlib.suppress(BrokenPipeError):
                    # One that ends before it has read all of it says why: that is no lost connection.
                    process.stdin.write(stdin)
                    process.stdin.write_eof()
                done = await process.wait(timeout=timeout)
        except asyncssh.TimeoutError:
            raise PodError(f"{self.where}: {argv[0]} is not done after {timeout:g} s") from None
        if done.exit_status is None and done.exit_signal is None:
            raise self.connection.lost(f"during {argv[0]}")
        code = done.exit_status if done.exit_status is not None else -1
        out: Any = done.stdout
        err: Any = done.stderr
        return Completed(code, out or b"", err or b"")

    async def checked(self, argv: Sequence[str], **options: Any) -> bytes:
        """Run a command that has to succeed, and return what it printed.

        Raises:
            NoPython: It is our Python, and that is not there.
            PodError: It failed, with the last line that it said.
        """
        done = await self.run(argv, **options)
        if done.code == _NOT_FOUND and argv[0] == self.python:
            raise NoPython(
                f"{self.where}: there is no {self.python}", "Install Python 3.11, or name one as pod.python."
            )
        if done.code:
            raise PodError(
                f"{self.where}: {last_line(done.err) or f'{argv[0]} failed with status {done.code}'}"
            )
        return done.out

    async def call(self, program: str, request: object, payload: bytes = b"", *, timeout: float = 60) -> Any:  # noqa: ASYNC109
        """Run one of our programs there.

        Args:
            program: Its name in `engine.pods.remote`.
            request: JSON, the line that it reads first.
            payload: Bytes that it reads then.
            timeout: Seconds.

        Returns:
            The JSON that it answers.
        """
        argv, text = invocation(program, self.python)
        stdin = text + json.dumps(request).encode() + b"\n" + payload
        out = await self.checked(argv, timeout=timeout, stdin=stdin)
        try:
            return json.loads(out.splitlines()[-1])
        except (ValueError, IndexError):
            raise PodError(
                f"{self.where}: no answer that makes sense", "Does its login shell print something?"
            ) from None


def last_line(said: bytes) -> str:
    """The last line that says anything, clean and not too long."""
    lines = [line for line in said.decode(errors="replace").splitlines() if line.strip()]
    shown = lines[-1].strip() if lines else ""
    return "".join(character for character in shown if character.isprintable())[:300]


def _pairs(env: Mapping[str, str]) -> bytes:
    for name, value in env.items():
        if not _NAME.fullmatch(name) or "\n" in value or "\0" in value:
            raise PodError(f"the variable {name!r} can't be passed to a pod: a line break, or a bad name")
    return "".join(f"{name}={value}\n" for name, value in env.items()).encode() + b"\n"
