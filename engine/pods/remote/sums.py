"""Says what is in a folder: sizes and hashes of its files, links left out. Python 3.7+.

{"folder": FOLDER}; the answer is {"files": {NAME: {"bytes": LENGTH, "sha256": HEX}}}, or null where
there is no such folder.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys


def sha256(path: str) -> str:
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        for block in iter(lambda: file.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()


def main() -> None:
    root = json.loads(sys.stdin.buffer.readline().decode())["folder"]
    files = {}
    for folder, _, names in os.walk(root):
        for name in names:
            path = os.path.join(folder, name)
            if os.path.isfile(path) and not os.path.islink(path):
                files[os.path.relpath(path, root)] = {
                    "bytes": os.stat(path).st_size,
                    "sha256": sha256(path),
                }
    print(json.dumps({"files": files} if os.path.isdir(root) else None))


if __name__ == "__main__":
    main()
