"""Prints the standard library's docstrings as questions and answers, one JSON row a line.

Run as a script of its own, with nothing but the standard library: importing modules may print, warn
and register things, so rows go to the real standard output and everything else to nowhere.
"""

from __future__ import annotations

import contextlib
import importlib
import inspect
import io
import json
import os
import re
import sys
from collections.abc import Iterator
from types import ModuleType

SKIPPED = {
    "antigravity", "this", "idlelib", "tkinter", "turtle", "turtledemo", "test", "lib2to3", "ensurepip",
    "venv", "distutils", "curses", "readline", "pty", "tty", "webbrowser", "msilib", "posix", "nt",
    "ntpath", "msvcrt", "asynchat", "asyncore", "smtpd", "imp", "aifc", "audioop", "cgi", "cgitb",
    "chunk", "crypt", "imghdr", "mailcap", "nis", "nntplib", "ossaudiodev", "pipes", "sndhdr", "spwd",
    "sunau", "telnetlib", "uu", "xdrlib", "pyexpat", "nturl2path", "rlcompleter", "code", "site",
    "sitecustomize", "usercustomize", "pip", "setuptools",
}  # fmt: skip
"""Modules whose import does something, that are deprecated, or that not every machine has."""

SHORTEST, LONGEST = 20, 120
"""Characters of an answer."""

QUESTIONS = {
    "module": "What is the module {name} for?",
    "class": "What is {name}?",
    "function": "What does {name} do?",
    "property": "What is {name}?",
}


def modules() -> Iterator[ModuleType]:
    """The standard library's public modules that can be imported here, by name."""
    for name in sorted(sys.stdlib_module_names):
        if name.startswith(("_", "win")) or name in SKIPPED:
            continue
        with contextlib.suppress(ImportError, OSError, AttributeError):
            yield importlib.import_module(name)


def described(module: ModuleType) -> Iterator[tuple[str, str, str]]:
    """Kind, dotted name and docstring of a module and of what it defines."""
    yield "module", module.__name__, module.__doc__ or ""
    for name, item in sorted(vars(module).items()):
        if name.startswith("_") or getattr(item, "__module__", None) != module.__name__:
            continue
        if inspect.isclass(item):
            yield "class", f"{module.__name__}.{name}", item.__doc__ or ""
            yield from members(f"{module.__name__}.{name}", item)
        elif inspect.isroutine(item):
            yield "function", f"{module.__name__}.{name}", item.__doc__ or ""


def members(path: str, owner: type) -> Iterator[tuple[str, str, str]]:
    """Kind, dotted name and docstring of a class's own methods and properties."""
    for name, item in sorted(vars(owner).items()):
        if name.startswith("_"):
            continue
        if isinstance(item, (staticmethod, classmethod)):
            item = item.__func__
        kind = "property" if isinstance(item, property) else "function" if inspect.isroutine(item) else None
        if kind:
            yield kind, f"{path}.{name}", getattr(item, "__doc__", None) or ""


def answer(docstring: str, name: str) -> str | None:
    """The first paragraph of a docstring as one line; None when it makes no answer."""
    text = inspect.cleandoc(docstring)
    first = text.split("\n", 1)[0]
    # Builtins repeat their signature on the first line.
    if re.match(rf"(?:\w+\.)*{re.escape(name.rsplit('.', 1)[-1])}\s*\(", first):
        text = text.split("\n", 1)[1].strip() if "\n" in text else ""
    paragraph = " ".join(text.split("\n\n", 1)[0].split())
    return paragraph if SHORTEST <= len(paragraph) <= LONGEST and paragraph.isprintable() else None


def rows() -> Iterator[dict[str, object]]:
    """One conversation for each docstring, an answer only once."""
    seen: set[str] = set()
    for module in modules():
        for kind, name, docstring in described(module):
            text = answer(docstring, name) if isinstance(docstring, str) else None
            if text is None or text in seen:
                continue
            seen.add(text)
            question = QUESTIONS[kind].format(name=name)
            yield {
                "messages": [{"role": "user", "content": question}, {"role": "assistant", "content": text}],
                "module": module.__name__,
            }


def main() -> None:
    """Print the rows."""
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()), out:
        for row in rows():
            out.write(json.dumps(row, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
