"""What a heartbeat says of a run's reports, from the wire to the screen; a pod may say anything."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from engine.analysis.format import count
from engine.job.events import EventType, EventWriter
from engine.pods.sign import last_sign
from engine.records import Reports
from tui.widgets.run_header import report_words


def told(folder: Path, outbox: Any) -> Reports | None:
    with EventWriter(folder / "events.jsonl") as events:
        events.append(EventType.HEARTBEAT, host={}, gpus=[], outbox=outbox)
    sign = last_sign(folder / "events.jsonl")
    assert sign is not None
    return sign.reports


@pytest.mark.parametrize(
    ("outbox", "words"),
    [
        (
            {"behind": 1240, "state": "down", "since": 185.2},
            f"reports: {count(1240)} events behind, server down for 3 min 05 s",
        ),
        (
            {"behind": 1, "state": "refused", "since": 59},
            "reports: 1 event behind, refused by the server for 59 s",
        ),
        (
            {"behind": 20_000, "state": "ok", "since": 5},
            f"reports: {count(20_000)} events behind, catching up for 5 s",
        ),
        ({"behind": 20, "state": "ok", "since": 5}, ""),
    ],
)
def test_what_is_wrong_with_reports_is_one_line(tmp_path: Path, outbox: Any, words: str) -> None:
    assert report_words(told(tmp_path, outbox)) == words


@pytest.mark.parametrize(
    "outbox",
    [None, [], "x", {}, {"behind": "NaN", "state": "down", "since": 1},
     {"behind": -1, "state": "ok", "since": 0}, {"behind": 1, "state": ["down"], "since": 1},
     {"behind": 1e300, "state": "ok", "since": 1}],
)  # fmt: skip
def test_nonsense_of_a_pod_is_no_report(tmp_path: Path, outbox: Any) -> None:
    assert told(tmp_path, outbox) is None
