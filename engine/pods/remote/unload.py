"""Puts a script's files where its run wants them. Python 3.7+.

{"store": FOLDER, "folder": FOLDER, "mark": SHA256, "files": {PLACE: [SHA256, BYTES, PROGRAM, SHARED]},
"pack": [[SHA256, BYTES]…]}, then the bytes of the pack, one file after the other. What is neither there nor
in STORE is answered: {SHA256: bytes that have arrived}; once all is there, it is put into FOLDER, whole, and
MARK beside it: what the script changes later is not undone. A shared file is linked to, any other is copied.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # sent before this program
    from engine.pods.remote.files import sha256, size


def take(store: str, pack: list[list]) -> None:  # type: ignore[type-arg]
    """Small files, which come in one go."""
    for digest, length in pack:
        data = sys.stdin.buffer.read(length)
        if hashlib.sha256(data).hexdigest() != digest:
            sys.exit("a file did not arrive as it was sent")
        aside = os.path.join(store, f".{digest}.{os.getpid()}")
        with open(aside, "wb") as file:
            file.write(data)
        os.replace(aside, os.path.join(store, digest))


def lacking(store: str, wanted: dict[str, int]) -> dict[str, int]:
    """What the store does not have; large files come as parts, which are whole or go on."""
    missing = {}
    for digest, length in wanted.items():
        kept = os.path.join(store, digest)
        part = f"{kept}.part"
        if size(kept) == length:
            continue
        if size(part) >= length:
            if size(part) == length and sha256(part) == digest:
                os.replace(part, kept)
                continue
            os.unlink(part)
        missing[digest] = max(0, size(part))
    return missing


def put(kept: str, target: str, program: bool, shared: bool) -> None:
    os.makedirs(os.path.dirname(target), exist_ok=True)
    aside = f"{target}.{os.getpid()}"
    if shared:
        os.symlink(kept, aside)
    else:
        shutil.copyfile(kept, aside)
        os.chmod(aside, 0o755 if program else 0o644)
    os.replace(aside, target)


def main() -> None:
    request = json.loads(sys.stdin.buffer.readline().decode())
    store, folder, files = request["store"], request["folder"], request["files"]
    os.makedirs(store, mode=0o700, exist_ok=True)
    mark = f"{folder}.mark"
    if size(mark) > 0:
        with open(mark) as file:
            if file.read() == request["mark"]:
                print("{}")
                return
    take(store, request["pack"])
    missing = lacking(store, {digest: length for digest, length, _, _ in files.values()})
    if not missing:
        os.makedirs(folder, mode=0o700, exist_ok=True)
        for place, (digest, _length, program, shared) in files.items():
            target, kept = os.path.join(folder, *place.split("/")), os.path.join(store, digest)
            if shared and sha256(kept) != digest:  # somebody wrote to what is read only
                os.unlink(kept)
                missing[digest] = 0
                continue
            put(kept, target, program, shared)
        if not missing:
            with open(mark, "w") as file:
                file.write(request["mark"])
    print(json.dumps(missing))


if __name__ == "__main__":
    main()
