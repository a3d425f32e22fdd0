"""`python -m engine.demo OUT.jsonl`: write the demo's questions and answers."""

from __future__ import annotations

import sys
from pathlib import Path

from engine.demo.data import make_dataset
from engine.errors import PodiumError


def main(arguments: list[str]) -> int:
    """Write the file and return the exit status."""
    if len(arguments) != 1:
        sys.stderr.write("usage: python -m engine.demo OUT.jsonl\n")
        return 2
    try:
        rows = make_dataset(Path(arguments[0]))
    except (PodiumError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    sys.stdout.write(f"{arguments[0]}: {rows} rows\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
