"""The laptop's half of the follower: what to follow, and the frames that come back."""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from engine.errors import PodError
from engine.pods.base import Chunk

_HEADER: Final = struct.Struct(">cHQI")
_FINGER: Final = 256
"""How many bytes before the offset prove that the pod's file is the one that was mirrored."""
_LONGEST: Final = 1 << 20
"""No frame is longer; a pod that claims one does not speak our language (bytes)."""
_BLANK: Final = b"\r\n\t "


class FrameReader:
    """Turns a byte stream, however it is cut, into chunks.

    Raises:
        PodError: From `feed`: the bytes are no frames, or a file can't be read there.
    """

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[Chunk]:
        """Add bytes and take out what is whole."""
        buffer = self._buffer
        buffer += data
        at = 0
        while len(buffer) - at >= _HEADER.size:
            kind, name_length, offset, length = _HEADER.unpack_from(buffer, at)
            if kind not in b"DRBE" or length > _LONGEST:
                raise PodError(
                    _not_frames(bytes(buffer[at : at + 200])), "Does its login shell print something?"
                )
            body = at + _HEADER.size
            end = body + name_length + length
            if len(buffer) < end:
                break
            name = bytes(buffer[body : body + name_length]).decode(errors="replace")
            payload = bytes(buffer[body + name_length : end])
            if kind == b"E":
                raise PodError(f"{name}: can't be read on the pod ({payload[:100].decode(errors='replace')})")
            yield Chunk(name, offset, payload, restarted=kind == b"R")
            at = end
        del buffer[:at]


def _not_frames(start: bytes) -> str:
    text = start.strip(_BLANK).split(b"\n")[0][:80].decode(errors="replace")
    shown = "".join(character if character.isprintable() else "?" for character in text)
    return f"the pod sent something else than the files ({shown!r})"


def request(
    root: str, cursors: Mapping[str, int], mirror: Path, *, beat: float = 2.0, patience: float = 60.0
) -> bytes:
    """The line that tells the follower what to follow.

    Args:
        root: The folder on the pod.
        cursors: File -> how many bytes of it are here already.
        mirror: The folder here that holds those bytes.
        beat: Seconds between signs of life.
        patience: Seconds of silence after which it takes the laptop for gone.
    """
    known = {name: (at, fingerprint(mirror / name, at)) for name, at in cursors.items()}
    return asked(root, known, beat=beat, patience=patience)


def asked(
    root: str, known: Mapping[str, tuple[int, str]], *, beat: float = 2.0, patience: float = 60.0
) -> bytes:
    """The same line for what is known of the files: how much of each, and its fingerprint."""
    files = {name: list(item) for name, item in known.items()}
    return json.dumps({"root": root, "files": files, "beat": beat, "patience": patience}).encode() + b"\n"


def fingerprint(path: Path, offset: int) -> str:
    """The SHA-256 of the bytes before an offset of a mirrored file; empty at its beginning."""
    if not offset:
        return ""
    with path.open("rb") as file:
        file.seek(max(0, offset - _FINGER))
        return hashlib.sha256(file.read(min(offset, _FINGER))).hexdigest()
