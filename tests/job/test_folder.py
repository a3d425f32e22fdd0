"""The job's folder: requests and files that are whole or absent."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.job.folder import JobFolder, read_json, write_json


@pytest.fixture
def folder(tmp_path: Path) -> JobFolder:
    folder = JobFolder(tmp_path / "job")
    folder.create()
    return folder


def test_a_request_is_taken_once(folder: JobFolder) -> None:
    folder.request("learning_rate", 0.0)
    assert folder.has_request("learning_rate")
    assert folder.take_request("learning_rate") == 0.0
    assert folder.take_request("learning_rate") is None
    assert not folder.has_request("learning_rate")
    assert list(folder.control.iterdir()) == []


def test_a_newer_request_replaces_an_older_one(folder: JobFolder) -> None:
    folder.request("learning_rate", 1e-3)
    folder.request("learning_rate", 2e-3)
    assert folder.take_request("learning_rate") == 2e-3


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[" * 100])
def test_a_request_that_is_no_json_counts_as_true(folder: JobFolder, content: bytes) -> None:
    (folder.control / "stop").write_bytes(content)
    assert folder.take_request("stop") is True


def test_an_unknown_request_is_refused(folder: JobFolder) -> None:
    with pytest.raises(ValueError, match="unknown control request"):
        folder.request("../exit.json")


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    write_json(path, {"a": 1})
    with pytest.raises(ValueError, match="JSON compliant"):
        write_json(path, {"a": float("nan")})
    assert read_json(path) == {"a": 1}
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_that_is_no_object_reads_as_an_empty_one(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    assert read_json(path) == {}
    for content in (b"", b"7", b"{", b"\xff", b"[" * 100_000):
        path.write_bytes(content)
        assert read_json(path) == {}
