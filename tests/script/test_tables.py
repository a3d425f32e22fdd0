"""CSV and JSON Lines files as they grow: torn lines, new headers, other signs, hostile bytes."""

from __future__ import annotations

import csv
import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.script.figures import Names, Row
from engine.script.tables import table


def flat(rows: list[Row]) -> list[tuple[float | None, dict[str, float]]]:
    return [
        (row.epoch if row.step is None else row.step,
         {name: f.value for side in (row.train, row.eval, row.more) for name, f in side.items()})
        for row in rows
    ]  # fmt: skip


def read(name: str, *pieces: bytes, end: bool = False, names: Names | None = None) -> list[Row]:
    reader = table(name, names or Names())
    rows = [row for piece in pieces for row in reader.feed(piece)]
    return rows + (list(reader.end()) if end else [])


METRICS = b"epoch,train_loss,val_loss,span_f1,epoch_time\n1,8.5,17.6,0.0,6.2\n2,8.25,17.1,0.5,6.0\n"


@pytest.mark.parametrize("cut", range(0, len(METRICS), 7))
def test_a_file_cut_anywhere_tells_the_same(cut: int) -> None:
    assert flat(read("a/epoch_metrics.csv", METRICS[:cut], METRICS[cut:])) == [
        (1.0, {"loss": 8.5, "eval_loss": 17.6, "span_f1": 0.0, "epoch_time": 6.2}),
        (2.0, {"loss": 8.25, "eval_loss": 17.1, "span_f1": 0.5, "epoch_time": 6.0}),
    ]


def test_a_torn_last_line_waits_and_counts_at_the_end() -> None:
    data = b"epoch,loss\n1,0.5\n2,0.2"
    assert [row.epoch for row in read("m.csv", data)] == [1.0]
    assert [row.epoch for row in read("m.csv", data, end=True)] == [1.0, 2.0]


def test_phases_and_features_are_part_of_the_name() -> None:
    data = b"epoch,phase,feature_name,mean\n5,train,encoding,0.25\n5,val,norm,0.5\n"
    rows = flat(read("artifacts/feature_stats.csv", data))
    assert rows == [
        (5.0, {"feature_stats/train/encoding/mean": 0.25}),
        (5.0, {"feature_stats/val/norm/mean": 0.5}),
    ]


def test_one_loss_column_with_a_phase_is_the_runs_own() -> None:
    rows = flat(read("log.csv", b"epoch,phase,loss\n1,train,2.0\n1,valid,3.0\n"))
    assert rows == [(1.0, {"loss": 2.0}), (1.0, {"eval_loss": 3.0})]


def test_a_header_that_comes_again_or_changes_is_taken() -> None:
    data = b"epoch,loss\n1,0.5\nepoch,loss\n2,0.4\nepoch,acc,loss\n3,0.9,0.3\n"
    assert flat(read("m.csv", data))[-1] == (3.0, {"acc": 0.9, "loss": 0.3})
    assert [row.epoch for row in read("m.csv", data)] == [1.0, 2.0, 3.0]


@pytest.mark.parametrize("sign", [";", "\t"])
def test_other_signs_are_seen_in_the_header(sign: str) -> None:
    data = "step,loss\n10,0.5\n".replace(",", sign).encode()
    assert flat(read("m.tsv", data)) == [(10, {"loss": 0.5})]


def test_a_table_with_an_index_column_and_quotes_is_read() -> None:
    out = io.StringIO()
    csv.writer(out).writerows([["", "epoch", "note", "loss"], [0, 1, 'says "hi",\nand goes on', 0.5]])
    assert flat(read("m.csv", out.getvalue().encode())) == [(1.0, {"loss": 0.5})]


def test_without_a_place_nothing_is_charted_and_that_is_known() -> None:
    reader = table("m.csv", Names())
    assert list(reader.feed(b"name,size\na,1\n")) == [] and reader.placed is False


def test_json_lines_are_read_one_level_deep() -> None:
    rows = [
        {"step": 1, "train": {"loss": 0.5}},
        {"step": 2, "eval_loss": "NaN"},
        {"_step": 3, "loss": 1e-3, "x": None},
    ]
    data = "".join(json.dumps(row) + "\n" for row in rows).encode() + b'[1]\n"x"\n{"step":'
    found = flat(read("m.jsonl", data))
    assert found[0] == (1, {"loss": 0.5}) and found[2] == (3, {"loss": 0.001})
    assert list(found[1][1]) == ["eval_loss"]


def test_the_users_names_win() -> None:
    names = Names({"valid_nll": "eval_loss", "epoch": "eval_epoch"})
    rows = flat(read("m.csv", b"step,epoch,valid_nll\n5,1,0.5\n", names=names))
    assert rows == [(5, {"eval_epoch": 1.0, "eval_loss": 0.5})]


def test_a_flood_of_labels_gives_no_flood_of_curves() -> None:
    data = b"epoch,name,mean\n" + b"".join(b"1,n%d,0.5\n" % at for at in range(5000))
    assert len(read("m.csv", data)) <= 64


@given(st.lists(st.binary(max_size=80), max_size=8), st.sampled_from(["m.csv", "m.jsonl"]))
def test_no_bytes_do_harm(pieces: list[bytes], name: str) -> None:
    read(name, b"epoch,loss\n", *pieces, b"\n", end=True)
    read(name, b'{"step": 1, "loss": ', *pieces, end=True)


def test_endless_lines_are_dropped_and_what_follows_is_read() -> None:
    reader = table("m.csv", Names())
    rows = [row for _ in range(40) for row in reader.feed(b"x" * 100_000)]
    rows += reader.feed(b"\nepoch,loss\n1,0.5\n")
    assert flat(rows) == [(1.0, {"loss": 0.5})] and reader.bad > 0
