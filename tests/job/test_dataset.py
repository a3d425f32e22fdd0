"""Datasets: every broken row by its number, the same hash whatever the encoding, an honest split."""

from __future__ import annotations

import gzip
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.errors import BadDataset
from engine.job import dataset


@dataclass(frozen=True)
class Settings:
    train_split: float = 0.8
    split_by: str | None = None


def chat(question: str = "Why?", answer: str = "Because.", **columns: Any) -> dict[str, Any]:
    messages = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    return {"messages": messages, **columns}


def pair(prompt: Any = "Is it?", chosen: Any = "Yes.", rejected: Any = "No.") -> dict[str, Any]:
    given = {"prompt": prompt, "chosen": chosen, "rejected": rejected}
    return {name: [value] if isinstance(value, dict) else value for name, value in given.items()}


def chats(count: int) -> list[dict[str, Any]]:
    return [chat(f"Question {number}?", f"Answer {number}.", group=number % 7) for number in range(count)]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "data.jsonl"


def lines(*rows: object) -> str:
    return "\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows) + "\n"


def problems(path: Path, format: str = "auto") -> tuple[str, ...]:
    with pytest.raises(BadDataset) as caught:
        dataset.read(path, format)
    return caught.value.problems


@pytest.mark.parametrize(
    ("row", "format"),
    [
        (chat(), "messages"),
        ({"prompt": "2+2=", "completion": "4"}, "prompt_completion"),
        ({"prompt": chat()["messages"][:1], "completion": chat()["messages"][1:]}, "prompt_completion"),
        ({"instruction": "Add", "input": "2 2", "output": "4"}, "alpaca"),
        ({"instruction": "Greet", "output": "Hello"}, "alpaca"),
    ],
)
def test_the_format_is_seen_from_the_columns(file: Path, row: dict[str, Any], format: str) -> None:
    file.write_text(lines(row))
    assert dataset.read(file).format == format


@pytest.mark.parametrize(
    ("method", "row", "format"),
    [
        ("cpt", {"text": "Once upon a time"}, "text"),
        ("dpo", pair(), "preference"),
        ("orpo", pair(*chat()["messages"], {"role": "assistant", "content": "No."}), "preference"),
        ("rlhf", {"prompt": "2+2="}, "prompt"),
    ],
)
def test_each_method_finds_its_own_format(file: Path, method: str, row: dict[str, Any], format: str) -> None:
    file.write_text(lines(row))
    assert dataset.read(file, method=method).format == format
    with pytest.raises(BadDataset, match="no known format"):
        dataset.read(file, method="cpt" if method != "cpt" else "dpo")


def test_every_broken_pair_is_named_by_its_line(file: Path) -> None:
    question, answer = chat()["messages"]
    other = {"role": "assistant", "content": "No."}
    rows = [
        pair(),
        pair(chosen=""),
        pair(rejected=" Yes. "),
        {"prompt": "Why?", "chosen": "Yes."},
        pair(prompt=[question]),
        pair(question, answer, answer),
        pair(question, other, question),
        {"prompt": [question], "chosen": [question, answer], "rejected": [other]},
    ]
    file.write_text(lines(*rows))
    with pytest.raises(BadDataset) as caught:
        dataset.read(file, method="dpo")
    assert list(caught.value.problems) == [
        "row 2: 'chosen' is empty",
        "row 3: 'chosen' and 'rejected' are the same",
        "row 4: 'rejected' is missing",
        "row 5: 'prompt', 'chosen' and 'rejected' must be all text or all lists of messages",
        "row 6: 'chosen' and 'rejected' are the same",
        "row 7: 'rejected' repeats the prompt: it must be the answer alone",
        "row 8: 'chosen' repeats the prompt: it must be the answer alone",
    ]
    assert "'prompt', 'chosen' and 'rejected'" in str(caught.value)


def test_texts_that_are_none_or_empty_are_named(file: Path) -> None:
    file.write_text(lines({"text": "A"}, {"text": " "}, {"text": ["A"]}, {"text": None}, {"text": "A"}))
    with pytest.raises(BadDataset) as caught:
        dataset.read(file, method="cpt")
    assert list(caught.value.problems) == [
        "row 2: 'text' is empty",
        "row 3: 'text' is no text",
        "row 4: 'text' is missing",
    ]
    file.write_text(lines({"text": "A"}, {"text": "B"}, {"text": "A"}))
    assert dataset.read(file, method="cpt").warnings == ["1 row repeats an earlier one (row 3 repeats row 1)"]


