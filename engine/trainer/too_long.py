"""Rows with more tokens than training has room for: how many, which, and what becomes of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from engine.job.dataset import some
from engine.job.spec import JobSpec

_MOST: Final = 5_000
"""Rows whose tokens are counted, those of most bytes first; beyond them the count is a lower bound."""

_BATCH: Final = 256

_MARKUP: Final = 64
"""Bytes that a chat template may add for each message, and for what it says before all of them."""


@dataclass(frozen=True, slots=True)
class TooLong:
    """What does not fit.

    Args:
        limit: Tokens that there is room for.
        rows: The numbers of the rows with more, ascending.
        longest: The longest one's number.
        tokens: Its tokens.
        counted: Were all rows looked at that could be too long?
        becomes: What is done with them.
    """

    limit: int
    rows: tuple[int, ...]
    longest: int
    tokens: int
    counted: bool
    becomes: str

    def __str__(self) -> str:
        """One line for people."""
        least = "" if self.counted else "at least "
        rows = "1 row is" if len(self.rows) == 1 else f"{least}{len(self.rows):,} rows are"
        longest = "" if len(self.rows) == 1 else f"; the longest is row {self.longest}"
        return (
            f"{rows} longer than the {self.limit:,} tokens there is room for, and will be {self.becomes} "
            f"({'row' if len(self.rows) == 1 else 'rows'} {some(self.rows)}{longest}, {self.tokens:,} tokens)"
        )


def too_long(
    spec: JobSpec, rows: Sequence[dict[str, Any]], numbers: Sequence[int], format: str, tokenizer: Any
) -> TooLong | None:
    """Which of the rows don't fit; None when all of them do.

    Args:
        spec: The job, for its method and `training.max_length`.
        rows: The rows.
        numbers: The number of each, to name it by.
        format: Their format.
        tokenizer: The model's.
    """
    limit = spec.training.max_length
    if spec.rlhf is not None:
        limit -= spec.rlhf.max_completion_length
    # No tokenizer makes more tokens than there are bytes, so that most rows need not be looked at.
    sizes = [(_bytes(row), number, row) for number, row in zip(numbers, rows, strict=True)]
    candidates = sorted((item for item in sizes if item[0] > limit), key=lambda item: (-item[0], item[1]))
    found: dict[int, int] = {}
    for start in range(0, min(len(candidates), _MOST), _BATCH):
        batch = candidates[start : min(start + _BATCH, _MOST)]
        counts = _tokens([row for _, _, row in batch], format, tokenizer)
        found |= {number: count for (_, number, _), count in zip(batch, counts, strict=True) if count > limit}
    if not found:
        return None
    longest = max(found, key=lambda number: (found[number], -number))
    counted = len(candidates) <= _MOST
    return TooLong(limit, tuple(sorted(found)), longest, found[longest], counted, _becomes(spec))


def _becomes(spec: JobSpec) -> str:
    if spec.method == "rlhf":
        return "left out"
    return "split" if spec.method == "cpt" and spec.training.packing else "cut"


def _bytes(value: Any) -> int:
    """Bytes of all texts in a row, and of the markup that its messages may get."""
    if isinstance(value, str):
        return len(value) if value.isascii() else len(value.encode(errors="replace"))
    if isinstance(value, dict):
        return sum(map(_bytes, value.values()))
    return sum(_MARKUP + _bytes(item) for item in value) + _MARKUP if isinstance(value, list) else 0


def _tokens(rows: list[dict[str, Any]], format: str, tokenizer: Any) -> list[int]:
    """How many tokens each row is: the longer one of those that a pair is."""
    texts = [list(_texts(row, format, tokenizer)) for row in rows]
    flat = [(text, special) for group in texts for text, special in group]
    counts = iter([len(tokenizer(text, add_special_tokens=special)["input_ids"]) for text, special in flat])
    return [max((next(counts) for _ in group), default=0) for group in texts]


def _texts(row: dict[str, Any], format: str, tokenizer: Any) -> Iterator[tuple[str, bool]]:
    """What a row is to the model, and whether its beginning is still to be marked."""
    if format == "text":
        yield row["text"], True
    elif format == "messages":
        yield from _joined([row["messages"]], tokenizer)
    elif format == "preference":
        for side in ("chosen", "rejected"):
            yield from _joined([row["prompt"], row[side]], tokenizer)
    elif format == "prompt":
        yield from _joined([row["prompt"]], tokenizer, asks=True)
    else:
        if format == "alpaca":
            from engine.trainer import sft

            row = sft.columns([row], format, tokenizer)[0]
        yield from _joined([row["prompt"], row["completion"]], tokenizer)


def _joined(parts: list[Any], tokenizer: Any, asks: bool = False) -> Iterator[tuple[str, bool]]:
    """Texts one after the other, or messages as the chat template writes them; nothing without one."""
    if all(isinstance(part, str) for part in parts):
        yield "".join(parts), True
    elif tokenizer.chat_template:
        messages = [message for part in parts for message in part]
        yield tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=asks), False
