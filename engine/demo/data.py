"""Questions and answers out of the standard library's docstrings, made by a process of its own.

Importing a module may print, warn, change the process or hang; none of that reaches the caller.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

from engine.errors import Missing, PodiumError
from engine.job import dataset

TRAIN_ROWS: Final = 600
EVAL_ROWS: Final = 120
_TIMEOUT: Final = 120
"""Seconds; it takes about one."""


def make_dataset(path: Path, rows: int = TRAIN_ROWS + EVAL_ROWS) -> int:
    """Write about `rows` conversations as JSON Lines and return how many.

    Each row has `messages` (a question and its answer) and `module`, by which the split holds out whole
    modules. The same Python gives the same rows.

    Args:
        path: The file to write.
        rows: How many at most.

    Raises:
        Missing: This Python has no docstrings (it runs with -OO, or was built without them).
        PodiumError: The standard library could not be read.
        OSError: The file can't be written.
    """
    if sys.flags.optimize >= 2:
        raise Missing("the demo's data are docstrings, which -OO leaves out", "Run python without -OO.")
    found = _docstrings()
    if len(found) < rows:
        raise Missing(
            f"this Python has {len(found)} docstrings of use, too few for the demo", "Use another Python."
        )
    chosen = _whole_modules(found, rows)
    dataset.write_jsonl(chosen, path)
    return len(chosen)


def _docstrings() -> list[dict[str, Any]]:
    """The rows that `engine.demo.docstrings` prints."""
    script = Path(__file__).with_name("docstrings.py")
    try:
        done = subprocess.run(
            [sys.executable, "-I", "-W", "ignore", str(script)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_TIMEOUT,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise PodiumError("the demo's data were not ready after two minutes", "Try again.") from None
    if done.returncode != 0:
        lines = done.stderr.decode(errors="replace").strip().splitlines() or ["no reason given"]
        raise PodiumError(f"the demo's data can't be made ({lines[-1]})", "Please report this.")
    return [json.loads(line) for line in done.stdout.splitlines()]


def _whole_modules(found: list[dict[str, Any]], rows: int) -> list[dict[str, Any]]:
    """Rows spread over all modules: the first of each, then the second of each, and so on."""
    turns: dict[str, int] = {}
    order: list[tuple[int, int, dict[str, Any]]] = []
    for row in found:
        turn = turns[row["module"]] = turns.get(row["module"], 0) + 1
        order.append((turn, len(order), row))
    order.sort(key=lambda entry: entry[:2])
    return [row for _, _, row in sorted(order[:rows], key=lambda entry: entry[1])]
