"""The row formats of every method: which one it is, and what is wrong with a row. Ships."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

ROLES: Final = ("system", "developer", "user", "assistant", "tool")
"""Who may speak in a conversation."""

_COLUMNS: Final = {
    "messages": ("messages",),
    "prompt_completion": ("prompt", "completion"),
    "alpaca": ("instruction", "output"),
    "text": ("text",),
    "preference": ("prompt", "chosen", "rejected"),
    "prompt": ("prompt",),
}

FORMATS: Final[dict[str, tuple[str, ...]]] = {
    "sft": ("messages", "prompt_completion", "alpaca"),
    "cpt": ("text",),
    "dpo": ("preference",),
    "orpo": ("preference",),
    "rlhf": ("prompt",),
}
"""The formats that each method takes, in the order in which they are looked for."""

_CONTENT: Final = {**_COLUMNS, "alpaca": ("instruction", "input", "output")}
"""The columns that training sees."""


def detect(rows: Iterable[dict[str, Any]], method: str = "sft") -> str | None:
    """The format, of those that the method takes, of the first row that has one's columns; None without."""
    for row in rows:
        for name in FORMATS[method]:
            if all(column in row for column in _COLUMNS[name]):
                return name
    return None


def content(format: str) -> tuple[str, ...]:
    """The columns of a format that training sees."""
    return _CONTENT[format]


def problems(row: dict[str, Any], format: str) -> Iterator[str]:
    """What makes a row unfit for training, one line each."""
    yield from _CHECKS[format](row)
    if _has_surrogate(key(row, format)):
        yield "has half a character (a lone surrogate), which no tokenizer takes"


def advice(format: str | None, method: str = "sft") -> str:
    """What a row of that format, or for that method, must look like."""
    if format is None:
        return f"Rows need {', or '.join(map(_needed, FORMATS[method]))}."
    return f"A row of format {format} needs {_needed(format)}."


def _needed(format: str) -> str:
    *first, last = map(repr, _COLUMNS[format])
    return f"{', '.join(first)} and {last}" if first else last


def key(row: dict[str, Any], format: str) -> str:
    """What training sees of a row, as text that equal rows share."""
    return json.dumps([row.get(column) for column in _CONTENT[format]], sort_keys=True, ensure_ascii=False)


def _check_messages(row: dict[str, Any]) -> Iterator[str]:
    yield from _conversation(row, "messages")
    messages = row.get("messages")
    if isinstance(messages, list) and messages and not any(_answers(message) for message in messages):
        yield "'messages' has no answer (a message of role 'assistant' with text)"


def _check_prompt_completion(row: dict[str, Any]) -> Iterator[str]:
    if isinstance(row.get("prompt"), list) or isinstance(row.get("completion"), list):
        yield from _conversation(row, "prompt")
        yield from _conversation(row, "completion")
        return
    yield from _text(row, "prompt")
    yield from _text(row, "completion")


def _check_text(row: dict[str, Any]) -> Iterator[str]:
    yield from _text(row, "text")


def _check_preference(row: dict[str, Any]) -> Iterator[str]:
    columns = _COLUMNS["preference"]
    if len({isinstance(row.get(column), list) for column in columns if row.get(column) is not None}) > 1:
        yield "'prompt', 'chosen' and 'rejected' must be all text or all lists of messages"
        return
    for column in columns:
        yield from _conversation(row, column) if isinstance(row.get(column), list) else _text(row, column)
    chosen, rejected = row.get("chosen"), row.get("rejected")
    if chosen is not None and _stripped(chosen) == _stripped(rejected):
        yield "'chosen' and 'rejected' are the same"
    for column in ("chosen", "rejected"):
        yield from _check_answer(row, column)


def _check_answer(row: dict[str, Any], column: str) -> Iterator[str]:
    """Problems of messages that answer the prompt."""
    prompt, answer = row.get("prompt"), row.get(column)
    if not isinstance(prompt, list) or not isinstance(answer, list) or not answer:
        return
    if prompt and answer[: len(prompt)] == prompt:
        yield f"{column!r} repeats the prompt: it must be the answer alone"
    elif not any(_answers(message) for message in answer):
        yield f"{column!r} has no answer (a message of role 'assistant' with text)"


def _stripped(value: Any) -> Any:
    return value.strip() if isinstance(value, str) else value


def _check_prompt(row: dict[str, Any]) -> Iterator[str]:
    yield from _conversation(row, "prompt") if isinstance(row.get("prompt"), list) else _text(row, "prompt")


def _check_alpaca(row: dict[str, Any]) -> Iterator[str]:
    yield from _text(row, "instruction")
    yield from _text(row, "output")
    if not isinstance(row.get("input", ""), (str, type(None))):
        yield "'input' is no text"


_CHECKS: Final[dict[str, Callable[[dict[str, Any]], Iterator[str]]]] = {
    "messages": _check_messages,
    "prompt_completion": _check_prompt_completion,
    "alpaca": _check_alpaca,
    "text": _check_text,
    "preference": _check_preference,
    "prompt": _check_prompt,
}


def _text(row: dict[str, Any], column: str) -> Iterator[str]:
    """Problems of a column that must hold some text."""
    value = row.get(column)
    if value is None:
        yield f"{column!r} is missing"
    elif not isinstance(value, str):
        yield f"{column!r} is no text"
    elif not value.strip():
        yield f"{column!r} is empty"


def _conversation(row: dict[str, Any], column: str) -> Iterator[str]:
    """Problems of a column that must hold messages."""
    messages = row.get(column)
    if messages is None:
        yield f"{column!r} is missing"
    elif not isinstance(messages, list):
        yield f"{column!r} is no list of messages"
    elif not messages:
        yield f"{column!r} is empty"
    else:
        for number, message in enumerate(messages, 1):
            if problem := _message_problem(message):
                yield f"message {number} of {column!r} {problem}"


def _message_problem(message: Any) -> str | None:
    """Why a message can't be used; None when it can."""
    if not isinstance(message, dict):
        return "is no object with role and content"
    role, content = message.get("role"), message.get("content")
    if role not in ROLES:
        return "has no role" if role is None else f"has the unknown role {role!r}"
    if content is None and message.get("tool_calls"):
        return None
    if not isinstance(content, str):
        return "has no content" if content is None else "has a content that is no text"
    return None


def _answers(message: Any) -> bool:
    """Is it something that the model should learn to say?"""
    if not isinstance(message, dict) or message.get("role") != "assistant":
        return False
    content = message.get("content")
    return bool(message.get("tool_calls")) or (isinstance(content, str) and bool(content.strip()))


def _has_surrogate(text: str) -> bool:
    return any("\ud800" <= character <= "\udfff" for character in text) if not text.isascii() else False
