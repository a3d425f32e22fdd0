"""`python -m engine.supervisor FOLDER`: supervise the job in that folder until it ends."""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from engine.supervisor.supervisor import supervise


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the command line, supervise, and return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m engine.supervisor", description=__doc__)
    parser.add_argument("folder", type=Path, help="the job's folder")
    parser.add_argument("--slot", type=Path, help="a file whose lock one training job at a time holds")
    parser.add_argument("--trainer", help="the trainer's command instead of our own; FOLDER is added to it")
    parser.add_argument("--detach", action="store_true", help="return as soon as a supervisor is at work")
    options = parser.parse_args(argv)
    try:
        run = partial(
            supervise,
            options.folder,
            trainer=shlex.split(options.trainer) if options.trainer else None,
            slot=options.slot,
        )
        return _detached(run) if options.detach else run()
    except OSError as error:
        return _complain(f"{error.filename or options.folder}: {error.strerror}")


def _detached(run: Callable[..., int]) -> int:
    """Supervise in a process that belongs to nobody: its parent, this one, ends when it is at work."""
    read, write = os.pipe()
    if os.fork():
        os.close(write)
        # An empty answer is a child that died before it could supervise; it has said why.
        return 0 if os.read(read, 1) else 1
    os.setsid()
    code = 1
    try:
        code = run(at_work=lambda: _answer(write))
    except OSError as error:
        _complain(f"{error.filename}: {error.strerror}")
    finally:
        sys.stderr.flush()
        os._exit(code)


def _answer(pipe: int) -> None:
    os.write(pipe, b"1")
    os.close(pipe)


def _complain(line: str) -> int:
    sys.stderr.write(f"podium supervisor: {line}\n")
    return 1


if __name__ == "__main__":
    sys.exit(main())
