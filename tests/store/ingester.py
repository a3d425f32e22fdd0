"""A process of its own that takes a file of events into a database.

`python -m tests.store.ingester DB FILE LINES` takes LINES lines at a time. It prints `ready` and waits for a
line of input before the first, prints the offset after each, and goes on where another process has got to.
"""

from __future__ import annotations

import sys
from pathlib import Path

from engine.store.sqlite import SQLiteStore


def main(database: str, file: str, lines: str) -> None:
    store = SQLiteStore(Path(database))
    content = Path(file).read_bytes().splitlines(keepends=True)
    ends = [0]
    for line in content:
        ends.append(ends[-1] + len(line))
    print("ready", flush=True)
    sys.stdin.readline()
    stored = store.offset("job-1", "events.jsonl")
    while stored < ends[-1]:
        first = ends.index(stored)
        batch = b"".join(content[first : first + int(lines)])
        stored = store.ingest("job-1", batch, ends[first]).offset
        print(stored, flush=True)
    store.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