def test_json_gzip_blank_lines_and_a_byte_order_mark_give_the_same_rows_and_hash(tmp_path: Path) -> None:
    rows = [chat(answer="Weil … 🙂"), chat("Other?")]
    plain = lines(*rows).encode()
    variants = {
        "a.jsonl": plain,
        "b.json": json.dumps(rows, indent=1).encode(),
        "c.jsonl.gz": gzip.compress(plain),
        "d.json.gz": gzip.compress(json.dumps(rows).encode()),
        "e.jsonl": b"\xef\xbb\xbf" + plain.replace(b"\n", b"\r\n\r\n"),
    }
    for name, data in variants.items():
        (tmp_path / name).write_bytes(data)
    read = [dataset.read(tmp_path / name) for name in variants]
    assert all(item.rows == rows for item in read)
    assert len({item.sha256 for item in read}) == 1


def test_every_broken_row_is_named_by_its_line(file: Path) -> None:
    file.write_text(
        lines(
            chat(),
            {"messages": []},
            "",
            '{"messages": [',
            {"prompt": "a", "completion": "b"},
            [1, 2],
            {"messages": [{"role": "robot", "content": "x"}]},
            {"messages": [{"role": "user", "content": "no answer"}]},
            {"messages": [{"role": "assistant", "content": 7}]},
            '{"messages": NaN}',
        )
    )
    found = problems(file)
    assert found[0] == "row 2: 'messages' is empty"
    assert found[1].startswith("row 4: is not JSON: ")
    assert found[2] == "row 5: 'messages' is missing"
    assert found[3] == "row 6: is no object but a list"
    assert found[4] == "row 7: message 1 of 'messages' has the unknown role 'robot'"
    assert "row 8: 'messages' has no answer (a message of role 'assistant' with text)" in found
    assert "row 9: message 1 of 'messages' has a content that is no text" in found
    assert found[-1] == "row 10: is not JSON: NaN is no JSON number"


def test_the_error_is_one_line_with_the_file_and_what_a_row_needs(file: Path) -> None:
    file.write_text(lines(*[chat()] * 6, {"messages": []}))
    with pytest.raises(BadDataset) as caught:
        dataset.read(file)
    assert (
        str(caught.value) == f"{file}: row 7: 'messages' is empty. A row of format messages needs 'messages'."
    )


def test_the_first_problems_are_listed_and_the_rest_is_counted(file: Path) -> None:
    file.write_text(lines(chat(), *[{"messages": []}] * 150))
    found = problems(file)
    assert len(found) == dataset.LISTED + 1
    assert found[-1] == f"and {150 - dataset.LISTED} more (in all 150 × 'messages' is empty)"


def test_of_many_problems_each_kind_is_counted(file: Path) -> None:
    broken = ['{"prompt": ', "[1]", json.dumps({"prompt": "a", "chosen": "b", "rejected": "b"})]
    empty = json.dumps({"prompt": "a", "chosen": " ", "rejected": "b"})
    file.write_text("\n".join([*broken * 3, *[empty] * 8]))
    with pytest.raises(BadDataset) as caught:
        dataset.read(file, method="dpo")
    assert caught.value.problems[-1] == (
        "and 7 more (in all 8 × 'chosen' is empty, 3 × is not JSON, 3 × is no object but a list, "
        "3 × 'chosen' and 'rejected' are the same)"
    )


def test_train_rows_that_stand_in_the_eval_data_are_named_on_both_sides(file: Path, tmp_path: Path) -> None:
    file.write_text("\n" + lines(*[chat(f"{at}?") for at in range(9)]))
    other = tmp_path / "eval.jsonl"
    other.write_text(lines(chat("x?"), chat("3?", other=1), chat("5?"), chat("3?")))
    train, held_out = dataset.read(file), dataset.read(other)
    assert dataset.shared(train, held_out) == (
        "2 rows also stand in the eval data eval.jsonl and will not be trained on "
        "(row 5 is its row 2, row 7 is its row 3)"
    )
    other.write_text(lines(chat("x?"), chat("y?")))
    assert dataset.shared(train, dataset.read(other)) == ""


def test_rows_of_a_json_list_are_numbered_by_their_place(tmp_path: Path) -> None:
    path = tmp_path / "data.json"
    path.write_text("[\n" + ",\n".join([json.dumps(chat())] * 6) + ',\n{"messages": [}\n]')
    assert problems(path)[0].startswith("row 7: is not JSON: ")
    path.write_text(json.dumps([chat(), chat(), {"messages": []}]))
    assert problems(path) == ("row 3: 'messages' is empty",)
    path.write_text(json.dumps([chat(), chat()])[:-1])
    assert problems(path)[0].startswith("row 3: is not JSON: ")


def test_a_line_that_is_not_utf8_is_named(file: Path) -> None:
    file.write_bytes(lines(chat(), chat("Two?")).encode() + '{"x": "caf\xe9"}\n'.encode("latin-1"))
    assert problems(file) == ("row 3: is not UTF-8 text (byte 11 of the line)",)


def test_half_a_character_is_refused_where_it_would_be_trained_on(file: Path) -> None:
    file.write_text(lines('{"prompt": "a", "completion": "\\ud83d"}'))
    assert "lone surrogate" in problems(file)[0]


