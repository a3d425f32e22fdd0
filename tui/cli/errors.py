"""How a command ends: 0 done, 1 it failed, 2 it could not begin; one line on stderr, never a traceback."""

from __future__ import annotations

import errno
import os
import sys
import tempfile
import traceback
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import click

from engine.errors import BadInput, PodiumError, StoreError
from tui.cli.output import one_line

FAILED: Final = 1
BAD_INPUT: Final = 2
INTERRUPTED: Final = 130
NOBODY_READS: Final = 141
"""What a shell reports of a program that a closed pipe ended."""

NO_PLACE: Final = (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR)
"""The ways in which a machine has no place for us: nothing was done, and the user can mend it."""


class PodiumGroup(click.Group):
    """The top command: turns whatever ends a command into an exit status and at most one line.

    Commands return None or an exit status.
    """

    lazy: Mapping[str, str] = MappingProxyType({})
    """Commands that are imported when they are asked for: name -> module:attribute, below `tui.cli`."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names of all commands."""
        return sorted({*self.lazy, *self.commands})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of that name, imported now if it was not before."""
        if cmd_name in self.lazy and cmd_name not in self.commands:
            module, _, attribute = self.lazy[cmd_name].partition(":")
            self.add_command(getattr(import_module(f"tui.cli.{module}"), attribute), cmd_name)
        return super().get_command(ctx, cmd_name)

    def main(  # type: ignore[override]
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        **extra: Any,
    ) -> None:
        """Run the command line and exit the process; click's own `main` has other ideas of how to end."""
        name = prog_name or "podium"
        self._main_shell_completion(extra, name, complete_var)

        def run() -> int:
            with self.make_context(name, list(sys.argv[1:] if args is None else args), **extra) as context:
                result = self.invoke(context)
            sys.stdout.flush()
            return result if isinstance(result, int) else 0

        sys.exit(ending(run))


def ending(run: Callable[[], int]) -> int:
    """The exit status of `run`, whatever it raises; says on stderr what the user must know."""
    try:
        return run()
    except click.exceptions.Exit as asked:  # --help and --version among others
        return asked.exit_code
    except (click.Abort, KeyboardInterrupt):
        return INTERRUPTED
    except BrokenPipeError:
        _forget_stdout()
        return NOBODY_READS
    except click.UsageError as error:
        complain(_usage(error))
        return BAD_INPUT
    except click.ClickException as error:
        complain(error.format_message())
        return BAD_INPUT
    except PodiumError as error:
        complain(str(error))
        return BAD_INPUT if isinstance(error, (BadInput, StoreError)) else FAILED
    except OSError as error:
        if error.errno not in NO_PLACE:
            return _unexpected(error)
        _forget_stdout()
        complain(f"{error.filename or 'writing'}: {error.strerror}. Make room or choose another place")
        return BAD_INPUT
    except Exception as error:  # noqa: BLE001  the last line of defence: a traceback is no answer
        return _unexpected(error)


def complain(text: str) -> None:
    """Write one line to stderr, whatever characters it holds and whether or not anybody reads it."""
    try:
        click.echo(click.style("podium: ", fg="red") + one_line(text), err=True)
    except OSError:
        pass


def _usage(error: click.UsageError) -> str:
    """What click says, as one line with where to read more."""
    command = error.ctx.command_path if error.ctx else "podium"
    return f"{error.format_message().rstrip('.')}. See {command} --help"


def _unexpected(error: BaseException) -> int:
    """Log an error that nobody foresaw where a bug report can pick it up."""
    what = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    log = _log(traceback.format_exception(error))
    details = f"The details are in {log}" if log else "The details could not be written"
    complain(f"unexpected {what}. {details}")
    return FAILED


def _log(lines: Sequence[str]) -> Path | None:
    """Append to podium.log in the home if there is one, else in the folder for temporary files."""
    from engine.home import Home

    for folder in (Home.default().path, Path(tempfile.gettempdir())):
        try:
            with (folder / "podium.log").open("a", encoding="utf-8", errors="backslashreplace") as file:
                file.write(f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ} {''.join(lines)}\n")
            return folder / "podium.log"
        except OSError:
            continue
    return None


def _forget_stdout() -> None:
    """Keep the interpreter from flushing at its exit what nobody can take."""
    nothing = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nothing, sys.stdout.fileno())
    except (OSError, ValueError):
        pass
    finally:
        os.close(nothing)
