"""Datasets: read them, find every broken row, split them honestly. Ships; stdlib only.

Files are JSON (a list of rows) or JSON Lines (a row a line), UTF-8, gzipped or not; which of these is
seen from the content. Formats, of those that the method takes, are detected from the columns:

    messages           {"messages": [{"role": "user", "content": "…"}, {"role": "assistant", "content": "…"}]}
    prompt_completion  {"prompt": "…", "completion": "…"}, both text or both lists of messages
    alpaca             {"instruction": "…", "output": "…", "input": "…"}, input may be left out
    text               {"text": "…"} (cpt)
    preference         {"prompt": "…", "chosen": "…", "rejected": "…"}, all text or all messages (dpo, orpo)
    prompt             {"prompt": "…"}, text or a list of messages (rlhf)

Other columns are kept and ignored, except by `split_by` and by reward functions.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import re
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NamedTuple, Protocol

from engine.errors import BadDataset
from engine.job import formats

LISTED: Final = 10
"""Problems that an error lists; the rest is counted."""

SOME: Final = 5
"""Rows that a warning names."""

_KINDS: Final = 4
"""Kinds of problems that are counted one by one, the most frequent ones."""

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Dataset:
    """A dataset whose every row can be trained on.

    Args:
        path: The file that it was read from.
        rows: The rows as they stood in the file, all columns.
        format: One of `engine.job.formats.FORMATS`.
        sha256: Of the rows as `write_jsonl` writes them, so that a JSON file, its gzip and its copy on
            the pod have the same hash.
        warnings: One line each on what is suspicious but can be trained on, such as duplicates.
        numbers: Each row's number in the file, as errors name it.
    """

    path: Path
    rows: list[Row]
    format: str
    sha256: str
    warnings: list[str] = field(default_factory=list)
    numbers: list[int] = field(default_factory=list)


class SplitSettings(Protocol):
    """The part of `engine.job.spec.DatasetSpec` that a split follows."""

    @property
    def train_split(self) -> float:
        """The share of rows to train on."""

    @property
    def split_by(self) -> str | None:
        """The column whose values stay on one side."""


class Split(NamedTuple):
    """Rows to train on and rows to evaluate on; no row is in both."""

    train: list[Row]
    eval: list[Row]


def read(
    path: Path,
    format: str = "auto",
    *,
    limit: int | None = None,
    method: str = "sft",
    columns: Iterable[str] = (),
) -> Dataset:
    """Read and validate a data file.

    Args:
        path: A JSON or JSON Lines file, gzipped or not.
        format: One that the method takes, or `auto` to see it from the columns.
        limit: Take the first so many rows alone (the spec's `dataset.max_samples`).
        method: The method that the rows are for.
        columns: Columns that every row must have besides those of its format (the spec's `rlhf.columns`).

    Raises:
        BadDataset: Every problem at once (the first few listed, the rest counted), each with its row's
            number: the line in JSON Lines, the place in the list, from 1, in JSON.
    """
    problems: list[str] = []
    numbered: list[tuple[int, Row]] = []
    for number, row in _parse(_text(path), problems):
        numbered.append((number, row))
        if limit is not None and len(numbered) >= limit:
            break
    if not numbered and not problems:
        raise BadDataset(str(path), ["is empty"], "It needs at least one row.")
    found = formats.detect((row for _, row in numbered), method) if format == "auto" else format
    if found is None and numbered:
        number, row = numbered[0]
        columns = ", ".join(map(repr, row)) or "none"
        problems.append(f"row {number}: no known format (its columns: {columns})")
    elif found is not None:
        for number, row in numbered:
            problems.extend(f"row {number}: {problem}" for problem in formats.problems(row, found))
            missing = [column for column in columns if row.get(column) is None]
            problems.extend(
                f"row {number}: {column!r}, which a reward reads, is missing" for column in missing
            )
    if problems:
        problems.sort(key=_row_number)
        raise BadDataset(str(path), _first(problems), formats.advice(found, method))
    assert found is not None
    rows, numbers = [row for _, row in numbered], [number for number, _ in numbered]
    return Dataset(path, rows, found, sha256_of(rows), _warnings(numbered, found), numbers)


def split(dataset: Dataset, settings: SplitSettings, seed: int) -> Split:
    """Divide a dataset into rows to train on and rows to evaluate on.

    Equal rows, and with `split_by` all rows that share that column's value, stay on one side. Which side
    depends on the row and the seed alone, not on the file's order. Neither side is ever empty. A row of
    the train side that also stands in the eval side (possible with `split_by` only) is left out.

    Args:
        dataset: What `read` returned.
        settings: The spec's dataset section (`train_split`, `split_by`).
        seed: The spec's `training.seed`.

    Raises:
        BadDataset: There is no column `split_by`, or there is nothing to divide.
    """
    column = settings.split_by
    if column is not None:
        missing = [number for number, row in enumerate(dataset.rows, 1) if row.get(column) is None]
        if missing:
            more = f" (and in {len(missing) - 1} more)" if len(missing) > 1 else ""
            problem = f"row {missing[0]}: {column!r}, to split by, is missing{more}"
            raise BadDataset(str(dataset.path), [problem])
    groups: dict[str, list[Row]] = {}
    for row in dataset.rows:
        key = formats.key(row, dataset.format) if column is None else json.dumps(row[column], sort_keys=True)
        groups.setdefault(key, []).append(row)
    if len(groups) < 2:
        alike = f"every row has the same {column!r}" if column else "all rows are equal"
        problem = alike if len(dataset.rows) > 1 else "has one row"
        raise BadDataset(
            str(dataset.path), [f"{problem}: can't be split to train and evaluate"], "Give dataset.eval_path."
        )
    wanted = max(1, round(len(dataset.rows) * (1 - settings.train_split)))
    held_out = _held_out(groups, wanted, seed)
    train = [row for key, rows in groups.items() if key not in held_out for row in rows]
    held = [row for key, rows in groups.items() if key in held_out for row in rows]
    kept = without(train, held, dataset.format)
    if not kept:
        problem = f"the groups of {column!r} hold the same rows: can't be split"
        raise BadDataset(str(dataset.path), [problem], "Split by another column.")
    return Split(kept, held)


def without(train: list[Row], held_out: list[Row], format: str) -> list[Row]:
    """The train rows that don't also stand among the eval rows."""
    keys = {formats.key(row, format) for row in held_out}
    return [row for row in train if formats.key(row, format) not in keys]


def shared(train: Dataset, held_out: Dataset) -> str:
    """Which train rows also stand among the eval rows, one line; empty where none does."""
    there: dict[str, int] = {}
    for number, row in zip(held_out.numbers, held_out.rows, strict=True):
        there.setdefault(formats.key(row, held_out.format), number)
    pairs = [
        f"row {number} is its row {there[key]}"
        for number, row in zip(train.numbers, train.rows, strict=True)
        if (key := formats.key(row, train.format)) in there
    ]
    if not pairs:
        return ""
    count = "1 row also stands" if len(pairs) == 1 else f"{len(pairs)} rows also stand"
    return f"{count} in the eval data {held_out.path.name} and will not be trained on ({some(pairs)})"


def warnings_of(train: Dataset, held_out: Dataset | None) -> list[str]:
    """What is suspicious about a job's data, one line each: on each side, and on both."""
    if held_out is None:
        return train.warnings
    both = shared(train, held_out)
    beside = [f"{held_out.path.name}: {warning}" for warning in held_out.warnings]
    return [*train.warnings, *beside, *([both] if both else [])]


def some(things: Sequence[object]) -> str:
    """The first few of many things, and that there are more."""
    more = ", …" if len(things) > SOME else ""
    return ", ".join(map(str, things[:SOME])) + more


def write_jsonl(rows: Iterable[Row], path: Path) -> None:
    """Write rows as JSON Lines, whole or not at all: aside, fsynced, renamed.

    Raises:
        OSError: It can't be written.
    """
    aside = path.with_name(f".{path.name}.tmp")
    try:
        with aside.open("wb") as file:
            file.writelines(_line(row) for row in rows)
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)


def _held_out(groups: dict[str, list[Row]], wanted: int, seed: int) -> set[str]:
    """The groups of the eval side: in the order of a seeded hash, those that still fit into `wanted` rows."""
    order = sorted(groups, key=lambda key: hashlib.sha256(f"{seed}:{key}".encode()).digest())
    chosen: set[str] = set()
    count = 0
    for key in order[:-1]:
        if count + len(groups[key]) <= wanted:
            chosen.add(key)
            count += len(groups[key])
    return chosen or {min(order, key=lambda key: len(groups[key]))}


def _text(path: Path) -> bytes:
    """The file's bytes, unzipped, without a byte order mark."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise BadDataset(str(path), [f"can't be read ({error.strerror})"]) from None
    if data[:2] == b"\x1f\x8b":
        try:
            data = gzip.decompress(data)
        except (OSError, EOFError, zlib.error) as error:
            raise BadDataset(str(path), [f"is no whole gzip file ({error})"]) from None
    return data.removeprefix(b"\xef\xbb\xbf")


def _parse(data: bytes, problems: list[str]) -> Iterator[tuple[int, Row]]:
    """The rows with their numbers; what is no row goes to `problems`."""
    items = _list_items(data, problems) if data.lstrip()[:1] == b"[" else _lines(data, problems)
    for number, item in items:
        if isinstance(item, dict):
            yield number, item
        else:
            problems.append(f"row {number}: is no object but {_kind(item)}")


def _lines(data: bytes, problems: list[str]) -> Iterator[tuple[int, Any]]:
    """The values of JSON Lines, by line; blank lines are none."""
    for number, line in enumerate(data.split(b"\n"), 1):
        if line.strip():
            try:
                yield number, _DECODER.decode(line.decode("utf-8"))
            except UnicodeDecodeError as error:
                problems.append(f"row {number}: is not UTF-8 text (byte {error.start + 1} of the line)")
            except (ValueError, RecursionError) as error:
                problems.append(f"row {number}: is not JSON: {_reason(error)}")


def _list_items(data: bytes, problems: list[str]) -> Iterator[tuple[int, Any]]:
    """The values of a JSON list, by place; the first broken one ends it."""
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        problems.append(f"row 1: is not UTF-8 text (line {line} of the file)")
        return
    at, number = _skip(text, text.index("[") + 1), 1
    if text[at : at + 1] == "]":
        return
    while True:
        try:
            item, at = _DECODER.raw_decode(text, at)
        except (ValueError, RecursionError) as error:
            problems.append(f"row {number}: is not JSON: {_reason(error)}")
            return
        yield number, item
        at = _skip(text, at)
        if text[at : at + 1] == "]":
            return
        if text[at : at + 1] != ",":
            problems.append(f"row {number + 1}: is not JSON: a comma or ] must follow row {number}")
            return
        at, number = _skip(text, at + 1), number + 1


def _skip(text: str, at: int) -> int:
    """Where the next character that is no white space stands."""
    while text[at : at + 1] in (" ", "\n", "\r", "\t"):
        at += 1
    return at


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON number")


_DECODER: Final = json.JSONDecoder(parse_constant=_no_constant)


def _reason(error: Exception) -> str:
    """Why a piece of JSON is broken, in few words."""
    if isinstance(error, json.JSONDecodeError):
        place = f"line {error.lineno} column {error.colno}" if error.lineno > 1 else f"column {error.colno}"
        return f"{error.msg[:1].lower()}{error.msg[1:]} at {place}"
    return "nested too deeply" if isinstance(error, RecursionError) else str(error)


def _kind(item: Any) -> str:
    names = {list: "a list", str: "text", bool: "true or false", int: "a number", float: "a number"}
    return names.get(type(item), "null")


def _row_number(problem: str) -> int:
    return int(problem.split(":", 1)[0].removeprefix("row "))


def _first(problems: list[str]) -> list[str]:
    """The first problems; of many also how many more there are, and of which kind all of them are."""
    more = len(problems) - LISTED
    if more <= 0:
        return problems
    kinds = Counter(map(_problem_kind, problems)).most_common(_KINDS)
    counts = ", ".join(f"{count:,} × {kind}" for kind, count in kinds)
    return [*problems[:LISTED], f"and {more:,} more (in all {counts})"]


def _problem_kind(problem: str) -> str:
    """A problem without what differs from row to row: numbers, and reasons after a colon."""
    text = problem.split(": ", 1)[1].split(": ", 1)[0].split(" (", 1)[0]
    return re.sub(r"\b\d+ ", "", text)


def _line(row: Row) -> bytes:
    """One row as UTF-8; half a character, which UTF-8 can't hold, stays an escape."""
    try:
        return json.dumps(row, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"
    except UnicodeEncodeError:
        return json.dumps(row, separators=(",", ":")).encode() + b"\n"


def sha256_of(rows: list[Row]) -> str:
    """The hash of rows, in hex, as `write_jsonl` writes them."""
    digest = hashlib.sha256()
    for row in rows:
        digest.update(_line(row))
    return digest.hexdigest()


def _warnings(numbered: list[tuple[int, Row]], format: str) -> list[str]:
    """What is suspicious: rows that stand there twice."""
    first: dict[str, int] = {}
    again = []
    for number, row in numbered:
        earlier = first.setdefault(formats.key(row, format), number)
        if earlier != number:
            again.append(f"row {number} repeats row {earlier}")
    if not again:
        return []
    count = "1 row repeats an earlier one" if len(again) == 1 else f"{len(again)} rows repeat earlier ones"
    return [f"{count} ({some(again)})"]