@pytest.mark.parametrize("content", [b"", b"\n\n", b"[]", b" [ ] "])
def test_a_file_without_rows_is_empty(file: Path, content: bytes) -> None:
    file.write_bytes(content)
    assert problems(file) == ("is empty",)


def test_a_broken_gzip_file_and_a_missing_one_are_told(tmp_path: Path) -> None:
    path = tmp_path / "data.jsonl.gz"
    path.write_bytes(gzip.compress(lines(*chats(50)).encode())[:-40])
    assert "is no whole gzip file" in problems(path)[0]
    assert "No such file" in problems(tmp_path / "none.jsonl")[0]
    assert "directory" in problems(tmp_path)[0]


def test_unknown_columns_are_named_with_what_is_needed(file: Path) -> None:
    file.write_text(lines({"question": "a", "answer": "b"}))
    with pytest.raises(BadDataset) as caught:
        dataset.read(file)
    assert "row 1: no known format (its columns: 'question', 'answer')" in str(caught.value)
    assert "'instruction' and 'output'" in caught.value.advice


def test_a_format_that_was_asked_for_is_held_against_every_row(file: Path) -> None:
    file.write_text(lines(chat()))
    assert problems(file, "alpaca") == ("row 1: 'instruction' is missing", "row 1: 'output' is missing")


def test_duplicates_are_counted_and_no_error(file: Path) -> None:
    file.write_text(lines(chat(), chat("B?"), chat(other=1), chat(), chat("C?")))
    read = dataset.read(file)
    assert read.warnings == ["2 rows repeat earlier ones (row 3 repeats row 1, row 4 repeats row 1)"]
    assert len(read.rows) == 5


def test_a_limit_takes_the_first_rows(file: Path) -> None:
    file.write_text(lines(*chats(9)))
    assert dataset.read(file, limit=4).rows == chats(4)


@settings(max_examples=60, deadline=None)
@given(
    count=st.integers(2, 60),
    copies=st.lists(st.integers(0, 20), max_size=20),
    seed=st.integers(0, 5),
    share=st.floats(0.02, 0.98),
    by=st.sampled_from([None, "group"]),
)
def test_a_split_loses_nothing_leaks_nothing_and_is_never_empty(
    count: int, copies: list[int], seed: int, share: float, by: str | None
) -> None:
    rows = chats(count)
    rows += [rows[copy % count] for copy in copies]
    read = dataset.Dataset(Path("x"), rows, "messages", "")
    train, held_out = dataset.split(read, Settings(share, by), seed)
    assert train and held_out
    assert len(train) + len(held_out) == len(rows)
    asked = {row["messages"][0]["content"] for row in train}
    assert not asked & {row["messages"][0]["content"] for row in held_out}
    if by:
        assert not {row["group"] for row in train} & {row["group"] for row in held_out}
    again = dataset.split(read, Settings(share, by), seed)
    assert (again.train, again.eval) == (train, held_out)


def test_the_split_has_the_size_asked_for_and_follows_the_seed_not_the_order() -> None:
    rows = chats(100)
    read = dataset.Dataset(Path("x"), rows, "messages", "")
    train, held_out = dataset.split(read, Settings(0.95), 1)
    assert (len(train), len(held_out)) == (95, 5)
    backwards = dataset.split(dataset.Dataset(Path("x"), rows[::-1], "messages", ""), Settings(0.95), 1)
    assert backwards.eval == held_out[::-1]
    assert dataset.split(read, Settings(0.95), 2).eval != held_out


def test_a_row_that_stands_in_two_groups_is_evaluated_only() -> None:
    rows = [chat(group=name) for name in "ab"] + [chat(f"{name}?", group=name) for name in "ab"]
    train, held_out = dataset.split(
        dataset.Dataset(Path("x"), rows, "messages", ""), Settings(0.5, "group"), 0
    )
    assert len(train) == 1
    assert len(held_out) == 2


@pytest.mark.parametrize(
    ("rows", "by", "reason"),
    [
        ([chat()], None, "has one row"),
        ([chat(), chat()], None, "all rows are equal"),
        ([chat("A", group=1), chat("B", group=1)], "group", "every row has the same 'group'"),
        ([chat("A", group=1), chat("B")], "group", "row 2: 'group', to split by, is missing"),
        ([chat(group=1), chat(group=2)], "group", "the groups of 'group' hold the same rows"),
    ],
)
def test_what_cannot_be_split_is_told(rows: list[dict[str, Any]], by: str | None, reason: str) -> None:
    with pytest.raises(BadDataset, match=reason):
        dataset.split(dataset.Dataset(Path("x"), rows, "messages", ""), Settings(0.8, by), 0)


def test_what_is_written_is_read_back(file: Path) -> None:
    rows = [chat("Ünïcode 🙂", note="a half: \ud83d"), chat("line\u2028separator")]
    dataset.write_jsonl(rows, file)
    assert dataset.read(file).rows == rows
    assert [path.name for path in file.parent.iterdir() if path.is_file()] == [file.name]
