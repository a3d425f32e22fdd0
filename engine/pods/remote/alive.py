"""Says whether a supervisor holds the lock of a job's folder: {"lock": PATH}. Python 3.7+."""

from __future__ import annotations

import fcntl
import json
import os
import sys


def held(path: str) -> bool:
    try:
        fd = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    return False


def main() -> None:
    print(json.dumps(held(json.loads(sys.stdin.buffer.readline().decode())["lock"])))


if __name__ == "__main__":
    main()
