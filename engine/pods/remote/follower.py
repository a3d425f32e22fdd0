"""Follows files on a pod and writes frames to stdout. Python 3.7+, stdlib only.

The first line of stdin is JSON:
    {"root": FOLDER, "files": {NAME: [OFFSET, FINGERPRINT]}, "beat": SECONDS, "patience": SECONDS,
     "globs": [PATTERN], "known": {NAME: [OFFSET, FINGERPRINT]}}
FINGERPRINT is the SHA-256 in hex of the 256 bytes before OFFSET as the laptop has them ("" for none). Files
that match a glob are followed, too, whenever they appear; those in `known` from where they are known to.

A frame is kind (1 byte), name length (2), offset (8), payload length (4), name, payload; big-endian.
    D data     bytes of the file, which start at offset
    R restart  the file was truncated or replaced: what was mirrored is of an older one; starts again at 0
    B beat     all files are at their ends, and the pod lives
    E error    a file can't be read; the payload says why

It ends when stdin does, and when the laptop says nothing for `patience`: a connection may be dead
without either side being told. It polls, because network volumes have no inotify.
"""

from __future__ import annotations

import glob
import hashlib
import json
import os
import select
import struct
import sys
import threading
import time
from typing import BinaryIO, Optional

CHUNK = 1 << 18
FRAME = struct.Struct(">cHQI")
FASTEST, SLOWEST = 0.01, 0.04  # seconds between polls: when files grow, and when they rest
FINGER = 256
SEARCH = 2.0  # seconds between two searches for files that match a glob
MOST = 200  # of them


def send(kind: bytes, name: bytes = b"", offset: int = 0, payload: bytes = b"") -> None:
    sys.stdout.buffer.write(FRAME.pack(kind, len(name), offset, len(payload)) + name + payload)
    sys.stdout.buffer.flush()


class Followed:
    """One file: where we are in it, and how to tell that it is still the same."""

    def __init__(self, root: str, name: str, offset: int, finger: str) -> None:
        self.path, self.name = os.path.join(root, name), os.fsencode(name)
        self.offset, self.finger = offset, finger
        self.file: Optional[BinaryIO] = None
        self.newest = b""  # the bytes just before the offset, as they were when they were read

    def poll(self) -> bool:
        """Send what is new; True when there was something."""
        try:
            now = os.stat(self.path)
            if self.file is None:
                self.open()
            assert self.file is not None
            held = os.fstat(self.file.fileno())
            if (now.st_dev, now.st_ino) != (held.st_dev, held.st_ino):
                if self.drain(held.st_size):
                    return True  # first what the old file still had
                self.restart()
                self.open()
                return True
            if now.st_size < self.offset:
                self.restart()
            return self.drain(now.st_size)
        except FileNotFoundError:
            return False

    def open(self) -> None:
        """Open the path; a file that is not the one that was mirrored starts again."""
        if self.file is not None:
            self.file.close()
            self.file = None
        self.file = open(self.path, "rb", buffering=0)  # noqa: SIM115
        before = os.pread(self.file.fileno(), min(self.offset, FINGER), max(0, self.offset - FINGER))
        if self.offset and hashlib.sha256(before).hexdigest() != self.finger:
            self.restart()
        elif self.offset:
            self.newest = before

    def drain(self, size: int) -> bool:
        if size <= self.offset:
            return False
        assert self.file is not None
        before = len(self.newest)
        data = os.pread(self.file.fileno(), before + CHUNK, self.offset - before)
        if data[:before] != self.newest:  # written anew in place, and longer than before already
            self.restart()
            return True
        data = data[before:]
        if data:
            send(b"D", self.name, self.offset, data)
            self.offset += len(data)
            self.newest = (self.newest + data[-FINGER:])[-FINGER:]
        return bool(data)

    def restart(self) -> None:
        self.offset, self.finger, self.newest = 0, "", b""
        send(b"R", self.name)


def leave_with_the_laptop(patience: float) -> None:
    """End the process when stdin ends or stays silent; a write may be blocked meanwhile."""
    while select.select([0], [], [], patience)[0] and os.read(0, 4096):
        pass
    os._exit(0)


class Search:
    """Finds files that match globs, below the root unless they are absolute."""

    def __init__(self, root: str, globs: list[str], known: dict) -> None:  # type: ignore[type-arg]
        self.root, self.globs, self.known = root, globs, known
        self.found: set[str] = set()
        self.at = float("-inf")

    def new(self) -> list[Followed]:
        """Those that were not found before."""
        if not self.globs or time.monotonic() - self.at < SEARCH:
            return []
        self.at = time.monotonic()
        fresh: list[Followed] = []
        for pattern in self.globs:
            for path in glob.iglob(os.path.join(glob.escape(self.root), pattern), recursive=True):
                name = path if os.path.isabs(pattern) else os.path.relpath(path, self.root)
                if len(self.found) >= MOST:
                    return fresh
                if name not in self.found and os.path.isfile(path) and os.access(path, os.R_OK):
                    self.found.add(name)
                    fresh.append(Followed(self.root, name, *self.known.get(name, (0, ""))))
        return fresh


def follow(followed: list[Followed], beat: float, search: Search) -> None:
    wait, beaten = FASTEST, float("-inf")
    while True:
        followed += search.new()
        grew = False
        for one in followed:
            try:
                grew |= one.poll()
            except OSError as error:
                if isinstance(error, BrokenPipeError):
                    raise
                send(b"E", one.name, one.offset, str(error.strerror).encode())
        now = time.monotonic()
        if grew:
            wait, beaten = 0.0, float("-inf")  # the beat after the last byte says that there is no more
        else:
            wait = min(SLOWEST, max(FASTEST, wait * 1.5))
            if now - beaten >= beat:
                beaten = now
                send(b"B")
            time.sleep(wait)


def main() -> None:
    request = json.loads(sys.stdin.buffer.readline().decode())
    followed = [Followed(request["root"], name, *at) for name, at in request["files"].items()]
    threading.Thread(target=leave_with_the_laptop, args=(request["patience"],), daemon=True).start()
    try:
        search = Search(request["root"], request.get("globs", []), request.get("known", {}))
        follow(followed, request["beat"], search)
    except (BrokenPipeError, KeyboardInterrupt):
        pass
    os._exit(0)  # not through the interpreter's end, which would flush into a closed pipe


if __name__ == "__main__":
    main()
