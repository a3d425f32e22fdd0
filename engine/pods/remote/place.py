"""Puts uploaded data where a job wants it. Python 3.7+.

{"store": FOLDER, "folder": FOLDER, "files": {NAME: [SHA256, BYTES]}}: for each file that FOLDER does not
have with that hash, it takes STORE/SHA256 or, where that is whole, STORE/SHA256.part. What is not there
is answered: {SHA256: bytes that have arrived}. A part that is of the right length and wrong is removed.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # sent before this program
    from engine.pods.remote.files import sha256, size


def main() -> None:
    request = json.loads(sys.stdin.buffer.readline().decode())
    store, folder = request["store"], request["folder"]
    os.makedirs(store, mode=0o700, exist_ok=True)
    os.makedirs(folder, mode=0o700, exist_ok=True)
    lacking = {}
    for name, (digest, length) in request["files"].items():
        target, kept = os.path.join(folder, name), os.path.join(store, digest)
        if size(target) == length and sha256(target) == digest:
            continue
        part = f"{kept}.part"
        if size(part) >= length and size(kept) < 0:
            if size(part) == length and sha256(part) == digest:
                os.rename(part, kept)
            else:
                os.unlink(part)
        if size(kept) != length:
            lacking[digest] = max(0, size(part))
            continue
        aside = f"{target}.{os.getpid()}"
        try:
            os.link(kept, aside)
        except OSError:  # another disk, or one without hard links
            shutil.copyfile(kept, aside)
        os.replace(aside, target)
    print(json.dumps(lacking))


if __name__ == "__main__":
    main()
