"""Runs that wandb logged offline: records framed as in LevelDB's log, parsed by wandb's own messages.

Source of the framing, which a header of 7 bytes precedes:
https://github.com/google/leveldb/blob/main/doc/log_format.md
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from engine.errors import BadInput, Missing
from engine.foreign.track import Track, tracked

_MAGIC: Final = b":W&B"
_HEADER: Final = 7
_BLOCK: Final = 32_768
_FULL, _FIRST, _MIDDLE, _LAST = 1, 2, 3, 4


def read(folder: Path) -> Track | None:
    """The run whose record file lies in a folder; None where there is none.

    Raises:
        BadInput: It is no such file.
        Missing: wandb is not installed.
    """
    files = sorted(folder.glob("run-*.wandb"))
    if not files:
        return None
    try:
        from wandb.proto.wandb_internal_pb2 import Record
    except ImportError:
        raise Missing(f"{folder}: wandb is not installed", "pip install 'podium[imports]'.") from None
    name, seconds = folder.name, None
    config: dict[str, Any] = {}
    rows: list[tuple[dict[str, Any], datetime | None]] = []
    for blob in records(files[0].read_bytes(), files[0]):
        record = Record()
        record.ParseFromString(blob)
        kind = record.WhichOneof("record_type")
        if kind == "run":
            name = record.run.display_name or record.run.run_id or name
            config |= {item.key: _value(item.value_json) for item in record.run.config.update}
        elif kind == "config":
            config |= {
                item.key or "/".join(item.nested_key): _value(item.value_json)
                for item in record.config.update
            }
        elif kind == "history":
            rows.append(_row(record.history))
            seconds = rows[-1][0].get("_runtime", seconds)
    config = {key: value for key, value in config.items() if not key.startswith("_wandb")}
    took = float(seconds) if isinstance(seconds, (int, float)) else None
    return Track(name, folder, "wandb", tracked(rows), config, took)


def _row(history: Any) -> tuple[dict[str, Any], datetime | None]:
    """The figures of one call of `log`; its step is transformers' where that was logged, else wandb's own."""
    row = {item.key or "/".join(item.nested_key): _value(item.value_json) for item in history.item}
    if "train/global_step" in row:
        row["step"] = row.pop("train/global_step")
    else:
        row.setdefault("step", row.get("_step", history.step.num))
    moment = row.get("_timestamp")
    return row, datetime.fromtimestamp(moment, UTC) if isinstance(moment, (int, float)) else None


def _value(text: str) -> Any:
    """A JSON value; None for what is none."""
    try:
        return json.loads(text)
    except ValueError:
        return None


def records(data: bytes, where: Path) -> Iterator[bytes]:
    """The records of a file; a torn or damaged end is the end.

    Raises:
        BadInput: It does not begin as such a file does.
    """
    if data[: len(_MAGIC)] != _MAGIC:
        raise BadInput(f"{where}: is no file of wandb's")
    at, parts = _HEADER, b""
    while at + 7 <= len(data):
        left = _BLOCK - at % _BLOCK
        if left < 7:
            # A block's last bytes that no header fits into are padding.
            at += left
            continue
        checksum, length, kind = (
            int.from_bytes(data[at : at + 4], "little"),
            int.from_bytes(data[at + 4 : at + 6], "little"),
            data[at + 6],
        )
        body = data[at + 7 : at + 7 + length]
        if len(body) < length or kind not in (_FULL, _FIRST, _MIDDLE, _LAST):
            return
        if zlib.crc32(body, zlib.crc32(bytes([kind]))) != checksum:
            return
        parts = body if kind in (_FULL, _FIRST) else parts + body
        if kind in (_FULL, _LAST):
            yield parts
        at += 7 + length
