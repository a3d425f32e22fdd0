"""Says what is in a folder: sizes and hashes of its files, links left out. Python 3.7+.

{"folder": FOLDER}; the answer is {"files": {NAME: {"bytes": LENGTH, "sha256": HEX}}}, or null where
there is no such folder.
"""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # sent before this program
    from engine.pods.remote.files import sha256


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
