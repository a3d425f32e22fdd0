"""A job's row here <-> its row in the hosted store: which columns go, and how each is said there."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from engine.job.events import stamp
from engine.store.actions import NOTE
from engine.store.rows import JOB_COLUMNS

Row = dict[str, Any]
"""A job's columns as the hosted store has them: JSON values, times as stamps, no NaN."""

USERS: Final = ("name", "tags", "note", "archived_at", "deleted_at")
"""What users say of a run, from whichever machine; merged, so that no word is lost."""

FROM_EVENTS: Final = (
    "status", "attempt", "error_message", "started_at", "completed_at", "failed_at", "phase", "total_steps",
    "train_samples", "val_samples", "current_step", "current_epoch", "loss", "learning_rate", "grad_norm",
    "samples_per_second", "tokens_per_second", "eval_loss", "perplexity", "total_tokens_processed",
    "best_eval_loss", "progress", "last_heartbeat_at", "updated_at",
)  # fmt: skip
"""What the hosted store makes of the events by itself: sent only by who has all of them."""

_NOT_SENT: Final = {"id", "user_id", "created_at", "number"}

FACTS: Final = tuple(
    name for name in JOB_COLUMNS if name not in {*_NOT_SENT, *USERS, *FROM_EVENTS} and name != "job_dir"
)
"""What only the machine that follows a run knows."""

ALL: Final = (*USERS, *FROM_EVENTS, *FACTS)
FETCHED: Final = ("id", "user_id", "number", "created_at", "revision", *ALL)

_JSON: Final = frozenset({"config", "metadata", "tags", "spent", "laptop_spent"})


def sent(local: Mapping[str, Any]) -> Row:
    """A stored job as the hosted store takes it.

    Args:
        local: The columns of `local_training_jobs` here.
    """
    row = {name: said(name, local[name]) for name in ALL if name != "note"}
    metadata = row["metadata"] if isinstance(row["metadata"], dict) else {}
    note = metadata.pop(NOTE, None)
    return {**row, "metadata": metadata, "note": note if isinstance(note, str) and note else None}


def fetched(remote: Mapping[str, Any]) -> Row:
    """A row as it came, said as `sent` says it."""
    row = {name: said(name, remote.get(name)) for name in ALL}
    tags = row["tags"] if isinstance(row["tags"], list) else []
    row["tags"] = [tag for tag in tags if isinstance(tag, str)]
    for name in ("config", "metadata", "spent", "laptop_spent"):
        row[name] = row[name] if isinstance(row[name], dict) else {}
    row["name"] = row["name"] or str(remote.get("model_name") or str(remote["id"])[:8])
    row["attempt"], row["bad_lines"] = row["attempt"] or 1, row["bad_lines"] or 0
    return row


def said(name: str, value: Any) -> Any:
    """One value in the one way of saying it that both sides share."""
    if value is None:
        return None
    if name in _JSON:
        # What comes from there is parsed, and harmless; JSON here is ASCII, and escapes whatever is not.
        return value if not isinstance(value, str) else _parsed(value)
    if name.endswith("_at"):
        return _stamp(value)
    if isinstance(value, str) and value == "NaN":
        return None
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return harmless(value) if isinstance(value, str) else value


def stored(changes: Mapping[str, Any], metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Changes that came, as columns here.

    Args:
        changes: Column -> value, as the hosted store says it.
        metadata: What the job's metadata are here, where the note stands too.
    """
    columns = {name: value for name, value in changes.items() if name not in ("note", "metadata")}
    if "note" in changes or "metadata" in changes:
        note = changes["note"] if "note" in changes else metadata.get(NOTE)
        plain = changes.get("metadata", metadata)
        columns["metadata"] = {name: value for name, value in plain.items() if name != NOTE}
        if note:
            columns["metadata"][NOTE] = note
    return columns


def harmless(value: Any) -> Any:
    """A JSON value without what PostgreSQL takes for no text: NUL and lone surrogates."""
    if isinstance(value, str):
        if value.isascii() and "\0" not in value:
            return value
        return value.replace("\0", "\ufffd").encode("utf-8", "replace").decode("utf-8")
    if isinstance(value, dict):
        return {harmless(str(name)): harmless(item) for name, item in value.items()}
    if isinstance(value, list):
        return [harmless(item) for item in value]
    return value


def _parsed(text: str) -> Any:
    try:
        value = json.loads(text)
    except ValueError:
        return None
    return harmless(value) if "\\u" in text else value


def _stamp(value: Any) -> str | None:
    try:
        moment = datetime.fromisoformat(str(value))
    except ValueError:
        return None
    return stamp(moment if moment.tzinfo else moment.replace(tzinfo=UTC))
