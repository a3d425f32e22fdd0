"""`podium`: without a subcommand, the app."""

from __future__ import annotations

import os
import sys
from functools import partial
from typing import NoReturn


def main() -> None:
    """Run the command line; the app alone starts without loading it."""
    streams = (sys.stdin, sys.stdout, sys.stderr)
    if not sys.argv[1:] and "_PODIUM_COMPLETE" not in os.environ and all(it.isatty() for it in streams):
        sys.exit(_app())
    from tui.cli import podium

    podium()


def _app() -> int:
    """Open the app; whatever ends it otherwise than by the user's wish is told as of any command."""
    from tui import quiet_start

    quiet_start.begin()
    try:
        from tui.app import run

        for stream in (sys.stdout, sys.stderr):
            stream.reconfigure(errors="replace")  # type: ignore[union-attr]
        return run()
    except BaseException as error:  # noqa: BLE001  it is raised again where it is told
        from tui.cli.errors import ending

        return ending(partial(_again, error))


def _again(error: BaseException) -> NoReturn:
    raise error


if __name__ == "__main__":
    main()
